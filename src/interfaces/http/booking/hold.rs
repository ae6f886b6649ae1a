//! Holding seats.

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
        body::{Body, FromBody, Object, read_optional},
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

/// The most seats that one request can name, above any sensible limit per user.
const MAX_SEATS: u32 = 100;

/// The seats to hold, all or none: named ones, or the best available.
#[derive(ToSchema)]
#[serde(untagged)]
enum HoldRequest {
    /// Named seats.
    #[schema(title = "HoldSeatsRequest")]
    Seats(HoldSeatsRequest),
    /// The best available seats.
    #[schema(title = "HoldBestRequest")]
    Best(HoldBestRequest),
}

/// Holds named seats.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct HoldSeatsRequest {
    #[schema(value_type = u64, minimum = 1, example = 1)]
    performance_id: PerformanceId,
    /// Each seat once.
    #[schema(value_type = Vec<u64>, min_items = 1, max_items = 100, example = json!([1, 2]))]
    seat_ids: Vec<SeatId>,
}

/// Holds the best available seats.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct HoldBestRequest {
    #[schema(value_type = u64, minimum = 1, example = 1)]
    performance_id: PerformanceId,
    #[schema(value_type = BestAvailableRequest)]
    best_available: BestAvailable,
}

/// Criteria for best available seats.
///
/// The server prefers adjacent seats, then close ones in one section, then any. It prefers seats near the front and the
/// middle of a row, and avoids isolating single seats.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct BestAvailableRequest {
    /// The number of seats.
    #[schema(minimum = 1, maximum = 100, example = 2)]
    #[expect(dead_code, reason = "documents what is read into the domain's type")]
    quantity: u32,
    /// Only seats of this grade, as the seat map names it.
    #[schema(nullable = true, max_length = 200, example = "VIP")]
    #[expect(dead_code, reason = "documents what is read into the domain's type")]
    grade: Option<String>,
    /// Only seats of this section, as the seat map names it.
    #[schema(nullable = true, max_length = 200, example = "Floor")]
    #[expect(dead_code, reason = "documents what is read into the domain's type")]
    section: Option<String>,
    /// Only seats of at most this price each.
    #[schema(value_type = Option<AmountRequest>)]
    #[expect(dead_code, reason = "documents what is read into the domain's type")]
    max_price: Option<String>,
}

impl FromBody for HoldRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let performance_id = object.required("performanceId").and_then(|field| field.catalogue_id()).map(PerformanceId);
        match (object.optional("seatIds"), object.optional("bestAvailable")) {
            (Some(seats), None) => {
                let seat_ids = seats.seat_ids(MAX_SEATS);
                Some(Self::Seats(HoldSeatsRequest { performance_id: performance_id?, seat_ids: seat_ids? }))
            }
            (None, Some(best)) => {
                let best_available = best.object(read_best_available);
                Some(Self::Best(HoldBestRequest { performance_id: performance_id?, best_available: best_available? }))
            }
            (None, None) => object.fail_at("seatIds", "is required where bestAvailable is missing"),
            (Some(_), Some(_)) => object.fail_at("bestAvailable", "excludes seatIds"),
        }
    }
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
/// A request names its seats, or requests the best available ones. If too few are available, `conflicts` is empty, and
/// `detail` has their number.
#[utoipa::path(post, path = "/bookings", tag = "bookings",
    extensions(("x-problems" = json!([
        Code::PERFORMANCE_NOT_FOUND, Code::SEAT_NOT_FOUND, Code::SEATS_UNAVAILABLE, Code::SEAT_LIMIT_EXCEEDED,
        Code::SALES_CLOSED, Code::RATE_LIMITED,
    ]))),
    security(("accessToken" = [], "queueToken" = [])),
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body(content = HoldRequest, examples(
        ("these seats" = (summary = "Named seats", value = json!({"performanceId": 1, "seatIds": [1, 2]}))),
        ("the best" = (summary = "The best available seats", value = json!({
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
