//! What everybody in a queue shares: where its head is, and who has left in between.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use roaring::RoaringBitmap;

use super::estimate::{AdmissionPace, PaceHistories};
use crate::{
    application::loader::BatchRead,
    domain::{
        clock::{Clock, Instant},
        id::{ConcertId, QueueTokenId, UserId},
        queue::{EstimatedWait, Queue, QueueToken, QueueTokenRepository},
        repository_error::RepositoryError,
        unit_of_work::Repositories,
    },
};

/// A queue at one instant.
#[derive(Clone, Debug)]
pub struct QueueSnapshot {
    queue: Queue,
    /// The places whose people have left: all of those behind the head are in it.
    departed: Arc<RoaringBitmap>,
    pace: AdmissionPace,
}

impl QueueSnapshot {
    pub(super) fn new(queue: Queue, departed: Arc<RoaringBitmap>, pace: AdmissionPace) -> Self {
        Self { queue, departed, pace }
    }

    /// How many come first, and oneself: 1 for the next to be admitted. It never grows: the head only moves on, and
    /// people only leave.
    pub fn position(&self, place: u32) -> u32 {
        let gone = self.departed.range_cardinality(self.queue.head.saturating_add(1)..place);
        let ahead = place.saturating_sub(self.queue.head);
        ahead.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX)).max(1)
    }

    /// How many wait behind the head. Those who were passed over are away, and no part of it.
    pub fn waiting_count(&self) -> u32 {
        let behind_all = self.queue.last_place.saturating_add(1);
        if self.queue.last_place > self.queue.head { self.position(behind_all) - 1 } else { 0 }
    }

    /// Whether this place was given out, is behind the head, and nobody has left it: whoever has it waits.
    pub fn is_waiting(&self, place: u32) -> bool {
        let given_out = (self.queue.head + 1)..=self.queue.last_place;
        given_out.contains(&place) && !self.departed.contains(place)
    }

    /// Whether the sale has begun.
    pub fn is_open(&self, now: Instant) -> bool {
        self.queue.settings.is_open(now)
    }

    /// Whether every position is the same on both boards.
    pub fn has_same_positions_as(&self, other: &Self) -> bool {
        (self.queue.head, self.queue.departed_count) == (other.queue.head, other.queue.departed_count)
    }

    /// The queue itself.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// How long a position waits as things go; `None` while nobody is admitted.
    pub fn wait(&self, position: u32) -> Option<EstimatedWait> {
        self.pace.wait(position)
    }
}

/// Who had left a queue at some instant.
#[derive(Clone, Debug)]
struct DepartureCache {
    departures: u32,
    /// Everybody who left before then is among them.
    since: Instant,
    places: Arc<RoaringBitmap>,
}

/// Reads boards. Copies share what they know.
#[derive(Clone, Debug)]
pub(super) struct QueueSnapshotReader {
    /// The departed of each queue as they were read last. Those who have left since are added: there may be half a
    /// million of the others.
    departed_places: Arc<Mutex<HashMap<ConcertId, DepartureCache>>>,
    pace_histories: Arc<PaceHistories>,
}

impl QueueSnapshotReader {
    pub(super) fn new(pace_histories: Arc<PaceHistories>) -> Self {
        Self { departed_places: Arc::default(), pace_histories }
    }

    /// The board of a queue as it was just read, if this server knows who has left it.
    pub(super) fn of(&self, queue: Queue, pace: AdmissionPace) -> Option<QueueSnapshot> {
        let departed = self.cached_departures(&queue)?;
        Some(QueueSnapshot::new(queue, departed, pace))
    }

    /// Forgets all queues but these.
    pub(super) fn retain(&self, ids: &HashSet<ConcertId>) {
        self.cached().retain(|id, _| ids.contains(id));
        self.pace_histories.retain(ids);
    }

    fn cached(&self) -> MutexGuard<'_, HashMap<ConcertId, DepartureCache>> {
        self.departed_places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places that people have left, where that is known as of the reading of the queue or later.
    fn cached_departures(&self, queue: &Queue) -> Option<Arc<RoaringBitmap>> {
        // Only those behind the head make a difference.
        if queue.departed_count == 0 || queue.head >= queue.last_place {
            return Some(Arc::default());
        }
        self.cached()
            .get(&queue.concert_id)
            .filter(|cached| cached.departures >= queue.departed_count)
            .map(|cached| Arc::clone(&cached.places))
    }

    /// The places that people have left, those at least who had left when the queue was read.
    ///
    /// Each was left under the queue's lock, at an instant no earlier than the queue's time as it was before.
    async fn departures(
        &self,
        tokens: &mut dyn QueueTokenRepository,
        queue: &Queue,
    ) -> Result<Arc<RoaringBitmap>, RepositoryError> {
        if let Some(places) = self.cached_departures(queue) {
            return Ok(places);
        }
        let cached = self.cached().get(&queue.concert_id).cloned();
        let places = match cached {
            Some(cached) => {
                let mut places = Arc::unwrap_or_clone(cached.places);
                places.extend(tokens.list_departed_since(queue.concert_id, cached.since).await?);
                places
            }
            None => tokens.list_departed(queue.concert_id).await?.into_iter().collect(),
        };
        let places = Arc::new(places);
        let read = DepartureCache {
            departures: queue.departed_count,
            since: queue.last_decision_at,
            places: Arc::clone(&places),
        };
        self.cached().insert(queue.concert_id, read);
        Ok(places)
    }
}

#[async_trait]
impl BatchRead for QueueSnapshotReader {
    type Key = ConcertId;
    type Value = Arc<QueueSnapshot>;

    async fn load(
        &self,
        repositories: &mut dyn Repositories,
        keys: &[ConcertId],
    ) -> Result<HashMap<ConcertId, Arc<QueueSnapshot>>, RepositoryError> {
        let mut snapshots = HashMap::new();
        for id in keys {
            let Some(queue) = repositories.queues().find_queue(*id).await? else { continue };
            let departed = self.departures(repositories.queue_tokens(), &queue).await?;
            let pace = self.pace_histories.observe(&queue);
            snapshots.insert(*id, Arc::new(QueueSnapshot::new(queue, departed, pace)));
        }
        Ok(snapshots)
    }
}

/// Reads tokens.
#[derive(Debug)]
pub(super) struct ReadTokens;

#[async_trait]
impl BatchRead for ReadTokens {
    type Key = QueueTokenId;
    type Value = QueueToken;

    async fn load(
        &self,
        repositories: &mut dyn Repositories,
        keys: &[QueueTokenId],
    ) -> Result<HashMap<QueueTokenId, QueueToken>, RepositoryError> {
        let tokens = repositories.queue_tokens().list_tokens(keys).await?;
        Ok(tokens.into_iter().map(|token| (token.id, token)).collect())
    }
}

/// Reads which tokens open the gate, and to whom: those that are active and in use. What else a token may be is seldom
/// asked there.
pub(super) struct ReadClaimedTokens(pub(super) Arc<dyn Clock>);

#[async_trait]
impl BatchRead for ReadClaimedTokens {
    type Key = QueueTokenId;
    type Value = UserId;

    async fn load(
        &self,
        repositories: &mut dyn Repositories,
        keys: &[QueueTokenId],
    ) -> Result<HashMap<QueueTokenId, UserId>, RepositoryError> {
        let used = repositories.queue_tokens().list_claimed_active(keys, self.0.now()).await?;
        Ok(used.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::queue::estimate::PaceHistory;

    #[test]
    fn a_position_counts_those_between_the_head_and_oneself_who_are_still_there() {
        let queue = Queue { head: 10, ..Queue::new(ConcertId(1), Instant::default()) };
        let pace = PaceHistory::default().observe(&queue);
        let snapshot = QueueSnapshot { queue, departed: Arc::new([5, 12, 13, 20].into()), pace };
        assert_eq!(snapshot.position(11), 1);
        assert_eq!(snapshot.position(14), 2);
        assert_eq!(snapshot.position(21), 8);
        // Passed over: at the head.
        assert_eq!(snapshot.position(3), 1);
        assert_eq!(snapshot.waiting_count(), 0, "no place behind the head is given out");
    }

    #[test]
    fn nothing_is_remembered_of_queues_without_anybody() {
        let snapshots = QueueSnapshotReader::new(Arc::default());
        for id in 1..=3 {
            let queue = Queue { departed_count: 1, last_place: 2, ..Queue::new(ConcertId(id), Instant::default()) };
            assert!(snapshots.cached_departures(&queue).is_none());
            let departed =
                DepartureCache { departures: 1, since: queue.last_decision_at, places: Arc::new([1].into()) };
            snapshots.cached().insert(queue.concert_id, departed);
            assert_eq!(snapshots.cached_departures(&queue).unwrap().len(), 1);
            let passed = Queue { head: 2, ..queue };
            assert!(snapshots.cached_departures(&passed).unwrap().is_empty(), "no place is behind the head");
        }
        snapshots.retain(&[ConcertId(2)].into());
        assert_eq!(snapshots.cached().keys().collect::<Vec<_>>(), [&ConcertId(2)]);
    }

    #[test]
    fn only_a_place_behind_the_head_that_nobody_left_is_known_to_wait() {
        let queue = Queue { head: 10, last_place: 15, ..Queue::new(ConcertId(1), Instant::default()) };
        let pace = PaceHistory::default().observe(&queue);
        let snapshot = QueueSnapshot { queue, departed: Arc::new([5, 12, 13].into()), pace };
        let waiting: Vec<_> = (0..20).filter(|place| snapshot.is_waiting(*place)).collect();
        assert_eq!(waiting, [11, 14, 15]);
        assert_eq!(snapshot.waiting_count(), 3);
    }
}
