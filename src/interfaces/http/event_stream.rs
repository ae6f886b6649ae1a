//! The common parts of all streams of server-sent events.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use futures::{Stream, StreamExt};

use super::{
    problem::{Code, Problem},
    rate_limit::limit_reached,
    state::App,
};
use crate::domain::{
    id::{QueueTokenId, UserId},
    token::QueueClaims,
};

/// The interval of the heartbeat on an idle stream.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The time that a client should wait before it reconnects.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// The seconds after which a client with too many streams may try again.
const RETRY_AFTER_SECONDS: u32 = 5;

/// The id of the last event that the client received, from the header `Last-Event-ID`.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok().map(str::trim)
}

/// An open stream. It counts until it is dropped.
pub(super) struct OpenStream {
    app: App,
    token: QueueTokenId,
    user: UserId,
}

impl OpenStream {
    /// Counts a stream of a token. Fails with [`Code::RATE_LIMITED`] if the token or its user has too many.
    pub(super) fn begin(app: &App, claims: &QueueClaims) -> Result<Self, Problem> {
        let (token, user) = (claims.id, claims.user_id);
        app.streams.count(token, user).map_err(|limit| limit_reached(limit, RETRY_AFTER_SECONDS))?;
        Ok(Self { app: App::clone(app), token, user })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.app.streams.release(self.token, self.user);
    }
}

/// Refuses new streams while the server drains.
pub(super) fn require_serving(app: &App) -> Result<(), Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::new(Code::DRAINING, "The server is stopping."));
    }
    Ok(())
}

/// Ends a stream when the server drains, so that the client reconnects to another instance.
pub(super) fn until_draining<S: Stream>(app: &App, events: S) -> impl Stream<Item = S::Item> + use<S> {
    events.take_until(app.draining.clone().cancelled_owned())
}

/// The headers of a stream, for caches and proxies.
pub(super) fn stream_headers() -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A buffering proxy would delay events.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}
