//! A sale as it happens: what was sold of each performance, and the seats without a queue token.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::concert::PerformanceSalesInfo,
    domain::id::{ConcertId, PerformanceId},
    interfaces::http::{
        auth::Administrator,
        concert::PerformanceResponse,
        problem::{Code, HandlerResult},
        query::Id,
        seat::{SeatMapResponse, render},
        state::App,
        values::{Amount, matches_if_none_match, private_response, shared_bytes, strong_etag},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_sales)).routes(routes!(get_house))
}

/// What was sold of a performance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PerformanceSalesResponse {
    #[serde(flatten)]
    listed: PerformanceResponse,
    #[schema(example = 42)]
    held_seats: u32,
    #[schema(example = 1_727)]
    sold_seats: u32,
    /// The payments of its confirmed bookings.
    revenue: Amount,
}

impl From<PerformanceSalesInfo> for PerformanceSalesResponse {
    fn from(PerformanceSalesInfo { listed, sales }: PerformanceSalesInfo) -> Self {
        Self {
            listed: listed.into(),
            held_seats: sales.held,
            sold_seats: sales.sold,
            revenue: sales.revenue.into(),
        }
    }
}

/// What was sold of a concert.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SalesResponse {
    #[schema(example = 3)]
    concert_id: u64,
    /// The first 100 performances that aren't cancelled, soonest first.
    performances: Vec<PerformanceSalesResponse>,
}

/// Returns what was sold of each performance of a concert.
#[utoipa::path(get, path = "/admin/concerts/{concertId}/sales", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    responses((status = 200, body = SalesResponse)))]
async fn get_sales(
    State(app): State<App>,
    _: Administrator,
    Id(id): Id<ConcertId>,
) -> HandlerResult<impl IntoResponse> {
    let performances = app.concerts.sales(id).await?.into_iter().map(Into::into).collect();
    Ok(private_response(SalesResponse { concert_id: id.0, performances }))
}

/// Returns the current seat map of a performance, without a queue token.
///
/// A request with `If-None-Match` gets 304 while no seat has changed.
#[utoipa::path(get, path = "/admin/performances/{performanceId}/seats", tag = "administration",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND]))),
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
async fn get_house(
    State(app): State<App>,
    _: Administrator,
    Id(id): Id<PerformanceId>,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let map = app.concerts.promoters_seat_map(id).await?;
    let etag = strong_etag(&format_args!("{:016x}", map.digest(None)));
    let known = matches_if_none_match(&headers, &etag);
    let headers = [(header::ETAG, etag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let body = map.rendered(None, |map| render(map, None)).await;
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((headers, content_type, shared_bytes(body)).into_response())
}
