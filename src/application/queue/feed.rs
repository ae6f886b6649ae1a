//! The feeds of queue snapshots: one task reads a concert's queue for all streams of its tokens.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::snapshot::QueueSnapshot;
use crate::{
    application::{error::AppError, refresh},
    domain::id::ConcertId,
};

/// The interval between reads of a followed queue.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_millis(500);

/// The feed of one concert, to which the streams of its tokens subscribe.
pub(super) struct QueueFeed {
    /// The last snapshot; `None` before the first one, and once the concert is deleted. It wakes subscribers when
    /// positions change.
    snapshot: watch::Sender<Option<Arc<QueueSnapshot>>>,
    /// Wakes subscribers at each read.
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

/// The feeds of the concerts whose tokens are followed.
#[derive(Default)]
pub(super) struct QueueFeeds {
    by_concert: Mutex<HashMap<ConcertId, Arc<QueueFeed>>>,
}

impl QueueFeeds {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConcertId, Arc<QueueFeed>>> {
        self.by_concert.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to a concert's feed. A new feed is also returned: the caller must start to refresh it.
    pub(super) fn subscribe(&self, concert_id: ConcertId) -> (Subscription, Option<Arc<QueueFeed>>) {
        let mut feeds = self.lock();
        if let Some(feed) = feeds.get(&concert_id) {
            return (feed.subscribe(), None);
        }
        let feed = Arc::new(QueueFeed::new());
        feeds.insert(concert_id, Arc::clone(&feed));
        (feed.subscribe(), Some(feed))
    }

    /// Removes a feed if it has no subscribers, and returns whether it did. The lock excludes new subscribers
    /// meanwhile.
    fn remove_if_unused(&self, concert_id: ConcertId, feed: &QueueFeed) -> bool {
        let mut feeds = self.lock();
        let unused = feed.snapshot.receiver_count() == 0;
        if unused {
            feeds.remove(&concert_id);
        }
        unused
    }

    /// Publishes the results of `read` until the feed has no subscriber.
    pub(super) async fn refresh_until_unused<F>(
        &self,
        concert_id: ConcertId,
        feed: Arc<QueueFeed>,
        read: impl Fn() -> F,
    ) where
        F: Future<Output = Result<Option<Arc<QueueSnapshot>>, AppError>>,
    {
        refresh::refresh_until_unused(
            REFRESH_INTERVAL,
            || async {
                feed.publish(read().await?);
                Ok(())
            },
            || feed.snapshot.closed(),
            || self.remove_if_unused(concert_id, &feed),
            |error| tracing::warn!(concert_id = concert_id.0, %error, "could not refresh a queue that streams follow"),
        )
        .await;
    }
}

/// The subscription of one stream to a feed.
pub(super) struct Subscription {
    pub(super) snapshot: watch::Receiver<Option<Arc<QueueSnapshot>>>,
    pub(super) readings: watch::Receiver<()>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        metrics::gauge!("queue_followers").decrement(1.0);
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
    async fn a_feed_ends_with_its_last_subscriber_and_a_later_one_starts_another() {
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
