//! One of the caller's bookings.

use axum::{extract::State, response::IntoResponse};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::response::BookingResponse;
use crate::{
    domain::id::BookingId,
    interfaces::http::{
        auth::Caller,
        openapi::examples,
        problem::{Code, HandlerResult},
        query::Id,
        state::App,
        values::private_response,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_booking))
}

/// Returns one of the caller's bookings.
#[utoipa::path(get, path = "/bookings/{bookingId}", tag = "bookings",
    extensions(("x-problems" = json!([Code::BOOKING_NOT_FOUND]))),
    security(("accessToken" = [])),
    params(("bookingId" = Uuid, Path)),
    responses((status = 200, body = BookingResponse, examples(
        ("held" = (summary = "A hold, which can be paid", value = json!(examples::booking("PENDING")))),
        ("paid" = (summary = "Paid", value = json!(examples::booking("CONFIRMED")))),
    ))))]
async fn get_booking(
    State(app): State<App>,
    caller: Caller,
    Id(booking_id): Id<BookingId>,
) -> HandlerResult<impl IntoResponse> {
    let booking = app.bookings.booking(caller.user_id, booking_id).await?;
    Ok(private_response(BookingResponse::at(&booking, app.clock.now())))
}
