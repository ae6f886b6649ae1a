//! Points: the prepaid balance.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::Caller,
    body::{Body, FromBody, Object, read_optional},
    idempotency::IdempotencyRequest,
    problem::{Code, HandlerResult},
    query::{PageParameters, Query, cursor},
    state::App,
    values::{Amount, ChargeAmountRequest, Timestamp, matches_if_none_match, private_response, strong_etag, to_json},
    words::TransactionTypes,
};
use crate::domain::{
    point::{Direction, LedgerEntry, Wallet},
    points::Points,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_points))
        .routes(routes!(charge_points))
        .routes(routes!(list_point_transactions))
}

/// A user's balance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WalletResponse {
    user_id: Uuid,
    balance: Amount,
    /// The number of changes of the balance.
    version: u64,
    updated_at: Option<Timestamp>,
}

impl From<Wallet> for WalletResponse {
    fn from(wallet: Wallet) -> Self {
        Self {
            user_id: wallet.user_id.0,
            balance: wallet.balance.into(),
            version: wallet.version,
            updated_at: wallet.updated_at.map(Timestamp),
        }
    }
}

/// Returns the caller's balance.
#[utoipa::path(get, path = "/points", tag = "points", security(("accessToken" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy.")),
    responses(
        (status = 200, body = WalletResponse, headers(("ETag" = String, description = "The version."))),
        (status = 304, description = "The client's copy is current.", headers(("ETag" = String, description = "The version."))),
    ))]
async fn get_points(State(app): State<App>, caller: Caller, headers: HeaderMap) -> HandlerResult<Response> {
    let wallet = app.points.balance(caller.user_id).await?;
    let etag = strong_etag(&wallet.version);
    let known = matches_if_none_match(&headers, &etag);
    let headers = [(header::ETAG, etag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, Json(WalletResponse::from(wallet))).into_response())
}

/// A charge of points.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ChargeRequest {
    /// More than 0, at most 10,000,000.
    #[schema(value_type = ChargeAmountRequest)]
    amount: Points,
    /// A note on the method of payment; no payment service is called.
    #[schema(nullable = true, min_length = 1, max_length = 50, example = "CARD")]
    #[expect(dead_code, reason = "accepted for clients that send it, and documented; nothing depends on it")]
    payment_method: Option<String>,
}

impl FromBody for ChargeRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let amount = object.required("amount").and_then(|field| {
            let amount = field.points()?;
            if amount > Points::ZERO && amount <= Points::MAX_CHARGE {
                Some(amount)
            } else {
                field.fail("must be more than 0 and at most 10000000")
            }
        });
        let payment_method = read_optional(object.optional("paymentMethod"), |field| {
            let text = field.text()?;
            if (1..=50).contains(&text.chars().count()) {
                Some(text)
            } else {
                field.fail("must have 1 to 50 characters")
            }
        });
        Some(Self { amount: amount?, payment_method: payment_method? })
    }
}

/// A completed charge.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChargeResponse {
    transaction_id: Uuid,
    /// Always `CHARGE`.
    #[schema(value_type = TransactionTypes)]
    r#type: &'static str,
    amount: Amount,
    balance: Amount,
    version: u64,
    created_at: Timestamp,
}

impl From<&LedgerEntry> for ChargeResponse {
    fn from(entry: &LedgerEntry) -> Self {
        Self {
            transaction_id: entry.id.0,
            r#type: entry.kind.name(),
            amount: entry.amount.into(),
            balance: entry.balance_after.into(),
            version: entry.version,
            created_at: Timestamp(entry.created_at),
        }
    }
}

/// Adds points to the caller's balance.
///
/// Concurrent charges with different keys all succeed. With `If-Match`, the charge succeeds only if the balance still
/// has that version. With a payment provider points can be bought only by top-ups.
#[utoipa::path(post, path = "/points/charges", tag = "points",
    extensions(("x-problems" = json!([Code::BALANCE_LIMIT_EXCEEDED, Code::PRECONDITION_FAILED, Code::TOP_UP_REQUIRED]))),
    security(("accessToken" = [])),
    params(
        ("Idempotency-Key" = String, Header),
        ("If-Match" = Option<String>, Header, description = "The ETag of the balance that the client read."),
    ),
    request_body = ChargeRequest,
    responses((status = 201, body = ChargeResponse)))]
async fn charge_points(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    idempotency: IdempotencyRequest,
    body: Body<ChargeRequest>,
) -> HandlerResult<Response> {
    idempotency.require_key()?;
    let if_version = if_match(&headers);
    let (key, response) =
        idempotency.prepare(caller.user_id, &body.bytes, StatusCode::CREATED, |entry: &LedgerEntry| {
            to_json(&ChargeResponse::from(entry))
        })?;
    let reply = app.points.charge(caller.user_id, body.value.amount, if_version, key).await?;
    response.respond(reply)
}

/// The versions that `If-Match` accepts (RFC 9110, 13.1.1: strong comparison); `None` accepts any.
fn if_match(headers: &HeaderMap) -> Option<Vec<u64>> {
    let values: Vec<_> = headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().unwrap_or("")).collect();
    let mut tags = values.iter().flat_map(|value| value.split(',')).map(str::trim).peekable();
    tags.peek()?;
    let versions = tags.map(|tag| if tag == "*" { None } else { Some(version_of(tag)) });
    // A tag that this server never issued matches no version.
    Some(versions.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The version in an entity tag. Tags are compared as text: this server never issued `"01"`.
fn version_of(tag: &str) -> Option<u64> {
    let text = tag.strip_prefix('"')?.strip_suffix('"')?;
    text.parse().ok().filter(|version: &u64| version.to_string() == text)
}

/// A change of a balance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransactionResponse {
    transaction_id: Uuid,
    #[schema(value_type = TransactionTypes)]
    r#type: &'static str,
    /// Negative for a payment, and for an adjustment that took points.
    amount: Amount,
    balance_after: Amount,
    version: u64,
    booking_id: Option<Uuid>,
    payment_id: Option<Uuid>,
    created_at: Timestamp,
}

impl From<LedgerEntry> for TransactionResponse {
    fn from(entry: LedgerEntry) -> Self {
        let (payment_id, booking_id) = entry.kind.payment().unzip();
        Self {
            transaction_id: entry.id.0,
            r#type: entry.kind.name(),
            amount: Amount { points: entry.amount, negative: entry.kind.direction() == Direction::Debit },
            balance_after: entry.balance_after.into(),
            version: entry.version,
            booking_id: booking_id.map(|id| id.0),
            payment_id: payment_id.map(|id| id.0),
            created_at: Timestamp(entry.created_at),
        }
    }
}

/// A page of transactions, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransactionListResponse {
    items: Vec<TransactionResponse>,
    next_cursor: Option<String>,
}

/// Lists the changes of the caller's balance, newest first.
#[utoipa::path(get, path = "/points/transactions", tag = "points", security(("accessToken" = [])),
    params(
        PageParameters,
    ),
    responses((status = 200, body = TransactionListResponse)))]
async fn list_point_transactions(
    State(app): State<App>,
    caller: Caller,
    mut query: Query,
) -> HandlerResult<impl IntoResponse> {
    let request = query.page(|version| version)?;
    query.finish()?;
    let page = app.points.transactions(caller.user_id, request).await?;
    let next_cursor = page.last_of_more().map(|entry| cursor(&[&entry.version]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private_response(TransactionListResponse { items, next_cursor }))
}
