//! The waiting queue: joining, polling and leaving it.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Caller,
    body::{Body, EmptyBody, FromBody, Object},
    gate::{queue_token_header, read_queue_token},
    openapi::examples,
    problem::{BODY_CODES, Code, HandlerResult},
    rate_limit::{Join, RateLimited},
    state::App,
    values::{Timestamp, private_response},
    words::QueueTokenStatuses,
};
use crate::{
    application::queue::{QueueTokenInfo, QueueTokenStatus},
    domain::{clock::seconds_left, id::ConcertId, queue::TokenState},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(join_queue)).routes(routes!(get_queue_token, leave_queue))
}

/// The concert whose queue to join.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct JoinRequest {
    #[schema(value_type = u64, minimum = 1, example = 1)]
    concert_id: ConcertId,
}

impl FromBody for JoinRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let concert_id = object.required("concertId").and_then(|field| field.catalogue_id());
        Some(Self { concert_id: ConcertId(concert_id?) })
    }
}

/// A queue token with its status and position.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueTokenResponse {
    /// The value of the header `Queue-Token`.
    queue_token: String,
    concert_id: u64,
    #[schema(value_type = QueueTokenStatuses)]
    status: &'static str,
    /// 1 for the next user to be admitted, 0 for an `ACTIVE` token, null for a token without a position.
    position: Option<u32>,
    estimated_wait: EstimatedWaitResponse,
    /// The seconds until the next poll.
    poll_after_seconds: u32,
    issued_at: Timestamp,
    /// The deadline of an `ACTIVE` token.
    expires_at: Option<Timestamp>,
    seconds_left: Option<i64>,
    server_time: Timestamp,
}

/// The estimated wait; null where there is no estimate.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EstimatedWaitResponse {
    /// The median wait of users at this position.
    #[serde(rename = "p50Seconds")]
    p50: Option<u32>,
    /// The 90th percentile of the wait.
    #[serde(rename = "p90Seconds")]
    p90: Option<u32>,
}

impl From<QueueTokenInfo> for QueueTokenResponse {
    fn from(info: QueueTokenInfo) -> Self {
        let [scheduled, waiting, active, ..] = TokenState::NAMES;
        let (status, position, wait, expires_at) = match info.status {
            QueueTokenStatus::Scheduled => (scheduled, None, None, None),
            QueueTokenStatus::Waiting { position, wait } => (waiting, Some(position), Some(wait), None),
            QueueTokenStatus::Active { expires_at } => (active, Some(0), None, Some(expires_at)),
            QueueTokenStatus::Ended(reason) => (reason.name(), None, None, None),
        };
        let estimated_wait = match wait.flatten() {
            Some(wait) => EstimatedWaitResponse { p50: Some(wait.p50_seconds), p90: Some(wait.p90_seconds) },
            None if status == active => EstimatedWaitResponse { p50: Some(0), p90: Some(0) },
            None => EstimatedWaitResponse::default(),
        };
        Self {
            queue_token: info.text,
            concert_id: info.concert_id.0,
            status,
            position,
            estimated_wait,
            poll_after_seconds: info.poll_after_seconds,
            issued_at: Timestamp(info.issued_at),
            expires_at: expires_at.map(Timestamp),
            seconds_left: expires_at.map(|deadline| seconds_left(info.now, deadline)),
            server_time: Timestamp(info.now),
        }
    }
}

/// Joins the waiting queue of a concert.
///
/// A repeated request returns the same token and position. After the start of the concert's last performance it fails
/// with 409 `SALES_CLOSED`. With `REQUIRE_VERIFIED_EMAIL=true` a new token needs a verified e-mail address.
#[utoipa::path(post, path = "/queue/tokens", tag = "queue",
    extensions(("x-problems" = json!([
        Code::CONCERT_NOT_FOUND, Code::SALES_CLOSED, Code::EMAIL_NOT_VERIFIED, Code::RATE_LIMITED,
    ]))),
    security(("accessToken" = [])),
    request_body = JoinRequest,
    responses(
        (status = 201, body = QueueTokenResponse, description = "A new token.",
            headers(("Location" = String, description = "The token's status.")),
            examples(("waiting" = (summary = "Waiting", value = json!(examples::queue_token("WAITING")))))),
        (status = 200, body = QueueTokenResponse, description = "The caller's token.",
            examples(("waiting" = (summary = "Waiting", value = json!(examples::queue_token("WAITING")))))),
    ))]
async fn join_queue(
    State(app): State<App>,
    caller: Caller,
    _: RateLimited<Join>,
    body: Body<JoinRequest>,
) -> HandlerResult<Response> {
    let (info, created) = app.queue.membership.join(caller.user_id, body.value.concert_id).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let location = created.then_some([(header::LOCATION, HeaderValue::from_static("/api/v1/queue/tokens/current"))]);
    Ok((status, location, private_response(QueueTokenResponse::from(info))).into_response())
}

/// Returns the status of a queue token.
///
/// Poll again after `pollAfterSeconds`. An admitted user must poll or join once, or use the token, within
/// `claimSeconds`.
#[utoipa::path(get, path = "/queue/tokens/current", tag = "queue", security(("queueToken" = [])),
    responses((status = 200, body = QueueTokenResponse, examples(
        ("waiting" = (summary = "Waiting", value = json!(examples::queue_token("WAITING")))),
        ("active" = (summary = "Admitted", value = json!(examples::queue_token("ACTIVE")))),
    ))))]
async fn get_queue_token(State(app): State<App>, headers: HeaderMap) -> HandlerResult<impl IntoResponse> {
    let info = app.queue.tokens.token_info(queue_token_header(&headers)?).await?;
    Ok(private_response(QueueTokenResponse::from(info)))
}

/// Leaves the queue, and cancels the caller's holds for the concert.
#[utoipa::path(delete, path = "/queue/tokens/current", tag = "queue", security(("queueToken" = [])),
    extensions(("x-problems" = json!([BODY_CODES]))),
    responses((status = 204, description = "Left.")))]
async fn leave_queue(State(app): State<App>, headers: HeaderMap, _: EmptyBody) -> HandlerResult<StatusCode> {
    let claims = read_queue_token(&app, &headers)?;
    app.queue.membership.leave(claims).await?;
    Ok(StatusCode::NO_CONTENT)
}
