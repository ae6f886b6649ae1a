//! Holding seats back from sale.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::concert::ChangeBlocks,
    domain::{
        booking::BlockedSeats,
        concert::{Seat, SeatStatus},
        id::{PerformanceId, SeatId},
        text::Reason,
    },
    interfaces::http::{
        auth::{Administrator, Caller},
        body::{AdminBody, FromBody, Object},
        problem::{Code, HandlerResult},
        query::Id,
        state::App,
        values::{Amount, private_response},
        words::SeatStatuses,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(block_seats)).routes(routes!(unblock_seats))
}

/// The most seats of one request: a large section. They are locked until its transaction ends.
const MAX_SEATS: u32 = 1_000;

/// Seats of one performance, with the reason for the change.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ChangeBlocksRequest {
    /// Each seat once.
    #[schema(value_type = Vec<u64>, min_items = 1, max_items = 1_000, example = json!([41, 42]))]
    seat_ids: Vec<SeatId>,
    /// For the action log.
    #[schema(value_type = String, min_length = 1, max_length = 500, pattern = r"\S", example = "Behind the mixing desk.")]
    reason: Reason,
}

impl FromBody for ChangeBlocksRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let seat_ids = object.required("seatIds").and_then(|field| field.seat_ids(MAX_SEATS));
        let reason = object.reason();
        Some(Self { seat_ids: seat_ids?, reason: reason? })
    }
}

/// The requested seats with their statuses after the change, by ascending id.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BlockedSeatsResponse {
    #[schema(example = 7)]
    performance_id: u64,
    seats: Vec<BlockedSeatResponse>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(description = "A seat and its status.")]
struct BlockedSeatResponse {
    #[schema(example = 41)]
    seat_id: u64,
    #[schema(example = "Stalls")]
    section: String,
    #[schema(example = "C")]
    row: String,
    #[schema(example = 12)]
    number: u16,
    #[schema(example = "R")]
    grade: String,
    price: Amount,
    #[schema(value_type = SeatStatuses, example = "BLOCKED")]
    status: &'static str,
}

impl From<(Seat, SeatStatus)> for BlockedSeatResponse {
    fn from((seat, status): (Seat, SeatStatus)) -> Self {
        Self {
            seat_id: seat.id.0,
            section: seat.section,
            row: seat.row,
            number: seat.number,
            grade: seat.grade,
            price: seat.price.into(),
            status: status.name(),
        }
    }
}

/// Holds seats back from sale, all or none.
///
/// They are `BLOCKED` in the seat map, can't be held, and `availableSeats` doesn't count them. Held and sold seats
/// can't be blocked: `conflicts` lists them. Repeating the request is safe.
#[utoipa::path(post, path = "/admin/performances/{performanceId}/seats/block", tag = "administration",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND, Code::SEAT_NOT_FOUND, Code::SEATS_UNAVAILABLE]))),
    security(("accessToken" = [])), params(("performanceId" = u64, Path)),
    request_body = ChangeBlocksRequest,
    responses((status = 200, body = BlockedSeatsResponse)))]
async fn block_seats(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<PerformanceId>,
    AdminBody { value, .. }: AdminBody<ChangeBlocksRequest>,
) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(change_blocks(&app, caller, id, value, true).await?))
}

/// Puts blocked seats back on sale, all or none.
///
/// Seats that aren't blocked stay as they are, so that repeating the request is safe.
#[utoipa::path(post, path = "/admin/performances/{performanceId}/seats/unblock", tag = "administration",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND, Code::SEAT_NOT_FOUND]))),
    security(("accessToken" = [])), params(("performanceId" = u64, Path)),
    request_body = ChangeBlocksRequest,
    responses((status = 200, body = BlockedSeatsResponse)))]
async fn unblock_seats(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<PerformanceId>,
    AdminBody { value, .. }: AdminBody<ChangeBlocksRequest>,
) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(change_blocks(&app, caller, id, value, false).await?))
}

async fn change_blocks(
    app: &App,
    caller: Caller,
    performance_id: PerformanceId,
    request: ChangeBlocksRequest,
    is_blocked: bool,
) -> HandlerResult<BlockedSeatsResponse> {
    let ChangeBlocksRequest { seat_ids, reason } = request;
    let command = ChangeBlocks { performance_id, seat_ids, is_blocked, reason };
    let BlockedSeats { seats, .. } = app.concerts.change_blocks(Some(caller.user_id), &command).await?;
    let seats = seats.into_iter().map(Into::into).collect();
    Ok(BlockedSeatsResponse { performance_id: performance_id.0, seats })
}
