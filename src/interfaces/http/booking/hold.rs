//! Holding seats.

use std::{cell::RefCell, collections::HashSet};

use axum::{extract::State, http::StatusCode, response::Response};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::response::{BookingResponse, render};
use crate::{
    application::booking::HoldSeats,
    domain::{
        booking::{BestAvailable, SeatSelection},
        id::{PerformanceId, SeatId},
        text::Name,
    },
    interfaces::http::{
        auth::Caller,
        body::{Body, Field, FromBody, Object, read_optional},
        gate::GateVerdict,
        idempotency::IdempotencyRequest,
        openapi::examples,
        problem::{Code, HandlerResult},
        rate_limit::{Hold, RateLimited},
        state::App,
        values::AmountRequest,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(hold_seats))
}

/// The most seats that one request can name: more than any sensible limit per user, and little to read.
const MAX_SEATS: u32 = 100;

/// A wish for seats of a performance, all or none: either for these, or for the best that are free.
#[derive(ToSchema)]
#[serde(untagged)]
enum HoldRequest {
    /// These seats.
    #[schema(title = "HoldSeatsRequest")]
    Seats(HoldSeatsRequest),
    /// The best that are free.
    #[schema(title = "HoldBestRequest")]
    Best(HoldBestRequest),
}

/// A wish for certain seats.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct HoldSeatsRequest {
    #[schema(value_type = u64, minimum = 1, example = 1)]
    performance_id: PerformanceId,
    /// Each once.
    #[schema(value_type = Vec<u64>, min_items = 1, max_items = 100, example = json!([1, 2]))]
    seat_ids: Vec<SeatId>,
}

/// A wish for the best seats that are free.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct HoldBestRequest {
    #[schema(value_type = u64, minimum = 1, example = 1)]
    performance_id: PerformanceId,
    #[schema(value_type = BestAvailableRequest)]
    best_available: BestAvailable,
}

/// How many seats, and which would do. Side by side if there are such, else near each other in one section, else any;
/// nearer the front and the middle of the row is better; no single seat is left alone where that can be helped.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct BestAvailableRequest {
    /// How many.
    #[schema(minimum = 1, maximum = 100, example = 2)]
    #[expect(dead_code, reason = "documents what is read into the domain's type")]
    quantity: u32,
    /// Of this grade only, written as the seat map writes it.
    #[schema(nullable = true, max_length = 200, example = "VIP")]
    #[expect(dead_code, reason = "documents what is read into the domain's type")]
    grade: Option<String>,
    /// In this section only, written as the seat map writes it.
    #[schema(nullable = true, max_length = 200, example = "Floor")]
    #[expect(dead_code, reason = "documents what is read into the domain's type")]
    section: Option<String>,
    /// At this price at most, each.
    #[schema(value_type = Option<AmountRequest>)]
    #[expect(dead_code, reason = "documents what is read into the domain's type")]
    max_price: Option<String>,
}

impl FromBody for HoldRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let performance_id = object.required("performanceId").and_then(|field| field.catalogue_id()).map(PerformanceId);
        match (object.optional("seatIds"), object.optional("bestAvailable")) {
            (Some(seats), None) => {
                let seat_ids = read_seats(&seats);
                Some(Self::Seats(HoldSeatsRequest { performance_id: performance_id?, seat_ids: seat_ids? }))
            }
            (None, Some(best)) => {
                let best_available = best.object(read_best_available);
                Some(Self::Best(HoldBestRequest { performance_id: performance_id?, best_available: best_available? }))
            }
            (None, None) => object.fail_at("seatIds", "is required where bestAvailable is missing"),
            (Some(_), Some(_)) => object.fail_at("bestAvailable", "can't stand beside seatIds"),
        }
    }
}

fn read_seats(field: &Field<'_>) -> Option<Vec<SeatId>> {
    let seen = RefCell::new(HashSet::new());
    field.list(1..=MAX_SEATS as usize, |item| {
        let id = item.catalogue_id()?;
        if seen.borrow_mut().insert(id) { Some(SeatId(id)) } else { item.fail("is named twice") }
    })
}

fn read_best_available(object: &Object<'_>) -> Option<BestAvailable> {
    let quantity = object.required("quantity").and_then(|field| field.integer32(1..=MAX_SEATS));
    let name = |name| read_optional(object.optional(name), |field| field.parse(Name::new));
    let (grade, section) = (name("grade"), name("section"));
    let max_price = read_optional(object.optional("maxPrice"), |field| field.points());
    Some(BestAvailable { quantity: quantity?, grade: grade?, section: section?, max_price: max_price? })
}

impl HoldRequest {
    fn into_parts(self) -> (PerformanceId, SeatSelection) {
        match self {
            Self::Seats(request) => (request.performance_id, SeatSelection::Seats(request.seat_ids)),
            Self::Best(request) => (request.performance_id, SeatSelection::Best(request.best_available)),
        }
    }
}

/// Holds seats for the caller for five minutes: all of them, or none.
///
/// Either the seats that are named, or the best that are free. Where these don't exist in the number asked for, the
/// refusal has no `conflicts`, and its `detail` tells how many are free.
#[utoipa::path(post, path = "/bookings", tag = "bookings",
    extensions(("x-problems" = json!([
        Code::PERFORMANCE_NOT_FOUND, Code::SEAT_NOT_FOUND, Code::SEATS_UNAVAILABLE, Code::SEAT_LIMIT_EXCEEDED,
        Code::SALES_CLOSED, Code::RATE_LIMITED,
    ]))),
    security(("accessToken" = [], "queueToken" = [])),
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body(content = HoldRequest, examples(
        ("these seats" = (summary = "These seats", value = json!({"performanceId": 1, "seatIds": [1, 2]}))),
        ("the best" = (summary = "The best that are free", value = json!({
            "performanceId": 1, "bestAvailable": {"quantity": 2, "section": "Floor", "maxPrice": "150000"}
        }))),
    )),
    responses((status = 201, body = BookingResponse,
        headers(("Location" = String, description = "The booking.")),
        examples(("held" = (summary = "A hold", value = json!(examples::booking("PENDING"))))))))]
async fn hold_seats(
    State(app): State<App>,
    caller: Caller,
    _: RateLimited<Hold>,
    verdict: GateVerdict,
    idempotency: IdempotencyRequest,
    body: Body<HoldRequest>,
) -> HandlerResult<Response> {
    let (key, response) = idempotency.prepare(caller.user_id, &body.bytes, StatusCode::CREATED, render(&app))?;
    let (performance_id, selection) = body.value.into_parts();
    let command = HoldSeats { user_id: caller.user_id, gate: verdict.into_result(), performance_id, selection };
    response.located("/bookings", "bookingId").respond(app.bookings.hold(command, key).await?)
}
