//! Top-ups: points bought through a payment provider, and the provider's notifications.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::Caller,
    body::{Body, FromBody, Object, RawBody},
    idempotency::IdempotencyRequest,
    problem::{Code, HandlerResult},
    query::{Id, PageParameters, Query, cursor},
    state::App,
    values::{Amount, ChargeAmountRequest, Timestamp, private_response, to_json},
    words::{TopUpFailures, TopUpStatuses},
};
use crate::domain::{
    clock::Instant,
    id::TopUpId,
    points::Points,
    top_up::{FailureReason, TopUp, TopUpStatus},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_top_ups, create_top_up))
        .routes(routes!(get_top_up))
        .routes(routes!(receive_payment_notification))
}

/// Points to buy.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct TopUpRequest {
    /// More than 0, at most 10,000,000; the payment provider's currency may exclude fractions.
    #[schema(value_type = ChargeAmountRequest)]
    amount: Points,
}

impl FromBody for TopUpRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let field = object.required("amount")?;
        let amount = field.points()?;
        if amount > Points::ZERO && amount <= Points::MAX_CHARGE {
            Some(Self { amount })
        } else {
            field.fail("must be more than 0 and at most 10000000")
        }
    }
}

/// A purchase of points: pending, completed, failed or expired.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopUpResponse {
    top_up_id: Uuid,
    amount: Amount,
    #[schema(value_type = TopUpStatuses)]
    status: &'static str,
    /// The provider's page on which the payer pays. Null until the checkout is created, and for some providers once it
    /// has ended.
    #[schema(
        example = "http://127.0.0.1:8080/payment-providers/sandbox/checkouts/01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10"
    )]
    checkout_url: Option<String>,
    /// The deadline for the payment.
    expires_at: Timestamp,
    /// The seconds until `expiresAt`; null unless the top-up is pending.
    #[schema(minimum = 0)]
    seconds_left: Option<i64>,
    created_at: Timestamp,
    /// The time at which the points were credited; null unless the top-up is completed.
    completed_at: Option<Timestamp>,
    #[schema(value_type = Option<TopUpFailures>)]
    failure: Option<&'static str>,
    /// The time at which the refund of the payment was requested; null without a refund.
    refund_requested_at: Option<Timestamp>,
    /// The time at which the provider confirmed the refund; null before.
    refunded_at: Option<Timestamp>,
}

impl TopUpResponse {
    pub(super) fn at(top_up: &TopUp, now: Instant) -> Self {
        let status = top_up.status_at(now);
        let is_pending = status == TopUpStatus::Pending;
        let completed_at = top_up.ended_at.filter(|_| status == TopUpStatus::Completed);
        Self {
            top_up_id: top_up.id.0,
            amount: top_up.amount.into(),
            status: status.name(),
            checkout_url: top_up.checkout.as_ref().and_then(|checkout| checkout.url.clone()),
            expires_at: Timestamp(top_up.expires_at),
            seconds_left: is_pending.then(|| (top_up.expires_at - now).num_seconds()),
            created_at: Timestamp(top_up.created_at),
            completed_at: completed_at.map(Timestamp),
            failure: top_up.failure.map(FailureReason::name),
            refund_requested_at: top_up.refund.map(|refund| Timestamp(refund.requested_at)),
            refunded_at: top_up.refund.and_then(|refund| refund.refunded_at).map(Timestamp),
        }
    }
}

/// Buys points: creates a checkout of the payment provider.
///
/// The payer pays at `checkoutUrl`. The provider then notifies the server, which credits the wallet in the same
/// transaction that completes the top-up.
#[utoipa::path(post, path = "/points/top-ups", tag = "points",
    extensions(("x-problems" = json!([
        Code::NO_PAYMENT_PROVIDER, Code::BALANCE_LIMIT_EXCEEDED, Code::PAYMENT_PROVIDER_UNAVAILABLE,
    ]))),
    security(("accessToken" = [])),
    params(("Idempotency-Key" = String, Header)),
    request_body = TopUpRequest,
    responses((status = 201, body = TopUpResponse, headers(("Location" = String, description = "The top-up.")))))]
async fn create_top_up(
    State(app): State<App>,
    caller: Caller,
    idempotency: IdempotencyRequest,
    body: Body<TopUpRequest>,
) -> HandlerResult<Response> {
    app.top_ups.check_amount(body.value.amount)?;
    let top_ups = std::sync::Arc::clone(&app.top_ups);
    let (key, response) =
        idempotency.prepare_required(caller.user_id, &body.bytes, StatusCode::CREATED, move |top_up: &TopUp| {
            to_json(&TopUpResponse::at(top_up, top_ups.now()))
        })?;
    let reply = app.top_ups.create(caller.user_id, body.value.amount, key).await?;
    response.located("/points/top-ups", "topUpId").respond(reply)
}

/// A page of top-ups, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopUpListResponse {
    items: Vec<TopUpResponse>,
    next_cursor: Option<String>,
}

/// Lists the caller's top-ups, newest first.
#[utoipa::path(get, path = "/points/top-ups", tag = "points", security(("accessToken" = [])),
    params(
        PageParameters,
    ),
    responses((status = 200, body = TopUpListResponse)))]
async fn list_top_ups(State(app): State<App>, caller: Caller, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let request = query.page(TopUpId)?;
    query.finish()?;
    let page = app.top_ups.top_ups(caller.user_id, request).await?;
    let next_cursor = page.last_of_more().map(|top_up| cursor(&[&top_up.id]));
    let now = app.top_ups.now();
    let items = page.items.iter().map(|top_up| TopUpResponse::at(top_up, now)).collect();
    Ok(private_response(TopUpListResponse { items, next_cursor }))
}

/// Returns one of the caller's top-ups.
#[utoipa::path(get, path = "/points/top-ups/{topUpId}", tag = "points",
    extensions(("x-problems" = json!([Code::TOP_UP_NOT_FOUND]))),
    security(("accessToken" = [])),
    params(("topUpId" = Uuid, Path)),
    responses((status = 200, body = TopUpResponse)))]
async fn get_top_up(State(app): State<App>, caller: Caller, Id(id): Id<TopUpId>) -> HandlerResult<impl IntoResponse> {
    let top_up = app.top_ups.top_up(caller.user_id, id).await?;
    Ok(private_response(TopUpResponse::at(&top_up, app.top_ups.now())))
}

/// A provider's message about a checkout, in the provider's own format.
#[derive(ToSchema)]
#[schema(example = json!({"type": "checkout.session.completed", "data": {"object": {"id": "cs_test_a1"}}}))]
#[expect(dead_code, reason = "it stands in the document alone: the adapter of the provider reads the bytes")]
struct PaymentNotification {
    #[schema(required = false)]
    r#type: String,
    #[schema(required = false, value_type = Object)]
    data: (),
}

/// Receives a payment provider's notification about a checkout.
///
/// The provider signs it: Stripe in the header `Stripe-Signature`, the sandbox in `Sandbox-Signature`. It may arrive
/// repeatedly, late, or out of order; the wallet is credited once. A notification about an unknown top-up has no
/// effect.
#[utoipa::path(post, path = "/payment-providers/{provider}/events", tag = "points",
    extensions(("x-problems" = json!([Code::PAYMENT_PROVIDER_NOT_FOUND, Code::INVALID_SIGNATURE]))),
    params(("provider" = String, Path, example = "stripe", description = "The configured payment provider.")),
    request_body = PaymentNotification,
    responses((status = 204, description = "The notification was received. Repeating it has no effect.")))]
async fn receive_payment_notification(
    State(app): State<App>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> HandlerResult<StatusCode> {
    let header = app.top_ups.signature_header(&provider)?;
    let signature = headers.get(header).and_then(|value| value.to_str().ok());
    app.top_ups.receive(&provider, signature, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}
