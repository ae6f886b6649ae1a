//! Seat maps.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    gate::ActiveToken,
    problem::{Code, HandlerResult},
    query::{Id, Query},
    state::App,
    values::{Amount, matches_if_none_match, shared_bytes, strong_etag, to_json},
    words::SeatStatuses,
};
use crate::{
    application::concert::SeatMap,
    domain::{
        concert::{Seat, SeatStatus},
        id::PerformanceId,
    },
};

pub(super) fn gated_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_seat_map))
}

const STATUSES: [(&str, SeatStatus); 3] =
    [("AVAILABLE", SeatStatus::Available), ("HELD", SeatStatus::Held), ("SOLD", SeatStatus::Sold)];

/// What follows a seat's status.
const SEAT_END: &str = "\"}";

/// The seats of a performance, by section, row and number.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what `render` writes")]
struct SeatMapResponse {
    #[schema(example = 7)]
    performance_id: u64,
    /// Grows with every change of a seat.
    #[schema(example = 1_795_161_600_000_000_i64)]
    version: i64,
    seats: Vec<SeatResponse>,
}

/// One place, and whether it can be had.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what `render` writes")]
struct SeatResponse {
    #[schema(example = 41)]
    seat_id: u64,
    /// The part of the house.
    #[schema(example = "Stalls")]
    section: String,
    #[schema(example = "C")]
    row: String,
    /// From 1 along the row; neighbours differ by 1.
    #[schema(example = 12)]
    number: u16,
    /// The price category.
    #[schema(example = "R")]
    grade: String,
    price: Amount,
    #[schema(value_type = SeatStatuses)]
    status: String,
}

/// What never changes about a seat.
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

/// The seats of a performance, as they are at this moment.
///
/// Ask again with `If-None-Match`: while nothing has changed, the answer is empty.
#[utoipa::path(get, path = "/performances/{performanceId}/seats", tag = "seats",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND]))),
    security(("accessToken" = [], "queueToken" = [])),
    params(
        ("performanceId" = u64, Path, description = "Of the concert that the queue token is for."),
        ("status" = Option<SeatStatuses>, Query, description = "Only the seats of this status."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of what the client has."),
    ),
    responses(
        (status = 200, body = SeatMapResponse, headers(("ETag" = String, description = "Stands for the whole state."))),
        (status = 304, description = "The seats are what the client has.",
            headers(("ETag" = String, description = "Stands for the whole state."))),
    ))]
async fn get_seat_map(
    State(app): State<App>,
    token: ActiveToken,
    Id(id): Id<PerformanceId>,
    headers: HeaderMap,
    mut query: Query,
) -> HandlerResult<Response> {
    let wanted = query.choice("status", &STATUSES);
    query.finish()?;
    let map = app.concerts.seat_map(id, token.concert()).await?;
    let etag = strong_etag(&format_args!("{:016x}", map.digest(wanted)));
    let known = matches_if_none_match(&headers, &etag);
    let headers = [(header::ETAG, etag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let body = map.rendered(wanted, |map| render(map, wanted)).await;
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((headers, content_type, shared_bytes(body)).into_response())
}

/// Writes a seat map as JSON: of each seat only the status is new.
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
    fn a_seat_is_an_object_once_its_status_is_added() {
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
