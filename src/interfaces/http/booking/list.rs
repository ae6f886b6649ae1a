//! The caller's bookings.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::response::BookingResponse;
use crate::{
    domain::{booking::BookingState, id::BookingId},
    interfaces::http::{
        auth::Caller,
        problem::HandlerResult,
        query::{PageParameters, Query, cursor},
        state::App,
        values::private_response,
        words::BookingStatuses,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_bookings))
}

/// A page of bookings, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BookingListResponse {
    items: Vec<BookingResponse>,
    next_cursor: Option<String>,
}

/// Lists the caller's bookings, newest first.
#[utoipa::path(get, path = "/bookings", tag = "bookings", security(("accessToken" = [])),
    params(
        ("status" = Option<BookingStatuses>, Query, description = "Only bookings of this status."),
        PageParameters,
    ),
    responses((status = 200, body = BookingListResponse)))]
async fn list_bookings(State(app): State<App>, caller: Caller, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let request = query.page(BookingId)?;
    let status = query.choice_of_name::<BookingState>("status");
    query.finish()?;
    let page = app.bookings.bookings(caller.user_id, status, request).await?;
    let next_cursor = page.last_of_more().map(|booking| cursor(&[&booking.id]));
    let now = app.clock.now();
    let items = page.items.iter().map(|booking| BookingResponse::at(booking, now)).collect();
    Ok(private_response(BookingListResponse { items, next_cursor }))
}
