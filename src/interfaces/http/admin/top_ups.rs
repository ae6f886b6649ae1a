//! Top-ups of all users: a search, and refunds.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{
        clock::Instant,
        id::{TopUpId, UserId},
        text::Reason,
        top_up::{TopUpDetails, TopUpSearch},
    },
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object},
        problem::{Code, HandlerResult},
        query::{Id, PageParameters, Query, cursor},
        range::{RangeParameters, read_range},
        state::App,
        top_up::TopUpResponse,
        values::private_response,
        words::TopUpStatuses,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(search_top_ups)).routes(routes!(refund_top_up))
}

/// A top-up as its user sees it, with the user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdminTopUpResponse {
    #[serde(flatten)]
    top_up: TopUpResponse,
    user_id: Uuid,
    /// The user's e-mail address; null once the account is deleted.
    #[schema(example = "jin@example.org")]
    email: Option<String>,
    /// The name of the payment provider.
    #[schema(example = "stripe")]
    provider: String,
    /// The provider's id of the checkout; null until it is created.
    #[schema(example = "cs_test_a1")]
    checkout_id: Option<String>,
}

impl AdminTopUpResponse {
    /// The top-up with its status at `now`.
    fn at(details: &TopUpDetails, now: Instant) -> Self {
        let top_up = &details.top_up;
        Self {
            top_up: TopUpResponse::at(top_up, now),
            user_id: top_up.user_id.0,
            email: details.email.as_ref().map(|email| email.as_str().to_owned()),
            provider: top_up.provider.clone(),
            checkout_id: top_up.checkout.as_ref().map(|checkout| checkout.id.clone()),
        }
    }
}

/// A page of top-ups, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdminTopUpListResponse {
    items: Vec<AdminTopUpResponse>,
    next_cursor: Option<String>,
}

/// Lists top-ups of all users, newest first.
#[utoipa::path(get, path = "/admin/top-ups", tag = "administration", security(("accessToken" = [])),
    params(
        ("userId" = Option<Uuid>, Query),
        ("status" = Option<TopUpStatuses>, Query, description = "Only top-ups of this status."),
        RangeParameters,
        PageParameters,
    ),
    responses((status = 200, body = AdminTopUpListResponse)))]
async fn search_top_ups(
    State(app): State<App>,
    _: Administrator,
    mut query: Query,
) -> HandlerResult<impl IntoResponse> {
    let request = query.page(TopUpId)?;
    let (from, to) = read_range(&mut query);
    let user_id = query.uuid("userId").map(UserId);
    let search = TopUpSearch { user_id, status: query.choice("status"), from, to };
    query.finish()?;
    let page = app.top_ups.search(&search, request).await?;
    let next_cursor = page.last_of_more().map(|details| cursor(&[&details.top_up.id]));
    let now = app.top_ups.now();
    let items = page.items.iter().map(|details| AdminTopUpResponse::at(details, now)).collect();
    Ok(private_response(AdminTopUpListResponse { items, next_cursor }))
}

/// The reason for a refund.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct RefundTopUpRequest {
    /// For the action log.
    #[schema(value_type = String, min_length = 1, max_length = 500, pattern = r"\S", example = "Paid by mistake.")]
    reason: Reason,
}

impl FromBody for RefundTopUpRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self { reason: object.reason()? })
    }
}

/// Refunds the payment of a completed top-up to the payer.
///
/// Its points are taken back at once, as an `ADJUSTMENT`; so they must be unspent. The payment provider then refunds
/// the money, which `refundedAt` confirms. Repeating the request has no effect.
#[utoipa::path(post, path = "/admin/top-ups/{topUpId}/refund", tag = "administration", security(("accessToken" = [])),
    extensions(("x-problems" = json!([
        Code::TOP_UP_NOT_FOUND, Code::USER_NOT_FOUND, Code::TOP_UP_NOT_REFUNDABLE, Code::INSUFFICIENT_POINTS,
    ]))),
    params(("topUpId" = Uuid, Path)),
    request_body = RefundTopUpRequest,
    responses((status = 202, body = TopUpResponse)))]
async fn refund_top_up(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<TopUpId>,
    AdminBody { value, .. }: AdminBody<RefundTopUpRequest>,
) -> HandlerResult<impl IntoResponse> {
    let top_up = app.top_ups.refund(caller.user_id, id, &value.reason).await?;
    Ok((StatusCode::ACCEPTED, private_response(TopUpResponse::at(&top_up, app.top_ups.now()))))
}
