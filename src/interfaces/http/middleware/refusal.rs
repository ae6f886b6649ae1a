//! Responses to requests that the HTTP parser refuses for their length.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};

use super::problems::framework_problem;
use crate::{
    domain::randomness::new_uuid,
    interfaces::http::{context::RequestContext, serve::RefusalWriter, state::App},
};

/// Writes such responses as problems. The request's own id and path are unknown, because it wasn't parsed.
pub fn refusal_writer(app: App) -> RefusalWriter {
    Arc::new(move |status| {
        let request_id = new_uuid(&*app.randomness, app.clock.now()).to_string();
        let context = RequestContext { request_id: request_id.as_str().into(), ..RequestContext::default() };
        let problem = framework_problem(status, &HeaderMap::new());
        let code = problem.code().name();
        metrics::counter!("http_problems_total", "code" => code).increment(1);
        tracing::info!(request_id, status = status.as_u16(), code, "request refused by its length");
        write(status, &request_id, &problem.body(&context))
    })
}

fn write(status: StatusCode, request_id: &str, body: &[u8]) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let (number, length) = (status.as_u16(), body.len());
    let mut response = format!(
        "HTTP/1.1 {number} {reason}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         x-request-id: {request_id}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    response.extend(body);
    response
}
