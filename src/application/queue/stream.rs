//! Following a token: what it is now, and again whenever that changes.
//!
//! However many follow the tokens of a concert, one task reads its board for all of them, as long as there are any.
//! Whoever stands in line is told by that board alone. Only tokens at or before the head, and those without a place
//! yet, are looked up: all of them at once, right after the board, so that they share a few reads.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant as Stopwatch, sleep, sleep_until},
};

use super::{QueueFacade, QueueTokenInfo, QueueTokenStatus, snapshot::QueueSnapshot};
use crate::{
    application::error::AppError,
    domain::{id::ConcertId, queue::TokenState, refusal::Refusal, token::QueueClaims},
};

/// How often a board is read for those who follow.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);

/// What those who follow tokens of one concert are told.
struct QueueFeed {
    /// The last board; `None` before the first, and once the concert is deleted. Wakes them when positions change.
    snapshot: watch::Sender<Option<Arc<QueueSnapshot>>>,
    /// Wakes them at every reading of the board.
    readings: watch::Sender<()>,
}

impl QueueFeed {
    fn new() -> Self {
        Self { snapshot: watch::Sender::new(None), readings: watch::Sender::new(()) }
    }

    fn subscribe(&self) -> Subscription {
        metrics::gauge!("queue_followers").increment(1.0);
        Subscription { snapshot: self.snapshot.subscribe(), readings: self.readings.subscribe() }
    }

    fn publish(&self, snapshot: Option<Arc<QueueSnapshot>>) {
        self.snapshot.send_if_modified(|shown| {
            let same = match (&*shown, &snapshot) {
                (Some(shown), Some(snapshot)) => shown.has_same_positions_as(snapshot),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            *shown = snapshot;
            !same
        });
        self.readings.send_replace(());
    }
}

/// The feeds of the concerts whose tokens somebody follows.
#[derive(Default)]
pub(super) struct QueueFeeds {
    by_concert: Mutex<HashMap<ConcertId, Arc<QueueFeed>>>,
}

impl QueueFeeds {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConcertId, Arc<QueueFeed>>> {
        self.by_concert.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a concert's feed. When it is a new one, somebody must begin to fill it: then it comes along.
    fn subscribe(&self, concert_id: ConcertId) -> (Subscription, Option<Arc<QueueFeed>>) {
        let mut feeds = self.lock();
        if let Some(feed) = feeds.get(&concert_id) {
            return (feed.subscribe(), None);
        }
        let feed = Arc::new(QueueFeed::new());
        feeds.insert(concert_id, Arc::clone(&feed));
        (feed.subscribe(), Some(feed))
    }

    /// Ends a feed that nobody follows any more. Under the lock nobody can join it in between.
    fn remove_if_unused(&self, concert_id: ConcertId, feed: &QueueFeed) -> bool {
        let mut feeds = self.lock();
        let unused = feed.snapshot.receiver_count() == 0;
        if unused {
            feeds.remove(&concert_id);
        }
        unused
    }

    /// Fills a feed with what `read` finds, until nobody follows it. While the database is away, nobody is told
    /// anything.
    async fn refresh_until_unused<F>(&self, concert_id: ConcertId, feed: Arc<QueueFeed>, read: impl Fn() -> F)
    where
        F: Future<Output = Result<Option<Arc<QueueSnapshot>>, AppError>>,
    {
        let mut failing = false;
        loop {
            match read().await {
                Ok(snapshot) => {
                    failing = false;
                    feed.publish(snapshot);
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(concert = concert_id.0, %error, "those who follow the queue must wait");
                    }
                    failing = true;
                }
            }
            tokio::select! {
                () = feed.snapshot.closed() => {}
                () = sleep(REFRESH_INTERVAL) => {}
            }
            if self.remove_if_unused(concert_id, &feed) {
                return;
            }
        }
    }
}

/// One stream's end of a feed.
struct Subscription {
    snapshot: watch::Receiver<Option<Arc<QueueSnapshot>>>,
    readings: watch::Receiver<()>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        metrics::gauge!("queue_followers").decrement(1.0);
    }
}

/// By what a stream learns of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChangeSource {
    /// By the board: it waits in this place.
    Snapshot(u32),
    /// By its row.
    Row,
}

/// Follows one token. Dropping it is all it takes to end that.
///
/// A change of status is told at the next reading of the board. A change of position is told when a poll would be due,
/// by the `poll_after_seconds` of the last time; then, as by a poll, whoever waits is noted as present. So those far back
/// cost little, however many they are.
pub struct TokenStream {
    facade: Arc<QueueFacade>,
    feed: Subscription,
    claims: QueueClaims,
    text: String,
    source: ChangeSource,
    /// What is still to be told as it is.
    initial: Option<QueueTokenInfo>,
    last_sent: QueueTokenStatus,
    /// When a poll would be due, and the interval that led there.
    next_poll_at: Stopwatch,
    poll_after_seconds: u32,
}

impl QueueFacade {
    /// Follows a token: the first thing that is told is what it is now.
    pub async fn follow(self: &Arc<Self>, text: &str) -> Result<TokenStream, AppError> {
        let claims = self.read(text).ok_or(Refusal::QueueTokenInvalid)?;
        // Joined before the first look, so that no change falls in between.
        let feed = self.subscribe(claims.id.concert());
        let initial = self.token_info(text).await?;
        let mut stream = TokenStream {
            facade: Arc::clone(self),
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

    fn subscribe(self: &Arc<Self>, concert_id: ConcertId) -> Subscription {
        let (subscription, new) = self.feeds.subscribe(concert_id);
        if let Some(feed) = new {
            let facade = Arc::clone(self);
            self.tasks.spawn(async move {
                facade.feeds.refresh_until_unused(concert_id, feed, || facade.snapshots.get(concert_id)).await;
            });
        }
        subscription
    }
}

impl TokenStream {
    /// Whether the first thing that it tells is the final status.
    pub fn has_ended(&self) -> bool {
        matches!(self.last_sent, QueueTokenStatus::Ended(_))
    }

    /// Waits for something to tell; `None` once the final status was told.
    pub async fn next(&mut self) -> Option<QueueTokenInfo> {
        if let Some(initial) = self.initial.take() {
            return Some(initial);
        }
        while !matches!(self.last_sent, QueueTokenStatus::Ended(_)) {
            let place = match self.source {
                ChangeSource::Snapshot(place) => self.next_from_snapshot(place).await?,
                ChangeSource::Row => self.next_from_row().await?,
            };
            if let Some(place) = place {
                self.last_sent = place.status;
                self.text.clone_from(&place.text);
                return Some(place);
            }
        }
        None
    }

    /// Waits until the token may not be in line any more, or a poll is due. The outer `None`: there will be no more.
    async fn next_from_snapshot(&mut self, place: u32) -> Option<Option<QueueTokenInfo>> {
        tokio::select! {
            changed = self.feed.snapshot.changed() => changed.ok()?,
            () = sleep_until(self.next_poll_at) => {}
        }
        let snapshot = self.feed.snapshot.borrow_and_update().clone();
        let now = self.facade.ports.now();
        let Some(snapshot) = snapshot.filter(|snapshot| snapshot.is_waiting(place) && !snapshot.queue().is_over(now))
        else {
            self.source = ChangeSource::Row;
            return self.read_row().await;
        };
        if Stopwatch::now() < self.next_poll_at {
            return Some(None);
        }
        let Ok(found) = self.facade.waiting_info(&self.claims, &self.text, place, &snapshot).await else {
            self.next_poll_at = Stopwatch::now() + REFRESH_INTERVAL;
            return Some(None);
        };
        self.schedule_next_poll(&found);
        Some(self.if_changed(found))
    }

    /// Waits until the board was read, then looks the token up. The outer `None`: there will be no more.
    async fn next_from_row(&mut self) -> Option<Option<QueueTokenInfo>> {
        self.feed.readings.changed().await.ok()?;
        self.feed.readings.mark_unchanged();
        self.read_row().await
    }

    async fn read_row(&mut self) -> Option<Option<QueueTokenInfo>> {
        let token = match self.facade.read_and_claim(&self.claims).await {
            Ok(token) => token,
            // Nothing can be told of it any more.
            Err(AppError::Refused(_)) => return None,
            // At the next reading it is tried again.
            Err(_) => return Some(None),
        };
        let is_unchanged = matches!(
            (self.last_sent, token.state),
            (QueueTokenStatus::Waiting { .. }, TokenState::Waiting)
                | (QueueTokenStatus::Scheduled, TokenState::Scheduled)
        );
        let is_due = !is_unchanged || Stopwatch::now() >= self.next_poll_at;
        let interval = (!is_due).then_some(self.poll_after_seconds);
        let Ok(place) = self.facade.info_of(&token, interval).await else { return Some(None) };
        let snapshot = self.feed.snapshot.borrow();
        if let (QueueTokenStatus::Waiting { .. }, Some(number), Some(snapshot)) =
            (place.status, token.place, snapshot.as_ref())
        {
            // From the draw on it has a place.
            self.claims.place = Some(number);
            if snapshot.is_waiting(number) {
                self.source = ChangeSource::Snapshot(number);
            }
        }
        drop(snapshot);
        if is_due {
            self.schedule_next_poll(&place);
        } else if matches!(place.status, QueueTokenStatus::Waiting { .. }) {
            return Some(None);
        }
        Some(self.if_changed(place))
    }

    /// The place, if it is to be told: another status, or a smaller position. A position that is larger is older: the
    /// first look was newer than the board.
    fn if_changed(&self, place: QueueTokenInfo) -> Option<QueueTokenInfo> {
        let is_new = match (self.last_sent, place.status) {
            (QueueTokenStatus::Waiting { position: last_sent, .. }, QueueTokenStatus::Waiting { position, .. }) => {
                position < last_sent
            }
            (last_sent, status) => last_sent != status,
        };
        is_new.then_some(place)
    }

    /// Until the next poll would be due.
    fn schedule_next_poll(&mut self, place: &QueueTokenInfo) {
        self.poll_after_seconds = place.poll_after_seconds;
        self.next_poll_at = Stopwatch::now() + Duration::from_secs(u64::from(place.poll_after_seconds));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::{
        application::queue::estimate::PaceHistory,
        domain::{clock::Instant, queue::Queue},
    };

    const CONCERT: ConcertId = ConcertId(1);

    #[tokio::test]
    async fn a_feed_ends_with_its_last_follower_and_a_later_one_begins_another() {
        let feeds = QueueFeeds::default();
        for _ in 0..2 {
            let (first, new) = feeds.subscribe(CONCERT);
            let filling =
                feeds.refresh_until_unused(CONCERT, new.expect("the first one's feed is new"), || async { Ok(None) });
            let following = async {
                let (second, none) = feeds.subscribe(CONCERT);
                assert!(none.is_none(), "the second one joins it");
                drop(first);
                tokio::task::yield_now().await;
                assert_eq!(feeds.lock().len(), 1);
                drop(second);
            };
            let mut both = pin!(async { tokio::join!(filling, following) });
            let mut turns = 0;
            while futures::poll!(&mut both).is_pending() {
                turns += 1;
                assert!(turns < 10, "it ends at once, not at the next reading");
                tokio::task::yield_now().await;
            }
            assert!(feeds.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn a_feed_outlives_failures_and_wakes_for_positions_only_when_they_change() {
        let snapshot = |head| {
            let queue = Queue { head, last_place: 9, ..Queue::new(CONCERT, Instant::default()) };
            let pace = PaceHistory::default().observe(&queue);
            Some(Arc::new(QueueSnapshot::new(queue, Arc::default(), pace)))
        };
        let feed = QueueFeed::new();
        let mut subscription = feed.subscribe();
        let mut woken = |shown| {
            feed.publish(shown);
            let changed = (subscription.snapshot.has_changed().unwrap(), subscription.readings.has_changed().unwrap());
            subscription.snapshot.mark_unchanged();
            subscription.readings.mark_unchanged();
            changed
        };
        assert_eq!(woken(None), (false, true));
        assert_eq!(woken(snapshot(1)), (true, true));
        assert_eq!(woken(snapshot(1)), (false, true));
        assert_eq!(woken(snapshot(2)), (true, true));
        assert_eq!(woken(None), (true, true));
        drop(subscription);

        let feeds = QueueFeeds::default();
        let (mut subscription, new) = feeds.subscribe(CONCERT);
        let reads = Mutex::new(vec![Ok(snapshot(1)), Err(AppError::Overloaded)]);
        let read = || {
            let result = reads.lock().unwrap().pop().unwrap_or(Ok(None));
            async { result }
        };
        let following = async {
            subscription.snapshot.changed().await.unwrap();
            assert!(subscription.snapshot.borrow().is_some(), "the second reading was shown");
            drop(subscription);
        };
        tokio::join!(feeds.refresh_until_unused(CONCERT, new.unwrap(), read), following);
    }
}
