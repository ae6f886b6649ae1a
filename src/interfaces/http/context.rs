//! The context of a request, for its response and its log line.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, Uri};

use crate::domain::id::UserId;

/// The identity of a request, for its response and its log line.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The value of `X-Request-Id`.
    pub request_id: Arc<str>,
    /// Responses contain only the path, since a query may hold personal data.
    pub uri: Uri,
    /// The authenticated user, for the log.
    pub user: Arc<OnceLock<UserId>>,
    /// The headers of the rate limits that the request was counted for.
    pub rate_limits: Arc<OnceLock<HeaderMap>>,
}

tokio::task_local! {
    static REQUEST_ID: Arc<str>;
}

/// Runs a future with a request id that [`current_request_id`] returns inside it.
pub(crate) async fn with_request_id<F: Future>(request_id: Arc<str>, future: F) -> F::Output {
    REQUEST_ID.scope(request_id, future).await
}

/// The id of the request that the current task answers, if any. The panic hook logs it.
pub fn current_request_id() -> Option<Arc<str>> {
    REQUEST_ID.try_with(Clone::clone).ok()
}
