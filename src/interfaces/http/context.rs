//! What every answer says about its request.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};

use super::problem::{Code, Problem};
use crate::domain::id::UserId;

/// The request as an answer names it.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The value of `X-Request-Id`.
    pub request_id: String,
    /// The path without the query.
    pub path: String,
    /// Who asks, once that is known: for the log.
    pub user: Arc<OnceLock<UserId>>,
    /// What the answer says of limits, once they were looked at.
    pub rate_limits: Arc<OnceLock<HeaderMap>>,
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Code::INTERNAL, "The request was not given an id."))
    }
}
