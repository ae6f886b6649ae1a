//! Streams of a token: its current state, then each change.
//!
//! One task per concert reads the queue's snapshot for all streams. A waiting token is described from that snapshot
//! alone. Only tokens at or before the head, and those without a place, are read from the database. All of them are
//! read right after the snapshot, so that they share a few reads.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant as Stopwatch, sleep_until};
use tokio_util::task::TaskTracker;

use super::{
    feed::{QueueFeeds, REFRESH_INTERVAL, Subscription},
    token_info::{QueueTokenFacade, QueueTokenInfo, QueueTokenStatus},
};
use crate::{
    application::error::AppError,
    domain::{id::ConcertId, queue::TokenState, refusal::Refusal, token::QueueClaims},
};

/// The source from which a stream detects changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChangeSource {
    /// The snapshot: the token waits in this place.
    Snapshot(u32),
    /// The token's row.
    Row,
}

/// The changes of one token. Dropping it ends the subscription.
///
/// A change of status is sent at the next read of the snapshot. A change of position is sent when a poll would be due,
/// by the last `poll_after_seconds`; like a poll, it records the user's presence. So streams of tokens far from the
/// head cause little work.
pub struct TokenStream {
    tokens: Arc<QueueTokenFacade>,
    feed: Subscription,
    claims: QueueClaims,
    text: String,
    source: ChangeSource,
    /// The first state, until it is sent.
    initial: Option<QueueTokenInfo>,
    last_sent: QueueTokenStatus,
    /// The time at which a poll would be due, by the last interval.
    next_poll_at: Stopwatch,
    poll_after_seconds: u32,
}

/// Streams of tokens.
pub struct QueueStreamFacade {
    tokens: Arc<QueueTokenFacade>,
    feeds: Arc<QueueFeeds>,
    tasks: TaskTracker,
}

impl QueueStreamFacade {
    pub(super) fn new(tokens: Arc<QueueTokenFacade>, tasks: &TaskTracker) -> Self {
        Self { tokens, feeds: Arc::default(), tasks: tasks.clone() }
    }

    /// Follows a token. The stream begins with its current state. Like a poll, following claims an active token.
    ///
    /// # Errors
    ///
    /// [`Refusal::QueueTokenInvalid`]. [`AppError::Overloaded`] if too many reads wait or the inbox of the presence
    /// lane is full.
    pub async fn follow(&self, text: &str) -> Result<TokenStream, AppError> {
        let claims = self.tokens.read_claims(text).ok_or(Refusal::QueueTokenInvalid)?;
        // Subscribed before the first read, so that no change in between is missed.
        let feed = self.subscribe(claims.id.concert());
        let initial = self.tokens.token_info(text).await?;
        let mut stream = TokenStream {
            tokens: Arc::clone(&self.tokens),
            feed,
            claims,
            text: text.to_owned(),
            source: claims.place.map_or(ChangeSource::Row, ChangeSource::Snapshot),
            last_sent: initial.status,
            next_poll_at: Stopwatch::now(),
            poll_after_seconds: initial.poll_after_seconds,
            initial: None,
        };
        stream.schedule_next_poll(&initial);
        stream.initial = Some(initial);
        Ok(stream)
    }

    fn subscribe(&self, concert_id: ConcertId) -> Subscription {
        let (subscription, new) = self.feeds.subscribe(concert_id);
        if let Some(feed) = new {
            let (feeds, tokens) = (Arc::clone(&self.feeds), Arc::clone(&self.tokens));
            self.tasks.spawn(async move {
                feeds.refresh_until_unused(concert_id, feed, || tokens.snapshot(concert_id)).await;
            });
        }
        subscription
    }
}

impl TokenStream {
    /// Whether the last status is final. Before the first [`next`](Self::next) it is that of the initial state: then
    /// the stream has only this state.
    pub fn has_ended(&self) -> bool {
        matches!(self.last_sent, QueueTokenStatus::Ended(_))
    }

    /// Waits for the next change; `None` once the final status was returned.
    pub async fn next(&mut self) -> Option<QueueTokenInfo> {
        if let Some(initial) = self.initial.take() {
            return Some(initial);
        }
        while !matches!(self.last_sent, QueueTokenStatus::Ended(_)) {
            let info = match self.source {
                ChangeSource::Snapshot(place) => self.next_from_snapshot(place).await?,
                ChangeSource::Row => self.next_from_row().await?,
            };
            if let Some(info) = info {
                self.last_sent = info.status;
                self.text.clone_from(&info.text);
                return Some(info);
            }
        }
        None
    }

    /// Waits until the token may no longer wait, or a poll is due. The outer `None` ends the stream.
    async fn next_from_snapshot(&mut self, place: u32) -> Option<Option<QueueTokenInfo>> {
        tokio::select! {
            changed = self.feed.snapshot.changed() => changed.ok()?,
            () = sleep_until(self.next_poll_at) => {}
        }
        let snapshot = self.feed.snapshot.borrow_and_update().clone();
        let Some(snapshot) = snapshot.filter(|snapshot| self.tokens.is_waiting(snapshot, place)) else {
            self.source = ChangeSource::Row;
            return self.read_row().await;
        };
        if Stopwatch::now() < self.next_poll_at {
            return Some(None);
        }
        let Ok(found) = self.tokens.waiting_info(&self.claims, &self.text, place, &snapshot).await else {
            self.next_poll_at = Stopwatch::now() + REFRESH_INTERVAL;
            return Some(None);
        };
        self.schedule_next_poll(&found);
        Some(self.if_changed(found))
    }

    /// Waits for the next read of the snapshot, then reads the token's row. The outer `None` ends the stream.
    async fn next_from_row(&mut self) -> Option<Option<QueueTokenInfo>> {
        self.feed.readings.changed().await.ok()?;
        self.feed.readings.mark_unchanged();
        self.read_row().await
    }

    async fn read_row(&mut self) -> Option<Option<QueueTokenInfo>> {
        let token = match self.tokens.read_and_claim(&self.claims).await {
            Ok(token) => token,
            // The token no longer exists.
            Err(AppError::Refused(_)) => return None,
            // The next read of the snapshot repeats the attempt.
            Err(_) => return Some(None),
        };
        let is_unchanged = matches!(
            (self.last_sent, token.state),
            (QueueTokenStatus::Waiting { .. }, TokenState::Waiting)
                | (QueueTokenStatus::Scheduled, TokenState::Scheduled)
        );
        let is_due = !is_unchanged || Stopwatch::now() >= self.next_poll_at;
        let interval = (!is_due).then_some(self.poll_after_seconds);
        let Ok(info) = self.tokens.info_of(&token, interval).await else { return Some(None) };
        let snapshot = self.feed.snapshot.borrow();
        if let (QueueTokenStatus::Waiting { .. }, Some(place), Some(snapshot)) =
            (info.status, token.place, snapshot.as_ref())
        {
            // Once the draw is made, the token has a place.
            self.claims.place = Some(place);
            if snapshot.is_waiting(place) {
                self.source = ChangeSource::Snapshot(place);
            }
        }
        drop(snapshot);
        if is_due {
            self.schedule_next_poll(&info);
        } else if matches!(info.status, QueueTokenStatus::Waiting { .. }) {
            return Some(None);
        }
        Some(self.if_changed(info))
    }

    /// The state, if the status differs, the position is smaller, or a pause begins or ends: a paused queue has no
    /// estimate. A larger position comes from an older snapshot, since the initial read may be newer than the feed's
    /// snapshot.
    fn if_changed(&self, info: QueueTokenInfo) -> Option<QueueTokenInfo> {
        let is_new = match (self.last_sent, info.status) {
            (
                QueueTokenStatus::Waiting { position: last_sent, wait: last_wait },
                QueueTokenStatus::Waiting { position, wait },
            ) => position < last_sent || position == last_sent && wait.is_some() != last_wait.is_some(),
            (last_sent, status) => last_sent != status,
        };
        is_new.then_some(info)
    }

    fn schedule_next_poll(&mut self, info: &QueueTokenInfo) {
        self.poll_after_seconds = info.poll_after_seconds;
        self.next_poll_at = Stopwatch::now() + Duration::from_secs(u64::from(info.poll_after_seconds));
    }
}
