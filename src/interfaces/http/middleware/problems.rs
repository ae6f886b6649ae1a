//! Formats every failure as a problem, including those of the framework.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;

use super::bounds::enforce_limits;
use crate::interfaces::http::{
    context::RequestContext,
    paths::BASE_PATH,
    problem::{self, Code, Problem},
    state::App,
};

/// Enforces the limits, and turns every failure into `application/problem+json`. No cache may store an API response
/// unless it says so itself.
///
/// A panic becomes a problem too; the process's panic hook has logged it with the request's id. While this instance's
/// clock is wrong, every API request is refused. Each depends on the deadline of an access token, a queue token or a
/// hold.
pub async fn convert_failures(
    State(app): State<App>,
    context: RequestContext,
    request: Request,
    next: Next,
) -> Response {
    let is_api = request.uri().path().starts_with(BASE_PATH);
    if is_api && !app.clock_check.is_right() {
        return Problem::clock_skewed().into_response_for(&context);
    }
    let response = AssertUnwindSafe(enforce_limits(&app, request, next)).catch_unwind();
    let mut response = response.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        if is_api {
            let cache_control = response.headers_mut().entry(header::CACHE_CONTROL);
            cache_control.or_insert(HeaderValue::from_static("no-store"));
        }
        return response;
    }
    if response.headers().get(header::CONTENT_TYPE) == Some(&problem::CONTENT_TYPE) {
        return response;
    }
    let own_problem = response.extensions_mut().remove::<Problem>();
    let problem = own_problem.unwrap_or_else(|| framework_problem(status, response.headers()));
    problem.into_response_for(&context)
}

pub(super) fn framework_problem(status: StatusCode, headers: &HeaderMap) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::new(Code::NOT_FOUND, "No resource has this path."),
        StatusCode::METHOD_NOT_ALLOWED => {
            let problem =
                Problem::new(Code::METHOD_NOT_ALLOWED, "The path doesn't support this method: see the header Allow.");
            match headers.get(header::ALLOW) {
                Some(allow) => problem.with_header(header::ALLOW, allow.clone()),
                None => problem,
            }
        }
        StatusCode::NOT_ACCEPTABLE => {
            Problem::new(Code::NOT_ACCEPTABLE, "The response is available as application/json only.")
        }
        StatusCode::URI_TOO_LONG => Problem::new(Code::URI_TOO_LONG, "The path and query are too long."),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Problem::new(Code::HEADERS_TOO_LARGE, "The headers are too large.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::PAYLOAD_TOO_LARGE, "The body is too large."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(Code::UNSUPPORTED_MEDIA_TYPE, "The body must be sent as application/json.")
        }
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => {
            Problem::new(Code::TIMEOUT, "The request took too long. It may or may not have had its effect.")
        }
        status if status.is_client_error() => Problem::new(Code::MALFORMED_REQUEST, "The request is malformed."),
        _ => Problem::new(Code::INTERNAL, "An internal error occurred. The log has the cause under this request id."),
    }
}
