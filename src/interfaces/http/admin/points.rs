//! Changes of balances by administrators.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{
        administration::Order,
        id::UserId,
        point::{Direction, LedgerEntry},
        points::SignedPoints,
        text::Reason,
    },
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object},
        idempotency::IdempotencyRequest,
        problem::{Code, HandlerResult},
        query::Id,
        state::App,
        values::{Amount, SignedAmountRequest, Timestamp, to_json},
        words::TransactionTypes,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(adjust_points))
}

/// Points to add or to take, with the reason.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct AdjustPointsRequest {
    #[schema(value_type = SignedAmountRequest)]
    amount: SignedPoints,
    /// For the action log.
    #[schema(value_type = String, min_length = 1, max_length = 500, pattern = r"\S", example = "Charged twice.")]
    reason: Reason,
}

impl FromBody for AdjustPointsRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let amount = object.required("amount").and_then(|field| field.signed_points());
        let reason = object.reason();
        Some(Self { amount: amount?, reason: reason? })
    }
}

/// A completed adjustment: its entry in the user's ledger.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdjustmentResponse {
    transaction_id: Uuid,
    user_id: Uuid,
    /// Always `ADJUSTMENT`.
    #[schema(value_type = TransactionTypes)]
    r#type: &'static str,
    /// Negative if points were taken.
    amount: Amount,
    balance: Amount,
    /// The same as `balance`, by its name in the ledger.
    balance_after: Amount,
    version: u64,
    created_at: Timestamp,
}

impl From<&LedgerEntry> for AdjustmentResponse {
    fn from(entry: &LedgerEntry) -> Self {
        Self {
            transaction_id: entry.id.0,
            user_id: entry.user_id.0,
            r#type: entry.kind.name(),
            amount: Amount { points: entry.amount, negative: entry.kind.direction() == Direction::Debit },
            balance: entry.balance_after.into(),
            balance_after: entry.balance_after.into(),
            version: entry.version,
            created_at: Timestamp(entry.created_at),
        }
    }
}

/// Adds points to a user's balance, or takes some.
///
/// The balance is never negative. The user's ledger shows an entry of type `ADJUSTMENT`.
#[utoipa::path(post, path = "/admin/users/{userId}/points", tag = "administration",
    extensions(("x-problems" = json!([
        Code::USER_NOT_FOUND, Code::INSUFFICIENT_POINTS, Code::BALANCE_LIMIT_EXCEEDED,
    ]))),
    security(("accessToken" = [])),
    params(("userId" = Uuid, Path), ("Idempotency-Key" = String, Header)),
    request_body = AdjustPointsRequest,
    responses((status = 201, body = AdjustmentResponse)))]
async fn adjust_points(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(user_id): Id<UserId>,
    idempotency: IdempotencyRequest,
    AdminBody { value, bytes }: AdminBody<AdjustPointsRequest>,
) -> HandlerResult<Response> {
    idempotency.require_key()?;
    let (key, response) = idempotency.prepare(caller.user_id, &bytes, StatusCode::CREATED, |entry: &LedgerEntry| {
        to_json(&AdjustmentResponse::from(entry))
    })?;
    let AdjustPointsRequest { amount, reason } = value;
    let order = Order { actor: caller.user_id, reason };
    response.respond(app.administration.adjust_points(order, user_id, amount, key).await?)
}
