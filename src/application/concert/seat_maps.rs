//! The reads of seat maps: concurrent requests share one read of a performance's changed claims.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use metrics::Counter;
use moka::future::Cache;
use tokio_util::task::TaskTracker;

use super::{
    info::CatalogueSettings,
    seat_layout::{Layout, WriteSeat},
    seat_map::SeatMap,
    seat_state::SeatState,
};
use crate::{
    application::{
        Ports,
        error::AppError,
        loader::{BatchRead, Loader},
    },
    domain::{
        clock::Instant,
        id::{ConcertId, PerformanceId},
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::Repositories,
    },
};

/// The most bytes of cached seat states: some 600,000 seats.
const MAX_STATE_BYTES: u64 = 256 * 1024 * 1024;

/// The time for which the concert of a performance is cached. The seat maps of a deleted concert stay available for at
/// most this time.
const PERFORMANCE_CACHE_TTL: Duration = Duration::from_secs(1);

/// The most performances whose concert is cached.
const MAX_CACHED_PERFORMANCES: u64 = 10_000;

/// Reads seat maps, and caches the state of their performances' seats.
pub(super) struct SeatMaps {
    ports: Ports,
    write_seat: WriteSeat,
    max_age: TimeDelta,
    concerts: Cache<PerformanceId, ConcertId>,
    states: Cache<PerformanceId, Arc<SeatState>>,
    hits: Counter,
    misses: Counter,
    claims: Loader<ReadClaims>,
}

impl SeatMaps {
    /// Starts with empty caches.
    pub(super) fn start(ports: &Ports, settings: &CatalogueSettings, tasks: &TaskTracker) -> Self {
        let weight = |_: &PerformanceId, state: &Arc<SeatState>| u32::try_from(state.size()).unwrap_or(u32::MAX);
        Self {
            ports: ports.clone(),
            write_seat: settings.write_seat,
            max_age: TimeDelta::from_std(settings.seat_map_age).unwrap_or(TimeDelta::zero()),
            concerts: Cache::builder()
                .max_capacity(MAX_CACHED_PERFORMANCES)
                .time_to_live(PERFORMANCE_CACHE_TTL)
                .build(),
            states: Cache::builder().max_capacity(MAX_STATE_BYTES).weigher(weight).build(),
            hits: metrics::counter!("cache_hits_total", "cache" => "seat_layouts"),
            misses: metrics::counter!("cache_misses_total", "cache" => "seat_layouts"),
            claims: Loader::start(ReadClaims(ports.clone()), &ports.database, tasks),
        }
    }

    /// The state of a performance's seats. [`Refusal::QueueTokenWrongConcert`] for a performance of another concert.
    pub(super) async fn state(&self, id: PerformanceId, concert_id: ConcertId) -> Result<Arc<SeatState>, AppError> {
        let its_concert = match self.concerts.get(&id).await {
            Some(its_concert) => its_concert,
            // The rare case is boxed, because a request's whole future is moved several times.
            None => {
                Box::pin(self.concerts.try_get_with(id, self.find_concert(id))).await.map_err(Arc::unwrap_or_clone)?
            }
        };
        if its_concert != concert_id {
            return Err(Refusal::QueueTokenWrongConcert.into());
        }
        if let Some(state) = self.states.get(&id).await {
            self.hits.increment(1);
            return Ok(state);
        }
        let loading = self.states.entry(id).or_try_insert_with(self.load_state(id));
        let entry = Box::pin(loading).await.map_err(Arc::unwrap_or_clone)?;
        if entry.is_fresh() { &self.misses } else { &self.hits }.increment(1);
        Ok(entry.into_value())
    }

    /// The current seat map. Changes of other instances may be missing for up to `max_age`.
    pub(super) async fn read(&self, state: &Arc<SeatState>) -> Result<Arc<SeatMap>, AppError> {
        if let Some(map) = state.cached_map(self.ports.seat_change_counter.current(), self.now(), self.max_age) {
            return Ok(map);
        }
        Ok(self.claims.get(ByIdentity(Arc::clone(state))).await?.ok_or(Refusal::PerformanceNotFound)?)
    }

    /// The current instant, by the clock that decides about claims.
    pub(super) fn now(&self) -> Instant {
        self.ports.now()
    }

    async fn find_concert(&self, id: PerformanceId) -> Result<ConcertId, AppError> {
        let mut repositories = self.ports.database.read().await?;
        let performance = repositories.concerts().find_performance(id).await?;
        Ok(performance.ok_or(Refusal::PerformanceNotFound)?.concert_id)
    }

    async fn load_state(&self, id: PerformanceId) -> Result<Arc<SeatState>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        let seats = repositories.concerts().list_seats(id).await?;
        Ok(Arc::new(SeatState::new(Layout::new(id, &seats, self.write_seat))))
    }
}

/// A seat state as a key, compared by address.
#[derive(Clone)]
struct ByIdentity(Arc<SeatState>);

impl PartialEq for ByIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ByIdentity {}

impl Hash for ByIdentity {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        Arc::as_ptr(&self.0).hash(hasher);
    }
}

/// Reads claims, and applies them to the states.
struct ReadClaims(Ports);

#[async_trait]
#[expect(clippy::mutable_key_type, reason = "a state is compared by its address, which doesn't change")]
impl BatchRead for ReadClaims {
    type Key = ByIdentity;
    type Value = Arc<SeatMap>;

    async fn load(
        &self,
        repositories: &mut dyn Repositories,
        keys: &[ByIdentity],
    ) -> Result<HashMap<ByIdentity, Arc<SeatMap>>, RepositoryError> {
        let mut maps = HashMap::with_capacity(keys.len());
        for ByIdentity(state) in keys {
            let (changes, now) = (self.0.seat_change_counter.current(), self.0.now());
            let since = state.read_from(now);
            let claims = repositories.seat_claims().list_claim_deadlines(state.performance_id(), since).await?;
            let map = state.apply_claims(&claims, since, now);
            state.record_change_count(changes);
            maps.insert(ByIdentity(Arc::clone(state)), map);
        }
        Ok(maps)
    }
}
