//! The current sales figures of each performance of a concert.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::concert::PerformanceSalesInfo,
    domain::id::ConcertId,
    interfaces::http::{
        auth::Administrator,
        concert::PerformanceResponse,
        problem::{Code, HandlerResult},
        query::Id,
        state::App,
        values::{Amount, private_response},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_sales))
}

/// The sales of a performance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PerformanceSalesResponse {
    #[serde(flatten)]
    listed: PerformanceResponse,
    #[schema(example = 42)]
    held_seats: u32,
    #[schema(example = 1_727)]
    sold_seats: u32,
    /// Held back from sale.
    #[schema(example = 4)]
    blocked_seats: u32,
    /// The sum of the payments of its confirmed bookings, in points.
    revenue: Amount,
}

impl From<PerformanceSalesInfo> for PerformanceSalesResponse {
    fn from(PerformanceSalesInfo { listed, sales }: PerformanceSalesInfo) -> Self {
        Self {
            listed: listed.into(),
            held_seats: sales.held,
            sold_seats: sales.sold,
            blocked_seats: sales.blocked,
            revenue: sales.revenue.into(),
        }
    }
}

/// The sales of a concert.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SalesResponse {
    #[schema(example = 3)]
    concert_id: u64,
    /// The first 100 performances that aren't cancelled, soonest first.
    performances: Vec<PerformanceSalesResponse>,
}

/// Returns the sales of each performance of a concert.
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
