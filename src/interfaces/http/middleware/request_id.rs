//! `X-Request-Id`: a valid one of the client is kept, otherwise the server generates one.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::Response,
};

use super::request_log::log_request;
use crate::{
    domain::randomness::new_uuid,
    interfaces::http::{
        context::RequestContext,
        problem::{Code, Problem},
        state::App,
    },
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives a request an id for its response and the log, logs it, and adds the headers of its rate limits.
pub async fn assign_request_id(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let incoming = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_valid(id));
    let generated = || new_uuid(&*app.randomness, app.clock.now()).to_string();
    let request_id = incoming.map_or_else(|| generated().into(), Into::into);
    let context = RequestContext { request_id, uri: request.uri().clone(), ..RequestContext::default() };
    request.extensions_mut().insert(context.clone());
    let mut response = log_request(&app, context.clone(), request, next).await;
    if let Some(rate_limit_headers) = context.rate_limits.get() {
        response.headers_mut().extend(rate_limit_headers.clone());
    }
    if let Ok(value) = HeaderValue::from_str(&context.request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Whether an id is short and safe to log.
fn is_valid(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::new(Code::INTERNAL, "The request has no id."))
    }
}
