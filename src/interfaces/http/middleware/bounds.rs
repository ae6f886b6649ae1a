//! The limits of a request: the size of its headers, its slot among the requests in flight, and its time.

use std::time::Duration;

use axum::{
    body::HttpBody,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::{sleep, timeout};

use crate::{
    application::error::AppError,
    interfaces::http::{
        client_network::ClientNetwork,
        gate::QUEUE_TOKEN,
        idempotency::IDEMPOTENCY_KEY,
        paths::BASE_PATH,
        problem::{Code, HandlerResult, Problem},
        state::App,
    },
};

/// The most bytes of all headers together.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The longest time for which a request continues after the database is lost. Most fail by themselves before.
const DATABASE_LOSS_GRACE: Duration = Duration::from_millis(250);

/// Runs a request within its limits, or answers with the limit that it exceeds.
///
/// Requests outside the API, those of operators, need no slot. A request in flight is also cancelled when the database
/// is lost, because it can no longer succeed.
pub(super) async fn enforce_limits(app: &App, mut request: Request, next: Next) -> Response {
    if let Err(problem) = check_headers(&request) {
        return problem.into_response();
    }
    let Some(path) = request.uri().path().strip_prefix(BASE_PATH) else {
        return with_timeout(app.settings.request_timeout, next.run(request)).await;
    };
    let slot = app.concurrency.slot(path.starts_with("/admin/"), app.settings.body_timeout);
    let (parts, body) = request.into_parts();
    let ClientNetwork(address) = ClientNetwork::of(&parts, app);
    request = Request::from_parts(parts, body);
    let Some(_counted_request) = app.concurrency.count_request(address) else {
        metrics::counter!("http_rate_limited_total", "limit" => "requests-per-address").increment(1);
        return Problem::rate_limited(1).with_member("limit", "requests-per-address".into()).into_response();
    };
    if let Err(error) = slot.take().await {
        return Problem::from(error).into_response();
    }
    if !request.body().is_end_stream() {
        request.extensions_mut().insert(slot.clone());
    }
    let lost = async {
        app.database.wait_until_lost().await;
        sleep(DATABASE_LOSS_GRACE).await;
    };
    let response = tokio::select! {
        biased;
        response = with_timeout(app.settings.request_timeout, next.run(request)) => response,
        () = lost => Problem::from(AppError::database_lost()).into_response(),
    };
    slot.release();
    response
}

async fn with_timeout(limit: Duration, response: impl Future<Output = Response>) -> Response {
    timeout(limit, response).await.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response())
}

/// Refuses headers that are too large, and a repeated header that must have one value. The HTTP parser refuses even
/// larger headers.
fn check_headers(request: &Request) -> HandlerResult<()> {
    let headers = request.headers();
    if header_bytes(headers) > MAX_HEADER_BYTES {
        return Err(Problem::new(Code::HEADERS_TOO_LARGE, "The headers are too large."));
    }
    for name in [header::AUTHORIZATION.as_str(), QUEUE_TOKEN, IDEMPOTENCY_KEY] {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Problem::new(Code::MALFORMED_REQUEST, format!("The header {name} was sent twice.")));
        }
    }
    Ok(())
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
