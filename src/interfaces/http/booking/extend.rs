//! Extending a hold.

use axum::{extract::State, http::StatusCode, response::Response};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::response::{BookingResponse, render};
use crate::{
    domain::id::BookingId,
    interfaces::http::{
        auth::Caller,
        body::EmptyBody,
        gate::GateVerdict,
        idempotency::IdempotencyRequest,
        problem::{BODY_CODES, Code, HandlerResult},
        query::Id,
        state::App,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(extend_booking))
}

/// Extends a pending booking by two minutes, once.
#[utoipa::path(post, path = "/bookings/{bookingId}/extend", tag = "bookings",
    extensions(("x-problems" = json!([BODY_CODES,
        Code::BOOKING_NOT_FOUND, Code::HOLD_ALREADY_EXTENDED, Code::HOLD_EXPIRED, Code::BOOKING_NOT_PAYABLE,
    ]))),
    security(("accessToken" = [], "queueToken" = [])),
    params(
        ("bookingId" = Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header),
    ),
    responses((status = 200, body = BookingResponse)))]
async fn extend_booking(
    State(app): State<App>,
    caller: Caller,
    verdict: GateVerdict,
    Id(booking_id): Id<BookingId>,
    idempotency: IdempotencyRequest,
    body: EmptyBody,
) -> HandlerResult<Response> {
    let (key, response) = idempotency.prepare(caller.user_id, &body.bytes, StatusCode::OK, render(&app))?;
    response.respond(app.bookings.extend(caller.user_id, verdict.into_result(), booking_id, key).await?)
}
