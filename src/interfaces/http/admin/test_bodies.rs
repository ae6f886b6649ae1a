//! Parses bodies of the administration in tests.

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::header,
};
use serde_json::Value;

use crate::interfaces::http::{
    body::{AdminBody, FromBody},
    context::RequestContext,
    problem::HandlerResult,
};

pub(super) async fn read<T: FromBody>(body: &str) -> HandlerResult<T> {
    let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    AdminBody::<T>::from_request(request, &()).await.map(|body| body.value)
}

/// The pointers of all errors of a body.
pub(super) async fn error_pointers<T: FromBody>(body: &str) -> Vec<String> {
    let Err(problem) = read::<T>(body).await else { return vec![] };
    let body: Value = serde_json::from_slice(&problem.body(&RequestContext::default())).unwrap();
    let pointer = |error: &Value| error["pointer"].as_str().unwrap().to_owned();
    body["errors"].as_array().unwrap().iter().map(pointer).collect()
}
