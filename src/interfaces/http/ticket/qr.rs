//! The picture of a ticket's code.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use qrcode::{EcLevel, QrCode, render::svg};
use sha2::{Digest, Sha256};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::error::AppError,
    domain::id::{BookingId, TicketId},
    interfaces::http::{
        auth::Caller,
        problem::{Code, HandlerResult},
        query::{Id, SecondId},
        state::App,
        values::{matches_if_none_match, strong_etag},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_ticket_qr))
}

/// The width of a module of the picture in SVG units, which a page can scale.
const MODULE_WIDTH: u32 = 4;

/// Draws a code with the quiet zone of four modules that scanners need.
fn picture(code: &str) -> Result<String, AppError> {
    // Level M corrects 15 % of the picture: enough for a display, and for print without a logo.
    let qr = QrCode::with_error_correction_level(code, EcLevel::M).map_err(AppError::internal)?;
    Ok(qr.render::<svg::Color<'_>>().module_dimensions(MODULE_WIDTH, MODULE_WIDTH).build())
}

/// Returns the QR picture of a ticket's code.
///
/// The picture has neither scripts nor styles nor references.
#[utoipa::path(get, path = "/bookings/{bookingId}/tickets/{ticketId}/qr", tag = "tickets",
    extensions(("x-problems" = json!([
        Code::BOOKING_NOT_FOUND, Code::TICKET_NOT_FOUND, Code::BOOKING_NOT_CONFIRMED,
    ]))),
    security(("accessToken" = [])),
    params(
        ("bookingId" = Uuid, Path),
        ("ticketId" = Uuid, Path),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy."),
    ),
    responses(
        (status = 200, content_type = "image/svg+xml", body = String,
            headers(("ETag" = String, description = "Identifies the picture.")),
            example = "<svg xmlns=\"http://www.w3.org/2000/svg\" …></svg>"),
        (status = 304, description = "The client's copy is current.",
            headers(("ETag" = String, description = "The ETag of the client's copy."))),
    ))]
async fn get_ticket_qr(
    State(app): State<App>,
    caller: Caller,
    Id(booking_id): Id<BookingId>,
    SecondId(ticket_id): SecondId<TicketId>,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let code = app.tickets.ticket(caller.user_id, booking_id, ticket_id).await?.code;
    let etag = strong_etag(&URL_SAFE_NO_PAD.encode(Sha256::digest(&code)));
    let kept = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if matches_if_none_match(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    let content = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
    ];
    Ok((kept, content, picture(&code)?).into_response())
}
