//! What every answer says about its request.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, Uri};

use crate::domain::id::UserId;

/// The request as an answer names it.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The value of `X-Request-Id`.
    pub request_id: Arc<str>,
    /// What was asked for; an answer says its path alone.
    pub uri: Uri,
    /// Who asks, once that is known: for the log.
    pub user: Arc<OnceLock<UserId>>,
    /// What the answer says of limits, once they were looked at.
    pub rate_limits: Arc<OnceLock<HeaderMap>>,
}

tokio::task_local! {
    static REQUEST_ID: Arc<str>;
}

/// Runs what answers a request, which is named for whatever goes wrong meanwhile.
pub(crate) async fn with_request_id<F: Future>(request_id: Arc<str>, future: F) -> F::Output {
    REQUEST_ID.scope(request_id, future).await
}

/// The id of the request that is being answered, where one is: for a panic, which knows nothing of where it happens.
pub fn current_request_id() -> Option<Arc<str>> {
    REQUEST_ID.try_with(Clone::clone).ok()
}
