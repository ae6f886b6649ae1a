//! Snapshots of a queue: its head and the departed places, shared by all reads of positions.

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
    /// The places of departed tokens. It is complete for places after the head.
    departed: Arc<RoaringBitmap>,
    pace: AdmissionPace,
}

impl QueueSnapshot {
    pub(super) fn new(queue: Queue, departed: Arc<RoaringBitmap>, pace: AdmissionPace) -> Self {
        Self { queue, departed, pace }
    }

    /// The position of a place: 1 for the next to be admitted. It never grows, because the head only advances and
    /// tokens only leave.
    pub fn position(&self, place: u32) -> u32 {
        let gone = self.departed.range_cardinality(self.queue.head.saturating_add(1)..place);
        let ahead = place.saturating_sub(self.queue.head);
        ahead.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX)).max(1)
    }

    /// The number of tokens that wait in places after the head. Tokens that were passed over aren't counted, because
    /// their users are absent.
    pub fn waiting_count(&self) -> u32 {
        let behind_all = self.queue.last_place.saturating_add(1);
        if self.queue.last_place > self.queue.head { self.position(behind_all) - 1 } else { 0 }
    }

    /// Whether the token in this place waits: the place is assigned and after the head, and the token's user hasn't
    /// left.
    pub fn is_waiting(&self, place: u32) -> bool {
        let assigned = (self.queue.head + 1)..=self.queue.last_place;
        assigned.contains(&place) && !self.departed.contains(place)
    }

    /// Whether the sale has begun.
    pub fn is_open(&self, now: Instant) -> bool {
        self.queue.settings.is_open(now)
    }

    /// Whether every position is the same in both snapshots.
    pub fn has_same_positions_as(&self, other: &Self) -> bool {
        (self.queue.head, self.queue.departed_count) == (other.queue.head, other.queue.departed_count)
    }

    /// The queue itself.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The estimated wait of a position, in seconds; `None` while the queue is paused.
    pub fn wait(&self, position: u32) -> Option<EstimatedWait> {
        self.pace.wait(position)
    }
}

/// The departed places of a queue as they were read last.
#[derive(Clone, Debug)]
struct DepartureCache {
    departures: u32,
    /// All departures before this instant are included.
    since: Instant,
    places: Arc<RoaringBitmap>,
}

/// Reads snapshots. Copies share their caches.
#[derive(Clone, Debug)]
pub(super) struct QueueSnapshotReader {
    /// The departed places of each queue. Only later departures are read and added, because a queue may have half a
    /// million.
    departed_places: Arc<Mutex<HashMap<ConcertId, DepartureCache>>>,
    pace_histories: Arc<PaceHistories>,
}

impl QueueSnapshotReader {
    pub(super) fn new(pace_histories: Arc<PaceHistories>) -> Self {
        Self { departed_places: Arc::default(), pace_histories }
    }

    /// The snapshot of a queue that was just read; `None` if the cached departures are older than the queue.
    pub(super) fn of(&self, queue: Queue, pace: AdmissionPace) -> Option<QueueSnapshot> {
        let departed = self.cached_departures(&queue)?;
        Some(QueueSnapshot::new(queue, departed, pace))
    }

    /// Removes the cached state of all queues but these.
    pub(super) fn retain(&self, ids: &HashSet<ConcertId>) {
        self.cached().retain(|id, _| ids.contains(id));
        self.pace_histories.retain(ids);
    }

    fn cached(&self) -> MutexGuard<'_, HashMap<ConcertId, DepartureCache>> {
        self.departed_places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cached departed places, if they are as recent as the queue.
    fn cached_departures(&self, queue: &Queue) -> Option<Arc<RoaringBitmap>> {
        // Only departures from places after the head matter.
        if queue.departed_count == 0 || queue.head >= queue.last_place {
            return Some(Arc::default());
        }
        self.cached()
            .get(&queue.concert_id)
            .filter(|cached| cached.departures >= queue.departed_count)
            .map(|cached| Arc::clone(&cached.places))
    }

    /// The departed places, which include at least the departures from before the queue was read.
    ///
    /// Departures are written under the queue's lock, at an instant not before the queue's previous time. So reading
    /// from the cached time on misses none.
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

/// Reads tokens by id.
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

/// Reads which tokens are active and claimed, with their users: the common case at the gate.
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
    fn a_position_counts_the_waiting_tokens_between_the_head_and_the_place() {
        let queue = Queue { head: 10, ..Queue::new(ConcertId(1), Instant::default()) };
        let pace = PaceHistory::default().observe(&queue);
        let snapshot = QueueSnapshot { queue, departed: Arc::new([5, 12, 13, 20].into()), pace };
        assert_eq!(snapshot.position(11), 1);
        assert_eq!(snapshot.position(14), 2);
        assert_eq!(snapshot.position(21), 8);
        // It was passed over, so it is admitted next.
        assert_eq!(snapshot.position(3), 1);
        assert_eq!(snapshot.waiting_count(), 0, "no place behind the head is assigned");
    }

    #[test]
    fn departures_of_empty_queues_are_forgotten() {
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
    fn only_an_assigned_place_behind_the_head_without_departure_waits() {
        let queue = Queue { head: 10, last_place: 15, ..Queue::new(ConcertId(1), Instant::default()) };
        let pace = PaceHistory::default().observe(&queue);
        let snapshot = QueueSnapshot { queue, departed: Arc::new([5, 12, 13].into()), pace };
        let waiting: Vec<_> = (0..20).filter(|place| snapshot.is_waiting(*place)).collect();
        assert_eq!(waiting, [11, 14, 15]);
        assert_eq!(snapshot.waiting_count(), 3);
    }
}
