//! What all streams of server-sent events have in common.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use futures::{Stream, StreamExt};

use super::{
    problem::{Code, Problem},
    state::App,
};
use crate::domain::{
    id::{QueueTokenId, UserId},
    token::QueueClaims,
};

/// How often a stream on which nothing happens shows that it is alive.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a client waits before it opens a stream again that has ended or broken off.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// After how many seconds a client may try again that has too many streams open.
const RETRY_AFTER_SECONDS: u32 = 5;

/// The header by which a client says which event it received last.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok().map(str::trim)
}

/// An open stream, counted until it is dropped.
pub(super) struct OpenStream {
    app: App,
    token: QueueTokenId,
    user: UserId,
}

impl OpenStream {
    /// Counts a stream of a token. [`Code::RATE_LIMITED`] if its token or its user has too many.
    pub(super) fn begin(app: &App, claims: &QueueClaims) -> Result<Self, Problem> {
        let (token, user) = (claims.id, claims.user_id);
        app.streams.count(token, user).map_err(|limit| {
            metrics::counter!("http_rate_limited_total", "limit" => limit).increment(1);
            Problem::rate_limited(RETRY_AFTER_SECONDS).with_member("limit", limit.into())
        })?;
        Ok(Self { app: App::clone(app), token, user })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.app.streams.release(&self.token, &self.user);
    }
}

/// A server that is stopping takes on nobody who wants to follow anything.
pub(super) fn require_serving(app: &App) -> Result<(), Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::new(Code::DRAINING, "The server is stopping."));
    }
    Ok(())
}

/// The server doesn't wait for those who follow: once it is stopping, another one takes them on.
pub(super) fn until_draining<S: Stream>(app: &App, events: S) -> impl Stream<Item = S::Item> + use<S> {
    events.take_until(app.draining.clone().cancelled_owned())
}

/// What a stream says to those who pass it on.
pub(super) fn stream_headers() -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A proxy that collected what it passes on would hold events back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}
