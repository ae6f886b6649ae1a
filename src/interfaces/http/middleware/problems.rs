//! Gives every failure the one form, the framework's own included.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
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

/// Answers within bounds, and gives every failure its form.
///
/// What failed becomes `application/problem+json`, unless it is already; so does a panic: the process's panic hook has
/// logged it, with the request's id. While this instance's clock is wrong, every request to the API is turned away:
/// each answer depends on some deadline, of an access token, a queue token, or a hold.
pub async fn convert_failures(
    State(app): State<App>,
    context: RequestContext,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with(BASE_PATH) && !app.clock_check.is_right() {
        return Problem::clock_skewed().into_response_for(&context);
    }
    let response = AssertUnwindSafe(enforce_limits(&app, request, next)).catch_unwind();
    let mut response = response.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
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
        StatusCode::NOT_FOUND => Problem::new(Code::NOT_FOUND, "There is nothing at this path."),
        StatusCode::METHOD_NOT_ALLOWED => {
            let problem = Problem::new(Code::METHOD_NOT_ALLOWED, "This path has other methods: see the header Allow.");
            match headers.get(header::ALLOW) {
                Some(allow) => problem.with_header(header::ALLOW, allow.clone()),
                None => problem,
            }
        }
        StatusCode::NOT_ACCEPTABLE => Problem::new(Code::NOT_ACCEPTABLE, "This comes as application/json only."),
        StatusCode::URI_TOO_LONG => Problem::new(Code::URI_TOO_LONG, "The path and query are too long."),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Problem::new(Code::HEADERS_TOO_LARGE, "The headers are too large.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::PAYLOAD_TOO_LARGE, "The body is too large."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(Code::UNSUPPORTED_MEDIA_TYPE, "The body must be sent as application/json.")
        }
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => {
            Problem::new(Code::TIMEOUT, "It took too long. What was asked may or may not have been done.")
        }
        status if status.is_client_error() => Problem::new(Code::MALFORMED_REQUEST, "The request can't be understood."),
        _ => Problem::new(Code::INTERNAL, "Something went wrong here. The request id names it."),
    }
}
