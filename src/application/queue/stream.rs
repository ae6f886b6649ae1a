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

use super::{Place, PlaceStatus, QueueFacade, board::Board};
use crate::{
    application::error::AppError,
    domain::{id::ConcertId, queue::TokenState, refusal::Refusal, token::QueueClaims},
};

/// How often a board is read for those who follow.
const REFRESH: Duration = Duration::from_millis(500);

/// What those who follow tokens of one concert are told.
struct Feed {
    /// The last board; `None` before the first, and once the concert is deleted. Wakes them when positions change.
    board: watch::Sender<Option<Arc<Board>>>,
    /// Wakes them at every reading of the board.
    readings: watch::Sender<()>,
}

impl Feed {
    fn new() -> Self {
        Self { board: watch::Sender::new(None), readings: watch::Sender::new(()) }
    }

    fn subscribe(&self) -> Subscription {
        metrics::gauge!("queue_followers").increment(1.0);
        Subscription { board: self.board.subscribe(), readings: self.readings.subscribe() }
    }

    fn show(&self, board: Option<Arc<Board>>) {
        self.board.send_if_modified(|shown| {
            let same = match (&*shown, &board) {
                (Some(shown), Some(board)) => shown.has_positions_of(board),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            *shown = board;
            !same
        });
        self.readings.send_replace(());
    }
}

/// The feeds of the concerts whose tokens somebody follows.
#[derive(Default)]
pub(super) struct Feeds {
    by_concert: Mutex<HashMap<ConcertId, Arc<Feed>>>,
}

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConcertId, Arc<Feed>>> {
        self.by_concert.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a concert's feed. When it is a new one, somebody must begin to fill it: then it comes along.
    fn subscribe(&self, concert_id: ConcertId) -> (Subscription, Option<Arc<Feed>>) {
        let mut feeds = self.lock();
        if let Some(feed) = feeds.get(&concert_id) {
            return (feed.subscribe(), None);
        }
        let feed = Arc::new(Feed::new());
        feeds.insert(concert_id, Arc::clone(&feed));
        (feed.subscribe(), Some(feed))
    }

    /// Ends a feed that nobody follows any more. Under the lock nobody can join it in between.
    fn end_if_unused(&self, concert_id: ConcertId, feed: &Feed) -> bool {
        let mut feeds = self.lock();
        let unused = feed.board.receiver_count() == 0;
        if unused {
            feeds.remove(&concert_id);
        }
        unused
    }

    /// Fills a feed with what `read` finds, until nobody follows it. While the database is away, nobody is told
    /// anything.
    async fn fill<F>(&self, concert_id: ConcertId, feed: Arc<Feed>, read: impl Fn() -> F)
    where
        F: Future<Output = Result<Option<Arc<Board>>, AppError>>,
    {
        let mut failing = false;
        loop {
            match read().await {
                Ok(board) => {
                    failing = false;
                    feed.show(board);
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(concert = concert_id.0, %error, "those who follow the queue must wait");
                    }
                    failing = true;
                }
            }
            tokio::select! {
                () = feed.board.closed() => {}
                () = sleep(REFRESH) => {}
            }
            if self.end_if_unused(concert_id, &feed) {
                return;
            }
        }
    }
}

/// One follower's end of a feed.
struct Subscription {
    board: watch::Receiver<Option<Arc<Board>>>,
    readings: watch::Receiver<()>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        metrics::gauge!("queue_followers").decrement(1.0);
    }
}

/// By what a follower learns of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// By the board: it waits in this place.
    Board(u32),
    /// By its row.
    Row,
}

/// Follows one token. Dropping it is all it takes to end that.
///
/// A change of status is told at the next reading of the board. A change of position is told when a poll would be due,
/// by the `poll_after_seconds` of the last time; then, as by a poll, whoever waits is noted as present. So those far back
/// cost little, however many they are.
pub struct Follower {
    facade: Arc<QueueFacade>,
    feed: Subscription,
    claims: QueueClaims,
    text: String,
    source: Source,
    /// What is still to be told as it is.
    first: Option<Place>,
    told: PlaceStatus,
    /// When a poll would be due, and the interval that led there.
    due: Stopwatch,
    poll_after_seconds: u32,
}

impl QueueFacade {
    /// Follows a token: the first thing that is told is what it is now.
    pub async fn follow(self: &Arc<Self>, text: &str) -> Result<Follower, AppError> {
        let claims = self.read(text).ok_or(Refusal::QueueTokenInvalid)?;
        // Joined before the first look, so that no change falls in between.
        let feed = self.subscribe(claims.id.concert());
        let first = self.current(text).await?;
        let mut follower = Follower {
            facade: Arc::clone(self),
            feed,
            claims,
            text: text.to_owned(),
            source: claims.place.map_or(Source::Row, Source::Board),
            told: first.status,
            due: Stopwatch::now(),
            poll_after_seconds: first.poll_after_seconds,
            first: None,
        };
        follower.rest(&first);
        follower.first = Some(first);
        Ok(follower)
    }

    fn subscribe(self: &Arc<Self>, concert_id: ConcertId) -> Subscription {
        let (subscription, new) = self.feeds.subscribe(concert_id);
        if let Some(feed) = new {
            let facade = Arc::clone(self);
            self.tasks.spawn(async move {
                facade.feeds.fill(concert_id, feed, || facade.boards.get(concert_id)).await;
            });
        }
        subscription
    }
}

impl Follower {
    /// Whether the first thing that it tells is the final status.
    pub fn has_ended(&self) -> bool {
        matches!(self.told, PlaceStatus::Ended(_))
    }

    /// Waits for something to tell; `None` once the final status was told.
    pub async fn next(&mut self) -> Option<Place> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while !matches!(self.told, PlaceStatus::Ended(_)) {
            let place = match self.source {
                Source::Board(place) => self.by_board(place).await?,
                Source::Row => self.by_row().await?,
            };
            if let Some(place) = place {
                self.told = place.status;
                self.text.clone_from(&place.text);
                return Some(place);
            }
        }
        None
    }

    /// Waits until the token may not be in line any more, or a poll is due. The outer `None`: there will be no more.
    async fn by_board(&mut self, place: u32) -> Option<Option<Place>> {
        tokio::select! {
            changed = self.feed.board.changed() => changed.ok()?,
            () = sleep_until(self.due) => {}
        }
        let board = self.feed.board.borrow_and_update().clone();
        let now = self.facade.ports.now();
        let Some(board) = board.filter(|board| board.is_waiting(place) && !board.queue().is_over(now)) else {
            self.source = Source::Row;
            return self.look_up().await;
        };
        if Stopwatch::now() < self.due {
            return Some(None);
        }
        let Ok(found) = self.facade.waiting(&self.claims, &self.text, place, &board).await else {
            self.due = Stopwatch::now() + REFRESH;
            return Some(None);
        };
        self.rest(&found);
        Some(self.news(found))
    }

    /// Waits until the board was read, then looks the token up. The outer `None`: there will be no more.
    async fn by_row(&mut self) -> Option<Option<Place>> {
        self.feed.readings.changed().await.ok()?;
        self.feed.readings.mark_unchanged();
        self.look_up().await
    }

    async fn look_up(&mut self) -> Option<Option<Place>> {
        let token = match self.facade.look_up(&self.claims).await {
            Ok(token) => token,
            // Nothing can be told of it any more.
            Err(AppError::Refused(_)) => return None,
            // At the next reading it is tried again.
            Err(_) => return Some(None),
        };
        let goes_on = matches!(
            (self.told, token.state),
            (PlaceStatus::Waiting { .. }, TokenState::Waiting) | (PlaceStatus::Scheduled, TokenState::Scheduled)
        );
        let is_due = !goes_on || Stopwatch::now() >= self.due;
        let interval = (!is_due).then_some(self.poll_after_seconds);
        let Ok(place) = self.facade.place_of(&token, interval).await else { return Some(None) };
        let board = self.feed.board.borrow();
        if let (PlaceStatus::Waiting { .. }, Some(number), Some(board)) = (place.status, token.place, board.as_ref()) {
            // From the draw on it has a place.
            self.claims.place = Some(number);
            if board.is_waiting(number) {
                self.source = Source::Board(number);
            }
        }
        drop(board);
        if is_due {
            self.rest(&place);
        } else if matches!(place.status, PlaceStatus::Waiting { .. }) {
            return Some(None);
        }
        Some(self.news(place))
    }

    /// The place, if it is to be told: another status, or a smaller position. A position that is larger is older: the
    /// first look was newer than the board.
    fn news(&self, place: Place) -> Option<Place> {
        let is_new = match (self.told, place.status) {
            (PlaceStatus::Waiting { position: told, .. }, PlaceStatus::Waiting { position, .. }) => position < told,
            (told, status) => told != status,
        };
        is_new.then_some(place)
    }

    /// Until the next poll would be due.
    fn rest(&mut self, place: &Place) {
        self.poll_after_seconds = place.poll_after_seconds;
        self.due = Stopwatch::now() + Duration::from_secs(u64::from(place.poll_after_seconds));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::{
        application::queue::pace::History,
        domain::{clock::Instant, queue::Queue},
    };

    const CONCERT: ConcertId = ConcertId(1);

    #[tokio::test]
    async fn a_feed_ends_with_its_last_follower_and_a_later_one_begins_another() {
        let feeds = Feeds::default();
        for _ in 0..2 {
            let (first, new) = feeds.subscribe(CONCERT);
            let filling = feeds.fill(CONCERT, new.expect("the first one's feed is new"), || async { Ok(None) });
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
        let board = |head| {
            let queue = Queue { head, last_place: 9, ..Queue::new(CONCERT, Instant::default()) };
            let pace = History::default().observe(&queue);
            Some(Arc::new(Board::new(queue, Arc::default(), pace)))
        };
        let feed = Feed::new();
        let mut subscription = feed.subscribe();
        let mut woken = |shown| {
            feed.show(shown);
            let changed = (subscription.board.has_changed().unwrap(), subscription.readings.has_changed().unwrap());
            subscription.board.mark_unchanged();
            subscription.readings.mark_unchanged();
            changed
        };
        assert_eq!(woken(None), (false, true));
        assert_eq!(woken(board(1)), (true, true));
        assert_eq!(woken(board(1)), (false, true));
        assert_eq!(woken(board(2)), (true, true));
        assert_eq!(woken(None), (true, true));
        drop(subscription);

        let feeds = Feeds::default();
        let (mut subscription, new) = feeds.subscribe(CONCERT);
        let reads = Mutex::new(vec![Ok(board(1)), Err(AppError::Overloaded)]);
        let read = || {
            let result = reads.lock().unwrap().pop().unwrap_or(Ok(None));
            async { result }
        };
        let following = async {
            subscription.board.changed().await.unwrap();
            assert!(subscription.board.borrow().is_some(), "the second reading was shown");
            drop(subscription);
        };
        tokio::join!(feeds.fill(CONCERT, new.unwrap(), read), following);
    }
}
