//! One line and one measurement a request.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};

use super::measure::{self, InFlight};
use crate::interfaces::http::{context::RequestContext, problem::Problem};

/// Logs the request once it is answered, and measures it. Never its headers, body or query: they carry secrets.
pub async fn log_request(context: RequestContext, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _in_flight = InFlight::begin();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let response = next.run(request).await;
    let elapsed = started.elapsed();
    let status = response.status();
    let problem = response.extensions().get::<Problem>();
    let user = context.user.get().map(tracing::field::display);
    let code = problem.map(|problem| problem.code().name());
    let cause = problem.and_then(Problem::cause);
    let duration_ms = elapsed.as_secs_f64() * 1_000.0;
    let status_code = status.as_u16();
    if status.is_server_error() {
        tracing::error!(
            request_id = %context.request_id, %method, route, status = status_code, duration_ms, user, code, cause,
            "request"
        );
    } else {
        tracing::info!(
            request_id = %context.request_id, %method, route, status = status_code, duration_ms, user, code,
            "request"
        );
    }
    measure::record(&method, route, status, problem.map(Problem::code), elapsed);
    response
}
