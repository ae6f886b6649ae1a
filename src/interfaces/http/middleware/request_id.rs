//! `X-Request-Id`: a sane incoming one is kept, else one is made. What else every answer to a limited request says.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

use crate::{
    domain::randomness::new_uuid,
    interfaces::http::{context::RequestContext, state::App},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names the request, for its answer and the log.
pub async fn set_request_id(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let incoming = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
    let request_id = incoming.map_or_else(|| new_uuid(&*app.randomness, app.clock.now()).to_string(), str::to_owned);
    let path = request.uri().path().to_owned();
    let context = RequestContext { request_id: request_id.clone(), path, ..RequestContext::default() };
    let rate_limits = Arc::clone(&context.rate_limits);
    request.extensions_mut().insert(context);
    let mut response = next.run(request).await;
    if let Some(fields) = rate_limits.get() {
        response.headers_mut().extend(fields.clone());
    }
    if let Ok(value) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Short, and nothing that could confuse a log.
fn is_sane(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}
