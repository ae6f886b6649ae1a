//! Seat maps: the layout of a performance, which never changes, and what its seats are at this moment.
//!
//! Claims are read for everybody who asks meanwhile, and of them only those that have changed; what follows from one
//! reading (statuses, entity tag, bytes) is worked out once for all of them, and not again while it stays the same.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use metrics::Counter;
use moka::future::Cache;
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use super::{
    CatalogueSettings,
    seat_layout::{Layout, WriteSeat},
    seat_state::{SeatState, version_of},
};
use crate::{
    application::{
        Ports,
        error::AppError,
        loader::{BatchRead, Loader},
    },
    domain::{
        booking::ClaimDeadline,
        clock::Instant,
        concert::SeatStatus,
        id::{ConcertId, PerformanceId, SeatId},
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::Repositories,
    },
};

/// The most bytes of boards that are kept: some 600,000 seats.
const MAX_STATE_BYTES: u64 = 256 * 1024 * 1024;

/// How long a performance is known without asking again: after that, a deleted concert has no seat maps.
const PERFORMANCE_CACHE_TTL: Duration = Duration::from_secs(1);

/// How many performances are known so.
const MAX_CACHED_PERFORMANCES: u64 = 10_000;

/// Reads seat maps.
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
    /// Starts with nothing known.
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

    /// The board of a performance of this concert.
    pub(super) async fn state(&self, id: PerformanceId, concert_id: ConcertId) -> Result<Arc<SeatState>, AppError> {
        let its_concert = match self.concerts.get(&id).await {
            Some(its_concert) => its_concert,
            // What is seldom done stands in a box: the future of a request is moved as a whole, and more than once.
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

    /// The seat map of a board, as of now, or of a moment ago as far as others have changed it since.
    pub(super) async fn read(&self, state: &Arc<SeatState>) -> Result<Arc<SeatMap>, AppError> {
        if let Some(map) = state.cached_map(self.ports.seat_change_counter.current(), self.now(), self.max_age) {
            return Ok(map);
        }
        Ok(self.claims.get(ByIdentity(Arc::clone(state))).await?.ok_or(Refusal::PerformanceNotFound)?)
    }

    /// The present instant.
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

/// The seats of a performance and what each is at one instant.
pub struct SeatMap {
    layout: Arc<Layout>,
    statuses: Vec<SeatStatus>,
    version: i64,
    /// Stands for the statuses and the latest change.
    state: u64,
    /// From when on it is known to be right, and from when on it isn't: a hold ends then.
    valid_from: Instant,
    next_expiry_at: Option<Instant>,
    /// What presents it, for each filter: shared by all who asked meanwhile.
    rendered: [OnceCell<Arc<Vec<u8>>>; 4],
}

impl SeatMap {
    /// The map that claims make at `now`; `before` is the one before.
    pub(super) fn new(
        layout: Arc<Layout>,
        claims: &[Option<ClaimDeadline>],
        now: Instant,
        before: Option<&Self>,
    ) -> Self {
        let mut latest = None;
        let mut next_expiry_at: Option<Instant> = None;
        let mut status_of = |claim: &ClaimDeadline| {
            let status = claim.status_at(now);
            // A claim that is over changed its seat when it ended, which nothing had to write.
            let changed_at = match (status, claim.held_until) {
                (SeatStatus::Available, Some(deadline)) => deadline,
                _ => claim.changed_at,
            };
            latest = latest.max(Some(changed_at));
            if let (SeatStatus::Held, Some(deadline)) = (status, claim.held_until) {
                next_expiry_at = Some(next_expiry_at.map_or(deadline, |end| end.min(deadline)));
            }
            status
        };
        let statuses: Vec<_> =
            claims.iter().map(|claim| claim.as_ref().map_or(SeatStatus::Available, &mut status_of)).collect();
        let state = digest(&(layout.performance_id(), latest), &statuses);
        let version = latest.map_or(0, |latest| version_of(latest, state));
        let version = match before {
            Some(before) if before.state == state => before.version,
            // Changes that became known in another order than they were decided in, or of one millisecond.
            Some(before) => version.max(before.version + 1),
            None => version,
        };
        Self { layout, statuses, version, state, valid_from: now, next_expiry_at, rendered: Default::default() }
    }

    /// Whether the same claims make the same map at `now`.
    pub(super) fn is_valid_at(&self, now: Instant) -> bool {
        self.valid_from <= now && self.next_expiry_at.is_none_or(|end| now < end)
    }

    /// Of which performance.
    pub fn performance_id(&self) -> PerformanceId {
        self.layout.performance_id()
    }

    /// Grows with every change, from 0 while nothing was ever held: the microsecond of the latest one, of which the
    /// last three digits tell states apart. Everywhere the same for the same state, unless changes became known out
    /// of order.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Stands for the whole state and for which part of it is `wanted`.
    pub fn digest(&self, wanted: Option<SeatStatus>) -> u64 {
        let of = (self.state, self.version);
        wanted.map_or_else(|| digest(&of, &[]), |status| digest(&of, &[status]))
    }

    /// The wanted seats by section, row and number: what [`WriteSeat`] wrote of each, and its status.
    pub fn seats(&self, wanted: Option<SeatStatus>) -> impl Iterator<Item = (&str, SeatStatus)> {
        let statuses = self.statuses.iter().copied();
        self.layout.texts().zip(statuses).filter(move |(_, status)| wanted.is_none_or(|wanted| wanted == *status))
    }

    /// The seats that aren't what they were, and what they are.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<(SeatId, SeatStatus)> {
        let statuses = self.statuses.iter().zip(&before.statuses);
        let seats = self.layout.ids().zip(statuses);
        seats.filter(|(_, (now, before))| now != before).map(|(id, (now, _))| (id, *now)).collect()
    }

    /// What these seats are, each once.
    pub(super) fn statuses_of(&self, seats: impl Iterator<Item = SeatId>) -> Vec<(SeatId, SeatStatus)> {
        let status = |id| self.layout.position(id).and_then(|position| self.statuses.get(position).copied());
        let seats: BTreeMap<_, _> = seats.filter_map(|id| Some((id, status(id)?))).collect();
        seats.into_iter().collect()
    }

    /// The bytes that present the wanted seats: made by `present` the first time.
    pub async fn rendered(&self, wanted: Option<SeatStatus>, render: impl FnOnce(&Self) -> Vec<u8>) -> Arc<Vec<u8>> {
        let [all, available, held, sold] = &self.rendered;
        let rendered = match wanted {
            None => all,
            Some(SeatStatus::Available) => available,
            Some(SeatStatus::Held) => held,
            Some(SeatStatus::Sold) => sold,
        };
        Arc::clone(rendered.get_or_init(async || Arc::new(render(self))).await)
    }
}

/// A hash that depends on nothing but its input: the hasher's keys are fixed.
fn digest(of: &impl Hash, statuses: &[SeatStatus]) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let bytes: Vec<u8> = statuses
        .iter()
        .map(|status| match status {
            SeatStatus::Available => 0,
            SeatStatus::Held => 1,
            SeatStatus::Sold => 2,
        })
        .collect();
    hasher.write(&bytes);
    hasher.finish()
}

/// A board as what is to be read: it is itself alone.
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

/// Reads the claims of performances.
struct ReadClaims(Ports);

#[async_trait]
#[expect(clippy::mutable_key_type, reason = "a state is known by its address, which doesn't change")]
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

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::domain::{concert::Seat, points::Points};

    const PERFORMANCE: PerformanceId = PerformanceId(1);

    /// Seats in the order of their places, which isn't that of their ids.
    fn layout() -> Arc<Layout> {
        let seat = |id: u64, number: u16| Seat {
            id: SeatId(id),
            performance_id: PERFORMANCE,
            section: "A".to_owned(),
            row: "A".to_owned(),
            row_rank: 1,
            number,
            grade: "R".to_owned(),
            price: Points::ZERO,
        };
        let write_seat: WriteSeat = |seat, text| {
            let _ = write!(text, "[{}]", seat.id);
        };
        Arc::new(Layout::new(PERFORMANCE, &[seat(30, 1), seat(7, 2), seat(20, 3)], write_seat))
    }

    fn at(seconds: i64) -> Instant {
        Instant::default() + TimeDelta::seconds(seconds)
    }

    fn claim(seat: u64, held_until: Option<Instant>, changed_at: Instant) -> ClaimDeadline {
        ClaimDeadline { seat_id: SeatId(seat), held_until, changed_at }
    }

    fn map(claims: &[ClaimDeadline], now: Instant) -> SeatMap {
        let layout = layout();
        let claim_of = |id| claims.iter().find(|claim| claim.seat_id == id).copied();
        let claims: Vec<_> = layout.ids().map(claim_of).collect();
        SeatMap::new(layout, &claims, now, None)
    }

    #[test]
    fn each_seat_has_the_status_of_its_own_claim() {
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8)), claim(99, None, at(1))];
        let map = map(&claims, at(10));
        let all: Vec<_> = map.seats(None).collect();
        assert_eq!(all, [("[30]", SeatStatus::Held), ("[7]", SeatStatus::Available), ("[20]", SeatStatus::Sold)]);
        let sold: Vec<_> = map.seats(Some(SeatStatus::Sold)).map(|(text, _)| text).collect();
        assert_eq!(sold, ["[20]"]);
    }

    #[test]
    fn the_version_is_the_latest_change_and_a_hold_that_ends_is_one() {
        let milliseconds = |claims: &[ClaimDeadline], now| map(claims, now).version() / 1_000;
        assert_eq!(map(&[], at(10)).version(), 0);
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8))];
        assert_eq!(milliseconds(&claims, at(10)), at(8).timestamp_millis());
        assert_eq!(milliseconds(&claims, at(20)), at(20).timestamp_millis());
    }

    #[test]
    fn equal_states_have_equal_digests_and_others_differ() {
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8))];
        let map = |now| map(&claims, now);
        let wanted = [None, Some(SeatStatus::Available), Some(SeatStatus::Held), Some(SeatStatus::Sold)];
        let digests = |map: &SeatMap| wanted.map(|wanted| map.digest(wanted));
        assert_eq!(digests(&map(at(10))), digests(&map(at(11))));
        let mut all = [digests(&map(at(10))), digests(&map(at(20)))].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
