//! The seat map of a performance.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Administrator,
    gate::ActiveToken,
    limits::unread_maps::UnreadMapLimit,
    problem::{Code, HandlerResult},
    query::{Id, Query},
    rate_limit::limit_reached,
    state::App,
    values::{Amount, matches_if_none_match, strong_etag, to_json},
    words::SeatStatuses,
};
use crate::{
    application::concert::SeatMap,
    domain::{
        concert::{Seat, SeatStatus},
        id::{PerformanceId, UserId},
    },
};

pub(super) fn gated_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_seat_map))
}

/// The routes of administrators.
pub(super) fn admin_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_promoters_seat_map))
}

/// The seconds after which a client with too many unread maps may try again.
const RETRY_AFTER_SECONDS: u32 = 5;

/// The text after a seat's status.
const SEAT_END: &str = "\"}";

/// The seats of a performance, by section, row and number.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what `render` writes")]
struct SeatMapResponse {
    #[schema(example = 7)]
    performance_id: u64,
    /// Grows with each change of a seat.
    #[schema(example = 1_795_161_600_000_000_i64)]
    version: i64,
    seats: Vec<SeatResponse>,
}

/// A seat and its status.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what `render` writes")]
struct SeatResponse {
    #[schema(example = 41)]
    seat_id: u64,
    /// The section of the venue.
    #[schema(example = "Stalls")]
    section: String,
    #[schema(example = "C")]
    row: String,
    /// Counts from 1 along the row; adjacent seats differ by 1.
    #[schema(example = 12)]
    number: u16,
    /// The price category.
    #[schema(example = "R")]
    grade: String,
    price: Amount,
    #[schema(value_type = SeatStatuses)]
    status: String,
}

/// The fields of a seat that never change.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SeatPlace<'a> {
    seat_id: u64,
    section: &'a str,
    row: &'a str,
    number: u16,
    grade: &'a str,
    price: Amount,
}

/// Writes the JSON of a seat up to its status.
pub fn write_seat(seat: &Seat, text: &mut String) {
    let place = to_json(&SeatPlace {
        seat_id: seat.id.0,
        section: &seat.section,
        row: &seat.row,
        number: seat.number,
        grade: &seat.grade,
        price: seat.price.into(),
    });
    let place = String::from_utf8_lossy(&place);
    text.push_str(place.trim_end_matches('}'));
    text.push_str(",\"status\":\"");
}

/// Returns the current seat map of a performance.
///
/// A request with `If-None-Match` gets 304 while no seat has changed. A user whose clients leave many versions of large
/// maps unread gets 429.
#[utoipa::path(get, path = "/performances/{performanceId}/seats", tag = "seats",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND, Code::RATE_LIMITED]))),
    security(("accessToken" = [], "queueToken" = [])),
    params(
        ("performanceId" = u64, Path, description = "A performance of the queue token's concert."),
        ("status" = Option<SeatStatuses>, Query, description = "Only seats of this status."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy."),
    ),
    responses(
        (status = 200, body = SeatMapResponse, headers(("ETag" = String, description = "Identifies the state of all seats."))),
        (status = 304, description = "The client's copy is current.",
            headers(("ETag" = String, description = "Identifies the state of all seats."))),
    ))]
async fn get_seat_map(
    State(app): State<App>,
    token: ActiveToken,
    Id(id): Id<PerformanceId>,
    headers: HeaderMap,
    mut query: Query,
) -> HandlerResult<Response> {
    let wanted = query.choice("status");
    query.finish()?;
    let map = app.concerts.seat_map(id, token.concert()).await?;
    seat_map_response(&app, token.user_id(), &headers, &map, wanted).await
}

/// Returns the current seat map of a performance, without a queue token.
///
/// A request with `If-None-Match` gets 304 while no seat has changed.
#[utoipa::path(get, path = "/admin/performances/{performanceId}/seats", tag = "administration",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND, Code::RATE_LIMITED]))),
    security(("accessToken" = [])),
    params(
        ("performanceId" = u64, Path),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy."),
    ),
    responses(
        (status = 200, body = SeatMapResponse, headers(("ETag" = String, description = "Identifies the state of all seats."))),
        (status = 304, description = "The client's copy is current.",
            headers(("ETag" = String, description = "Identifies the state of all seats."))),
    ))]
async fn get_promoters_seat_map(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<PerformanceId>,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let map = app.concerts.promoters_seat_map(id).await?;
    seat_map_response(&app, caller.user_id, &headers, &map, None).await
}

/// The seats of this status, or 304 to a client that has them.
async fn seat_map_response(
    app: &App,
    user: UserId,
    headers: &HeaderMap,
    map: &SeatMap,
    wanted: Option<SeatStatus>,
) -> HandlerResult<Response> {
    let etag = strong_etag(&format_args!("{:016x}", map.digest(wanted)));
    let known = matches_if_none_match(headers, &etag);
    let headers = [(header::ETAG, etag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let body = map.rendered(wanted, |map| render(map, wanted)).await;
    let body =
        counted_bytes(app, user, body).ok_or_else(|| limit_reached(UnreadMapLimit::NAME, RETRY_AFTER_SECONDS))?;
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((headers, content_type, body).into_response())
}

/// The bytes of a rendered map, which count for the user until they are sent; `None` if the user's limit is reached.
pub(super) fn counted_bytes(app: &App, user: UserId, map: Arc<Vec<u8>>) -> Option<Bytes> {
    app.unread_maps.count(user, map).map(Bytes::from_owner)
}

/// Renders a seat map as JSON from the prepared text of each seat and its status.
pub(super) fn render(map: &SeatMap, wanted: Option<SeatStatus>) -> Vec<u8> {
    let head = format!(r#"{{"performanceId":{},"version":{},"seats":["#, map.performance_id(), map.version());
    let size_of_seat = |(text, status): (&str, SeatStatus)| text.len() + status.name().len() + SEAT_END.len() + 1;
    let size = head.len() + map.seats(wanted).map(size_of_seat).sum::<usize>() + 2;
    let mut json = String::with_capacity(size);
    json.push_str(&head);
    for (index, (text, status)) in map.seats(wanted).enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(text);
        json.push_str(status.name());
        json.push_str(SEAT_END);
    }
    json.push_str("]}");
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::id::SeatId;

    #[test]
    fn the_text_of_a_seat_and_its_status_form_an_object() {
        let seat = Seat {
            id: SeatId(41),
            performance_id: PerformanceId(7),
            section: "\"Stalls\" \\ {A}".to_owned(),
            row: "C".to_owned(),
            row_rank: 3,
            number: 12,
            grade: "R}".to_owned(),
            price: "150000.50".parse().unwrap(),
        };
        let mut text = String::new();
        write_seat(&seat, &mut text);
        let json: Value = serde_json::from_str(&format!("{text}HELD{SEAT_END}")).unwrap();
        assert_eq!(
            json,
            json!({
                "seatId": 41, "section": "\"Stalls\" \\ {A}", "row": "C", "number": 12, "grade": "R}",
                "price": "150000.50", "status": "HELD",
            })
        );
    }
}
