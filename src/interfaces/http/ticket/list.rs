//! The tickets of one of the caller's bookings.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    application::ticket::TicketInfo,
    domain::id::BookingId,
    interfaces::http::{
        auth::Caller,
        booking::BookedSeatResponse,
        problem::{Code, HandlerResult},
        query::Id,
        state::App,
        values::{Timestamp, private_response},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_tickets))
}

/// The ticket of one seat.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TicketResponse {
    ticket_id: Uuid,
    seat: BookedSeatResponse,
    /// The text of the QR picture: signed, so that a door can verify it without the server.
    #[schema(pattern = "^[A-Z2-7]+$", example = "AEWVWJ4UAAAAAAAAAAD2QDZ2GDC5N5EP")]
    code: String,
    /// The time when a door used the ticket; null for an unused one.
    admitted_at: Option<Timestamp>,
}

impl From<TicketInfo> for TicketResponse {
    fn from(info: TicketInfo) -> Self {
        Self {
            ticket_id: info.ticket.id.0,
            seat: (&info.ticket.seat).into(),
            code: info.code,
            admitted_at: info.admitted_at.map(Timestamp),
        }
    }
}

/// The tickets of a booking, one for each seat.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TicketListResponse {
    items: Vec<TicketResponse>,
}

/// Lists the tickets of one of the caller's bookings, one for each seat. Only a confirmed booking has tickets.
#[utoipa::path(get, path = "/bookings/{bookingId}/tickets", tag = "tickets",
    extensions(("x-problems" = json!([Code::BOOKING_NOT_FOUND, Code::BOOKING_NOT_CONFIRMED]))),
    security(("accessToken" = [])),
    params(("bookingId" = Uuid, Path)),
    responses((status = 200, body = TicketListResponse)))]
async fn list_tickets(
    State(app): State<App>,
    caller: Caller,
    Id(booking_id): Id<BookingId>,
) -> HandlerResult<impl IntoResponse> {
    let tickets = app.tickets.tickets(caller.user_id, booking_id).await?;
    Ok(private_response(TicketListResponse { items: tickets.into_iter().map(Into::into).collect() }))
}
