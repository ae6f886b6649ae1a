//! What all streams of server-sent events have in common.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, header};
use futures::{Stream, StreamExt};

use super::{
    problem::{Code, Problem},
    state::App,
};

/// How often a stream on which nothing happens shows that it is alive.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A server that is stopping takes on nobody who wants to follow anything.
pub(super) fn require_serving(app: &App) -> Result<(), Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::new(Code::DRAINING, "The server is stopping."));
    }
    Ok(())
}

/// The server doesn't wait for those who follow: once it is stopping, another one takes them on.
pub(super) fn until_stopping<S: Stream>(app: &App, events: S) -> impl Stream<Item = S::Item> + use<S> {
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
