//! Bookings: holding seats, and what becomes of them.

use std::collections::HashSet;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::Caller,
    body::{Body, EmptyBody, Field, FromBody, Object, read_optional},
    gate::GateVerdict,
    idempotency::IdempotencyRequest,
    openapi::{BODY_CODES, examples},
    problem::{Code, HandlerResult},
    query::{Id, Query, cursor, cursor_part},
    rate_limit::{Hold, RateLimited},
    state::App,
    values::{Amount, AmountRequest, Timestamp, private_response, to_json},
    words::BookingStatuses,
};
use crate::{
    application::booking::HoldSeats,
    domain::{
        booking::{BestAvailable, BookedSeat, Booking, BookingState, SeatSelection},
        clock::{Instant, seconds_left},
        id::{BookingId, PerformanceId, SeatId},
        text::Name,
    },
};

/// The most seats that one request can name: more than any sensible limit per user, and little to read.
const MAX_SEATS: u32 = 100;

/// The states, by the names that a filter uses.
const STATUSES: [(&str, &str); 5] = [
    ("PENDING", "PENDING"),
    ("CONFIRMED", "CONFIRMED"),
    ("CANCELLED", "CANCELLED"),
    ("EXPIRED", "EXPIRED"),
    ("REFUNDED", "REFUNDED"),
];

pub(super) fn gated_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(hold_seats)).routes(routes!(extend_booking))
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_bookings)).routes(routes!(get_booking)).routes(routes!(cancel_booking))
}

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
    let seen = std::cell::RefCell::new(HashSet::new());
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

/// One user's seats of one performance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BookingResponse {
    booking_id: Uuid,
    user_id: Uuid,
    concert_id: u64,
    performance_id: u64,
    #[schema(value_type = BookingStatuses)]
    status: &'static str,
    seats: Vec<BookedSeatResponse>,
    total_price: Amount,
    /// Until when a pending booking can be paid.
    held_until: Timestamp,
    /// Null unless the booking is pending.
    seconds_left: Option<i64>,
    extended: bool,
    created_at: Timestamp,
    confirmed_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    payment_id: Option<Uuid>,
}

/// One seat of a booking.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BookedSeatResponse {
    seat_id: u64,
    section: String,
    row: String,
    number: u16,
    grade: String,
    price: Amount,
}

impl From<&BookedSeat> for BookedSeatResponse {
    fn from(seat: &BookedSeat) -> Self {
        Self {
            seat_id: seat.id.0,
            section: seat.section.clone(),
            row: seat.row.clone(),
            number: seat.number,
            grade: seat.grade.clone(),
            price: seat.price.into(),
        }
    }
}

impl BookingResponse {
    /// The booking as it is at `now`.
    pub(super) fn at(booking: &Booking, now: Instant) -> Self {
        let state = booking.state_at(now);
        let (confirmed_at, cancelled_at, payment_id) = match state {
            BookingState::Pending | BookingState::Expired => (None, None, None),
            BookingState::Confirmed { at, payment_id } => (Some(at), None, Some(payment_id)),
            BookingState::Cancelled { at } => (None, Some(at), None),
            BookingState::Refunded { confirmed_at, payment_id, at } => (Some(confirmed_at), Some(at), Some(payment_id)),
        };
        Self {
            booking_id: booking.id.0,
            user_id: booking.user_id.0,
            concert_id: booking.concert_id.0,
            performance_id: booking.performance_id.0,
            status: state.name(),
            seats: booking.seats.iter().map(Into::into).collect(),
            total_price: booking.total.into(),
            held_until: Timestamp(booking.held_until),
            seconds_left: (state == BookingState::Pending).then(|| seconds_left(now, booking.held_until)),
            extended: booking.is_extended,
            created_at: Timestamp(booking.created_at),
            confirmed_at: confirmed_at.map(Timestamp),
            cancelled_at: cancelled_at.map(Timestamp),
            payment_id: payment_id.map(|id| id.0),
        }
    }
}

/// A page of bookings, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BookingListResponse {
    items: Vec<BookingResponse>,
    next_cursor: Option<String>,
}

/// Writes a booking as it is when it is written.
fn render(app: &App) -> impl Fn(&Booking) -> Vec<u8> + Send + Sync + use<> {
    let clock = std::sync::Arc::clone(&app.clock);
    move |booking| to_json(&BookingResponse::at(booking, clock.now()))
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

/// The caller's bookings, newest first.
#[utoipa::path(get, path = "/bookings", tag = "bookings", security(("accessToken" = [])),
    params(
        ("status" = Option<BookingStatuses>, Query, description = "In this state only."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 if absent."),
        ("cursor" = Option<String>, Query, max_length = 200, pattern = "^[A-Za-z0-9_-]+$",
            description = "The nextCursor of the page before."),
    ),
    responses((status = 200, body = BookingListResponse)))]
async fn list_bookings(State(app): State<App>, caller: Caller, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let limit = query.limit();
    let status = query.choice("status", &STATUSES);
    let before = query.cursor::<1>()?.map(|[id]| cursor_part(&id)).transpose()?.map(BookingId);
    query.finish()?;
    let page = app.bookings.bookings(caller.user_id, status, before, limit).await?;
    let next_cursor = page.last_of_more().map(|booking| cursor(&[&booking.id]));
    let now = app.clock.now();
    let items = page.items.iter().map(|booking| BookingResponse::at(booking, now)).collect();
    Ok(private_response(BookingListResponse { items, next_cursor }))
}

/// One of the caller's bookings.
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

/// Holds a pending booking two minutes longer, once.
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

/// Gives a booking up: a hold is cancelled, a paid booking refunded up to 24 hours before the performance.
///
/// Repeating it answers with the same booking.
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
    idempotency: IdempotencyRequest,
    body: EmptyBody,
) -> HandlerResult<Response> {
    let (key, response) = idempotency.prepare(caller.user_id, &body.bytes, StatusCode::OK, render(&app))?;
    response.respond(app.bookings.cancel(caller.user_id, booking_id, key).await?)
}
