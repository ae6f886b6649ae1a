//! Bookings of all users.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::administration::SearchBookings,
    domain::{
        administration::Order,
        booking::BookingDetails,
        clock::Instant,
        id::{BookingId, ConcertId, PerformanceId, UserId},
        text::Reason,
    },
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object},
        booking::{BookingResponse, STATUSES, render},
        idempotency::IdempotencyRequest,
        problem::{Code, HandlerResult},
        query::{Id, PageParameters, Query, cursor, cursor_part},
        state::App,
        values::private_response,
        words::BookingStatuses,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search_bookings))
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
    let limit = query.limit();
    let before = query.cursor::<1>()?.map(|[id]| cursor_part(&id)).transpose()?.map(BookingId);
    let search = SearchBookings {
        concert_id: query.catalogue_id("concertId").map(ConcertId),
        performance_id: query.catalogue_id("performanceId").map(PerformanceId),
        user_id: query.uuid("userId").map(UserId),
        status: query.choice("status", &STATUSES),
        before,
        limit,
    };
    query.finish()?;
    let page = app.administration.search_bookings(&search).await?;
    let next_cursor = page.last_of_more().map(|details| cursor(&[&details.booking.id]));
    let now = app.clock.now();
    let items = page.items.iter().map(|details| AdminBookingResponse::at(details, now)).collect();
    Ok(private_response(AdminBookingListResponse { items, next_cursor }))
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

/// The reason of a cancellation.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CancelBookingRequest {
    /// For the action log.
    #[schema(value_type = String, min_length = 1, max_length = 500, pattern = r"\S", example = "Fell ill.")]
    reason: Reason,
}

impl FromBody for CancelBookingRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self { reason: object.required("reason").and_then(|field| field.parse(Reason::new))? })
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
