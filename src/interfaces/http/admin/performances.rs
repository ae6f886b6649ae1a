//! Adding, reading, rescheduling and cancelling performances.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::seating::SeatingRequest;
use crate::{
    application::concert::{CancellationInfo, CreatePerformance, PerformanceProgressInfo, UpdatePerformance},
    domain::{
        clock::Instant,
        concert::{SalesEnd, ScheduleChange},
        id::{ConcertId, PerformanceId, VenueId},
        text::Reason,
    },
    interfaces::http::{
        auth::Administrator,
        body::{ADMIN_MAX_BYTES, AdminBody, EmptyBody, FromBody, Object, read_optional},
        concert::PerformanceResponse,
        paths::BASE_PATH,
        problem::{BODY_CODES, Code, HandlerResult},
        query::Id,
        state::App,
        values::{Timestamp, private_response},
        words::PerformanceStatuses,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_performance))
        .routes(routes!(get_performance, update_performance))
        .routes(routes!(cancel_performance))
}

/// A performance to add, with all its seats.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CreatePerformanceRequest {
    #[schema(value_type = u64, minimum = 1, example = 1)]
    venue_id: VenueId,
    #[schema(value_type = Timestamp, example = "2030-05-01T19:30:00Z")]
    starts_at: Instant,
    seating: SeatingRequest,
}

impl FromBody for CreatePerformanceRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let venue_id = object.required("venueId").and_then(|field| field.catalogue_id()).map(VenueId);
        let starts_at = object.required("startsAt").and_then(|field| field.instant());
        let seating = object.required("seating").and_then(|field| field.object(SeatingRequest::read));
        Some(Self { venue_id: venue_id?, starts_at: starts_at?, seating: seating? })
    }
}

/// A performance with its status and its remaining bookings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PerformanceProgressResponse {
    #[serde(flatten)]
    listed: PerformanceResponse,
    #[schema(value_type = PerformanceStatuses)]
    status: &'static str,
    /// Pending and confirmed bookings. After a cancellation: those still to be cancelled or refunded.
    #[schema(example = 0)]
    bookings_left: u32,
}

impl From<PerformanceProgressInfo> for PerformanceProgressResponse {
    fn from(info: PerformanceProgressInfo) -> Self {
        Self {
            status: info.listed.performance.status.name(),
            bookings_left: info.bookings_left,
            listed: info.listed.into(),
        }
    }
}

/// Adds a performance with all its seats, in one transaction.
#[utoipa::path(post, path = "/admin/concerts/{concertId}/performances", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND, Code::VENUE_NOT_FOUND]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    request_body = CreatePerformanceRequest,
    responses((status = 201, body = PerformanceProgressResponse,
        headers(("Location" = String, description = "The performance.")))))]
async fn create_performance(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(concert_id): Id<ConcertId>,
    body: AdminBody<CreatePerformanceRequest>,
) -> HandlerResult<impl IntoResponse> {
    let CreatePerformanceRequest { venue_id, starts_at, seating } = body.value;
    let command = CreatePerformance { concert_id, venue_id, starts_at, seating: seating.sections };
    let performance = app.concerts.create_performance(Some(caller.user_id), &command).await?;
    let location = format!("{BASE_PATH}/admin/performances/{}", performance.listed.performance.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        private_response(PerformanceProgressResponse::from(performance)),
    ))
}

/// Returns a performance, also one that has begun or is cancelled, and counts its bookings.
#[utoipa::path(get, path = "/admin/performances/{performanceId}", tag = "administration",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND]))),
    security(("accessToken" = [])), params(("performanceId" = u64, Path)),
    responses((status = 200, body = PerformanceProgressResponse)))]
async fn get_performance(
    State(app): State<App>,
    _: Administrator,
    Id(id): Id<PerformanceId>,
) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(PerformanceProgressResponse::from(app.concerts.performance(id).await?)))
}

/// New times of a performance: its start, its end of sales, or both. Absent fields keep their values.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct UpdatePerformanceRequest {
    /// In the future.
    #[schema(value_type = Timestamp, required = false, example = "2030-05-02T19:30:00Z")]
    starts_at: Option<Instant>,
    /// Not after the start. With null, sales end at the start.
    #[schema(value_type = Option<Timestamp>, required = false, example = "2030-05-02T18:00:00Z")]
    sales_end_at: Option<SalesEnd>,
    /// For the action log.
    #[schema(value_type = String, required = false, min_length = 1, max_length = 500, pattern = r"\S",
        example = "The artist is ill.")]
    reason: Option<Reason>,
}

impl FromBody for UpdatePerformanceRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let starts_at = read_optional(object.if_present("startsAt"), |field| field.instant());
        let sales_end_at = read_optional(object.if_present("salesEndAt"), |field| {
            let end = field.nullable(|field| field.instant())?;
            Some(end.map_or(SalesEnd::AtStart, SalesEnd::At))
        });
        let reason = read_optional(object.if_present("reason"), |field| field.parse(Reason::new));
        let request = Self { starts_at: starts_at?, sales_end_at: sales_end_at?, reason: reason? };
        if request.starts_at.is_none() && request.sales_end_at.is_none() {
            return object.fail("must have at least one of startsAt and salesEndAt");
        }
        Some(request)
    }
}

/// Changes a performance's start or its end of sales.
///
/// The deadline of refunds and the end of queue tokens follow the new start. After the end of sales no seat can be
/// held, but a hold can be paid until its deadline.
#[utoipa::path(patch, path = "/admin/performances/{performanceId}", tag = "administration",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND, Code::SALES_CLOSED]))),
    security(("accessToken" = [])), params(("performanceId" = u64, Path)),
    request_body = UpdatePerformanceRequest,
    responses((status = 200, body = PerformanceProgressResponse)))]
async fn update_performance(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(performance_id): Id<PerformanceId>,
    AdminBody { value, .. }: AdminBody<UpdatePerformanceRequest>,
) -> HandlerResult<impl IntoResponse> {
    let UpdatePerformanceRequest { starts_at, sales_end_at, reason } = value;
    let change = ScheduleChange { starts_at, sales_end: sales_end_at };
    let command = UpdatePerformance { performance_id, change, reason };
    let performance = app.concerts.update_performance(Some(caller.user_id), &command).await?;
    Ok(private_response(PerformanceProgressResponse::from(performance)))
}

/// The progress of a cancellation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CancellationResponse {
    #[schema(example = 7)]
    performance_id: u64,
    #[schema(value_type = PerformanceStatuses)]
    status: &'static str,
    /// Bookings still to be cancelled or refunded.
    #[schema(example = 1_250)]
    bookings_left: u32,
}

impl From<CancellationInfo> for CancellationResponse {
    fn from(info: CancellationInfo) -> Self {
        Self { performance_id: info.performance_id.0, status: info.status.name(), bookings_left: info.bookings_left }
    }
}

/// Cancels a performance; its bookings are cancelled or refunded.
///
/// Its seats can't be held any more. A background job settles the bookings that `bookingsLeft` counts, and
/// `GET /admin/performances/{performanceId}` shows its progress. Repeating the request is safe.
#[utoipa::path(post, path = "/admin/performances/{performanceId}/cancel", tag = "administration",
    extensions(("x-problems" = json!([BODY_CODES, Code::PERFORMANCE_NOT_FOUND]))),
    security(("accessToken" = [])), params(("performanceId" = u64, Path)),
    responses((status = 202, body = CancellationResponse)))]
async fn cancel_performance(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<PerformanceId>,
    _: EmptyBody<ADMIN_MAX_BYTES>,
) -> HandlerResult<impl IntoResponse> {
    let cancellation = app.concerts.cancel_performance(Some(caller.user_id), id).await?;
    Ok((StatusCode::ACCEPTED, private_response(CancellationResponse::from(cancellation))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::http::admin::test_bodies::error_pointers;

    fn performance(sections: &str) -> String {
        format!(r#"{{"venueId":1,"startsAt":"2026-11-20T08:00:00Z","seating":{{"sections":[{sections}]}}}}"#)
    }

    fn section(name: &str, rows: u32, seats_per_row: u32) -> String {
        format!(r#"{{"name":"{name}","grade":"R","rows":{rows},"seatsPerRow":{seats_per_row},"price":"150000"}}"#)
    }

    #[tokio::test]
    async fn every_error_of_a_seating_has_its_pointer() {
        let errors = async |sections: &[String]| {
            error_pointers::<CreatePerformanceRequest>(&performance(&sections.join(","))).await
        };
        assert!(errors(&[section("A", 1_000, 50), section("B", 50, 1_000)]).await.is_empty());
        assert_eq!(errors(&[section("A", 1, 1), section(" A ", 1, 1)]).await, ["/seating/sections/1/name"]);
        assert_eq!(errors(&[section("A", 1_000, 100), section("B", 1, 1)]).await, ["/seating/sections"]);
        assert_eq!(errors(&[]).await, ["/seating/sections"]);
        let sections = [section("A", 0, 1_001), section("", 1, 1)];
        let expected = ["/seating/sections/0/rows", "/seating/sections/0/seatsPerRow", "/seating/sections/1/name"];
        assert_eq!(errors(&sections).await, expected);
        let dear = section("A", 1, 1).replace("150000", "10000000000");
        assert_eq!(errors(&[dear]).await, ["/seating/sections/0/price"]);
        assert_eq!(error_pointers::<CreatePerformanceRequest>("{}").await, ["/venueId", "/startsAt", "/seating"]);
    }
}
