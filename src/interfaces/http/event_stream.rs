//! What all streams of server-sent events have in common.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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

/// How many event streams may be open on this instance: of one queue token, and of one user.
#[derive(Debug)]
pub struct StreamLimits {
    /// 0 for any number.
    per_token: usize,
    /// 0 for any number.
    per_user: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_token: HashMap<QueueTokenId, usize>,
    by_user: HashMap<UserId, usize>,
}

impl StreamLimits {
    /// No stream is open.
    pub fn new(per_token: usize, per_user: usize) -> Self {
        Self { per_token, per_user, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let limits = &app.streams;
        let mut open = limits.lock();
        for (name, limit, count) in [
            ("streams-per-token", limits.per_token, open.by_token.get(&token)),
            ("streams-per-user", limits.per_user, open.by_user.get(&user)),
        ] {
            if limit > 0 && count.is_some_and(|count| *count >= limit) {
                metrics::counter!("http_rate_limited_total", "limit" => name).increment(1);
                return Err(Problem::rate_limited(RETRY_AFTER_SECONDS).with_member("limit", name.into()));
            }
        }
        *open.by_token.entry(token).or_default() += 1;
        *open.by_user.entry(user).or_default() += 1;
        drop(open);
        Ok(Self { app: App::clone(app), token, user })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.app.streams.lock();
        subtract(&mut open.by_token, &self.token);
        subtract(&mut open.by_user, &self.user);
    }
}

fn subtract<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
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
