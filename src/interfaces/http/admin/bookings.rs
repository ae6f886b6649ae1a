//! Bookings of all users.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::administration::GiveSeats,
    domain::{
        administration::Order,
        booking::{BookingDetails, BookingSearch, BookingState},
        clock::Instant,
        id::{BookingId, ConcertId, PerformanceId, SeatId, UserId},
        text::Reason,
    },
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object},
        booking::{BookingResponse, render},
        idempotency::IdempotencyRequest,
        paths::BASE_PATH,
        problem::{Code, HandlerResult},
        query::{Id, PageParameters, Query, cursor},
        state::App,
        values::private_response,
        words::BookingStatuses,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search_bookings, give_seats))
        .routes(routes!(get_any_booking))
        .routes(routes!(cancel_any_booking))
}

/// A booking as its user sees it, with the user's address.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdminBookingResponse {
    #[serde(flatten)]
    booking: BookingResponse,
    /// The user's e-mail address; null once the account is deleted.
    #[schema(example = "jin@example.org")]
    email: Option<String>,
}

impl AdminBookingResponse {
    /// The booking with its status at `now`.
    fn at(details: &BookingDetails, now: Instant) -> Self {
        let email = details.email.as_ref().map(|email| email.as_str().to_owned());
        Self { booking: BookingResponse::at(&details.booking, now), email }
    }
}

/// A page of bookings, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdminBookingListResponse {
    items: Vec<AdminBookingResponse>,
    next_cursor: Option<String>,
}

/// Lists bookings of all users, newest first.
#[utoipa::path(get, path = "/admin/bookings", tag = "administration", security(("accessToken" = [])),
    params(
        ("concertId" = Option<u64>, Query, minimum = 1),
        ("performanceId" = Option<u64>, Query, minimum = 1),
        ("userId" = Option<Uuid>, Query),
        ("status" = Option<BookingStatuses>, Query, description = "Only bookings of this status."),
        PageParameters,
    ),
    responses((status = 200, body = AdminBookingListResponse)))]
async fn search_bookings(
    State(app): State<App>,
    _: Administrator,
    mut query: Query,
) -> HandlerResult<impl IntoResponse> {
    let request = query.page(BookingId)?;
    let search = BookingSearch {
        concert_id: query.catalogue_id("concertId").map(ConcertId),
        performance_id: query.catalogue_id("performanceId").map(PerformanceId),
        user_id: query.uuid("userId").map(UserId),
        status: query.choice_of_name::<BookingState>("status"),
    };
    query.finish()?;
    let page = app.administration.search_bookings(&search, request).await?;
    let next_cursor = page.last_of_more().map(|details| cursor(&[&details.booking.id]));
    let now = app.clock.now();
    let items = page.items.iter().map(|details| AdminBookingResponse::at(details, now)).collect();
    Ok(private_response(AdminBookingListResponse { items, next_cursor }))
}

/// The most seats of one complimentary booking.
const MAX_SEATS: u32 = 100;

/// Seats to give to a user, all or none, with the reason.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct GiveSeatsRequest {
    #[schema(value_type = Uuid, example = "01939e6b-0c5a-7d02-9c41-7be1f0a2c3d4")]
    user_id: UserId,
    #[schema(value_type = u64, minimum = 1, example = 1)]
    performance_id: PerformanceId,
    /// Each seat once.
    #[schema(value_type = Vec<u64>, min_items = 1, max_items = 100, example = json!([1, 2]))]
    seat_ids: Vec<SeatId>,
    /// For the action log.
    #[schema(value_type = String, min_length = 1, max_length = 500, pattern = r"\S", example = "A guest of the artist.")]
    reason: Reason,
}

impl FromBody for GiveSeatsRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let user_id = object.required("userId").and_then(|field| field.uuid()).map(UserId);
        let performance_id = object.required("performanceId").and_then(|field| field.catalogue_id()).map(PerformanceId);
        let seat_ids = object.required("seatIds").and_then(|field| field.seat_ids(MAX_SEATS));
        let reason = object.reason();
        Some(Self { user_id: user_id?, performance_id: performance_id?, seat_ids: seat_ids?, reason: reason? })
    }
}

/// Gives seats to a user: a complimentary booking, confirmed and paid with 0.
///
/// It doesn't count towards the limit of seats per user. A refund returns 0 points.
#[utoipa::path(post, path = "/admin/bookings", tag = "administration",
    extensions(("x-problems" = json!([
        Code::USER_NOT_FOUND, Code::PERFORMANCE_NOT_FOUND, Code::SEAT_NOT_FOUND, Code::SEATS_UNAVAILABLE,
        Code::SALES_CLOSED,
    ]))),
    security(("accessToken" = [])),
    request_body = GiveSeatsRequest,
    responses((status = 201, body = AdminBookingResponse,
        headers(("Location" = String, description = "The booking.")))))]
async fn give_seats(
    State(app): State<App>,
    Administrator(caller): Administrator,
    AdminBody { value, .. }: AdminBody<GiveSeatsRequest>,
) -> HandlerResult<impl IntoResponse> {
    let GiveSeatsRequest { user_id, performance_id, seat_ids, reason } = value;
    let order = Order { actor: caller.user_id, reason };
    let command = GiveSeats { user_id, performance_id, seat_ids, order };
    let details = app.administration.give_seats(&command).await?;
    let location = format!("{BASE_PATH}/admin/bookings/{}", details.booking.id);
    let response = private_response(AdminBookingResponse::at(&details, app.clock.now()));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], response))
}

/// Returns a booking of any user.
#[utoipa::path(get, path = "/admin/bookings/{bookingId}", tag = "administration", security(("accessToken" = [])),
    extensions(("x-problems" = json!([Code::BOOKING_NOT_FOUND]))),
    params(("bookingId" = Uuid, Path)),
    responses((status = 200, body = AdminBookingResponse)))]
async fn get_any_booking(
    State(app): State<App>,
    _: Administrator,
    Id(booking_id): Id<BookingId>,
) -> HandlerResult<impl IntoResponse> {
    let details = app.administration.booking(booking_id).await?;
    Ok(private_response(AdminBookingResponse::at(&details, app.clock.now())))
}

/// The reason for a cancellation.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CancelBookingRequest {
    /// For the action log.
    #[schema(value_type = String, min_length = 1, max_length = 500, pattern = r"\S", example = "Fell ill.")]
    reason: Reason,
}

impl FromBody for CancelBookingRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self { reason: object.reason()? })
    }
}

/// Cancels any user's booking: a hold ends, and a paid booking is refunded at any time.
///
/// A repeated request returns the same booking.
#[utoipa::path(post, path = "/admin/bookings/{bookingId}/cancel", tag = "administration",
    extensions(("x-problems" = json!([
        Code::BOOKING_NOT_FOUND, Code::BOOKING_NOT_CANCELLABLE, Code::BALANCE_LIMIT_EXCEEDED,
    ]))),
    security(("accessToken" = [])),
    params(("bookingId" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = CancelBookingRequest,
    responses((status = 200, body = BookingResponse)))]
async fn cancel_any_booking(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(booking_id): Id<BookingId>,
    idempotency: IdempotencyRequest,
    AdminBody { value, bytes }: AdminBody<CancelBookingRequest>,
) -> HandlerResult<Response> {
    let (key, response) = idempotency.prepare(caller.user_id, &bytes, StatusCode::OK, render(&app))?;
    let order = Order { actor: caller.user_id, reason: value.reason };
    response.respond(app.administration.cancel_booking(order, booking_id, key).await?)
}
