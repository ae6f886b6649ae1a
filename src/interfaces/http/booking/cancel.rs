//! Cancelling a booking.

use axum::{extract::State, http::StatusCode, response::Response};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::response::{BookingResponse, render};
use crate::{
    domain::id::BookingId,
    interfaces::http::{
        auth::Caller,
        body::EmptyBody,
        client_language::ClientLanguage,
        idempotency::IdempotencyRequest,
        problem::{BODY_CODES, Code, HandlerResult},
        query::Id,
        state::App,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(cancel_booking))
}

/// Cancels a booking: a hold ends, and a paid booking is refunded up to 24 hours before the performance.
///
/// The user can't cancel a booking of which a ticket was used. A repeated request returns the same booking.
#[utoipa::path(post, path = "/bookings/{bookingId}/cancel", tag = "bookings",
    extensions(("x-problems" = json!([BODY_CODES,
        Code::BOOKING_NOT_FOUND, Code::BOOKING_NOT_CANCELLABLE, Code::REFUND_WINDOW_CLOSED,
        Code::BALANCE_LIMIT_EXCEEDED,
    ]))),
    security(("accessToken" = [])),
    params(
        ("bookingId" = Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header),
    ),
    responses((status = 200, body = BookingResponse)))]
async fn cancel_booking(
    State(app): State<App>,
    caller: Caller,
    Id(booking_id): Id<BookingId>,
    ClientLanguage(language): ClientLanguage,
    idempotency: IdempotencyRequest,
    body: EmptyBody,
) -> HandlerResult<Response> {
    let (key, response) = idempotency.prepare(caller.user_id, &body.bytes, StatusCode::OK, render(&app))?;
    response.respond(app.bookings.cancel(caller.user_id, booking_id, language, key).await?)
}
