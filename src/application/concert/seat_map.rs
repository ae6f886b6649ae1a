//! Seat maps: the layout of a performance, which never changes, and what its seats are at this moment.
//!
//! Layouts are kept; claims are read for everybody who asks meanwhile, and what follows from one reading (statuses,
//! entity tag, bytes) is worked out once for all of them.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use moka::future::Cache;
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use crate::{
    application::{
        Ports,
        error::AppError,
        loader::{Load, Loader},
    },
    domain::{
        booking::SeatClaim,
        clock::{Clock, Instant},
        concert::{Performance, Seat, SeatStatus},
        id::{ConcertId, PerformanceId, SeatId},
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::{Database, Repositories},
    },
};

/// Appends the part of a seat's presentation that never changes, up to where its status goes.
pub type WriteSeat = fn(&Seat, &mut String);

/// The most bytes of layouts that are kept: some 2,000,000 seats.
const LAYOUT_BYTES: u64 = 256 * 1024 * 1024;

/// How long a performance is known without asking again: after that, a deleted concert has no seat maps.
const PERFORMANCE_AGE: Duration = Duration::from_secs(1);

/// How many performances are known so.
const PERFORMANCES: u64 = 10_000;

/// Reads seat maps.
pub(super) struct SeatMaps {
    database: Arc<dyn Database>,
    write_seat: WriteSeat,
    performances: Cache<PerformanceId, Performance>,
    layouts: Cache<PerformanceId, Arc<Layout>>,
    claims: Loader<ReadClaims>,
}

impl SeatMaps {
    /// Starts with nothing known.
    pub(super) fn start(ports: &Ports, write_seat: WriteSeat, tasks: &TaskTracker) -> Self {
        let weight = |_: &PerformanceId, layout: &Arc<Layout>| u32::try_from(layout.size()).unwrap_or(u32::MAX);
        Self {
            database: Arc::clone(&ports.database),
            write_seat,
            performances: Cache::builder().max_capacity(PERFORMANCES).time_to_live(PERFORMANCE_AGE).build(),
            layouts: Cache::builder().max_capacity(LAYOUT_BYTES).weigher(weight).build(),
            claims: Loader::start(ReadClaims { clock: Arc::clone(&ports.clock) }, &ports.database, tasks),
        }
    }

    /// The seat map of a performance of this concert.
    pub(super) async fn get(&self, id: PerformanceId, concert_id: ConcertId) -> Result<Arc<SeatMap>, AppError> {
        let performance = self.performances.try_get_with(id, self.find_performance(id));
        if performance.await.map_err(unshared)?.concert_id != concert_id {
            return Err(Refusal::QueueTokenWrongConcert.into());
        }
        let layout = self.layouts.try_get_with(id, self.load_layout(id)).await.map_err(unshared)?;
        let reading = self.claims.get(id).await?.ok_or(Refusal::PerformanceNotFound)?;
        let map = reading.map.get_or_init(async || Arc::new(SeatMap::new(layout, &reading.claims, reading.read_at)));
        Ok(Arc::clone(map.await))
    }

    async fn find_performance(&self, id: PerformanceId) -> Result<Performance, AppError> {
        let mut repositories = self.database.read().await?;
        Ok(repositories.concerts().find_performance(id).await?.ok_or(Refusal::PerformanceNotFound)?)
    }

    async fn load_layout(&self, id: PerformanceId) -> Result<Arc<Layout>, AppError> {
        let mut repositories = self.database.read().await?;
        let seats = repositories.concerts().list_seats(id).await?;
        Ok(Arc::new(Layout::new(id, &seats, self.write_seat)))
    }
}

/// Takes the error that all who waited for one loading share.
fn unshared(error: Arc<AppError>) -> AppError {
    Arc::unwrap_or_clone(error)
}

/// The seats of one performance, as they are presented but for their status.
struct Layout {
    performance_id: PerformanceId,
    /// By section, row and number.
    seats: Vec<PlacedSeat>,
    /// Positions in `seats`, by ascending id.
    by_id: Vec<usize>,
    /// All presentations, one behind the other: one allocation instead of one a seat.
    text: String,
}

struct PlacedSeat {
    id: SeatId,
    /// Where its presentation ends in the text.
    end: usize,
}

impl Layout {
    fn new(performance_id: PerformanceId, seats: &[Seat], write_seat: WriteSeat) -> Self {
        let mut text = String::new();
        let mut placed = Vec::with_capacity(seats.len());
        for seat in seats {
            write_seat(seat, &mut text);
            placed.push(PlacedSeat { id: seat.id, end: text.len() });
        }
        text.shrink_to_fit();
        let mut by_id: Vec<_> = (0..placed.len()).collect();
        by_id.sort_unstable_by_key(|position| placed.get(*position).map(|seat| seat.id));
        Self { performance_id, seats: placed, by_id, text }
    }

    /// About how many bytes it takes.
    fn size(&self) -> usize {
        self.text.len() + self.seats.len() * (size_of::<PlacedSeat>() + size_of::<usize>())
    }

    fn position(&self, id: SeatId) -> Option<usize> {
        let id_at = |position: &usize| self.seats.get(*position).map(|seat| seat.id);
        let index = self.by_id.binary_search_by_key(&Some(id), id_at).ok()?;
        self.by_id.get(index).copied()
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.seats.iter().map(move |seat| {
            let text = self.text.get(start..seat.end).unwrap_or("");
            start = seat.end;
            text
        })
    }
}

/// The seats of a performance and what each is at one instant.
pub struct SeatMap {
    layout: Arc<Layout>,
    statuses: Vec<SeatStatus>,
    version: i64,
    digest: u64,
    /// What presents it, for each filter: shared by all who asked meanwhile.
    presentations: [OnceCell<Arc<Vec<u8>>>; 4],
}

impl SeatMap {
    fn new(layout: Arc<Layout>, claims: &[SeatClaim], now: Instant) -> Self {
        let mut statuses = vec![SeatStatus::Available; layout.seats.len()];
        let mut version = 0;
        for SeatClaim { seat_id, claim, changed_at } in claims {
            let status = claim.status_at(now);
            if let Some(slot) = layout.position(*seat_id).and_then(|position| statuses.get_mut(position)) {
                *slot = status;
            }
            // A claim that is over changed its seat when it ended, which nothing had to write.
            let changed_at = match (status, claim.held_until) {
                (SeatStatus::Available, Some(deadline)) => deadline,
                _ => *changed_at,
            };
            version = version.max(changed_at.timestamp_micros());
        }
        let digest = digest(&(layout.performance_id, version), &statuses);
        Self { layout, statuses, version, digest, presentations: Default::default() }
    }

    /// Of which performance.
    pub fn performance_id(&self) -> PerformanceId {
        self.layout.performance_id
    }

    /// The microsecond of the latest change; 0 while nothing was ever held.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Stands for the whole state, the same on every instance, and for which part of it is `wanted`.
    pub fn digest(&self, wanted: Option<SeatStatus>) -> u64 {
        match wanted {
            None => self.digest,
            Some(status) => digest(&self.digest, &[status]),
        }
    }

    /// The wanted seats by section, row and number: what [`WriteSeat`] wrote of each, and its status.
    pub fn seats(&self, wanted: Option<SeatStatus>) -> impl Iterator<Item = (&str, SeatStatus)> {
        let statuses = self.statuses.iter().copied();
        self.layout.texts().zip(statuses).filter(move |(_, status)| wanted.is_none_or(|wanted| wanted == *status))
    }

    /// The bytes that present the wanted seats: made by `present` the first time.
    pub async fn presented(&self, wanted: Option<SeatStatus>, present: impl FnOnce(&Self) -> Vec<u8>) -> Arc<Vec<u8>> {
        let [all, available, held, sold] = &self.presentations;
        let presentation = match wanted {
            None => all,
            Some(SeatStatus::Available) => available,
            Some(SeatStatus::Held) => held,
            Some(SeatStatus::Sold) => sold,
        };
        Arc::clone(presentation.get_or_init(async || Arc::new(present(self))).await)
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

/// Reads the claims of performances.
struct ReadClaims {
    clock: Arc<dyn Clock>,
}

/// The claims of a performance as they were read once, and the map they make.
struct Reading {
    claims: Vec<SeatClaim>,
    read_at: Instant,
    map: OnceCell<Arc<SeatMap>>,
}

#[async_trait]
impl Load for ReadClaims {
    type Key = PerformanceId;
    type Value = Arc<Reading>;

    async fn load(
        &self,
        repositories: &mut dyn Repositories,
        keys: &[PerformanceId],
    ) -> Result<HashMap<PerformanceId, Arc<Reading>>, RepositoryError> {
        let mut readings = HashMap::with_capacity(keys.len());
        for id in keys {
            let read_at = self.clock.now();
            let claims = repositories.bookings().list_claims_of(*id).await?;
            readings.insert(*id, Arc::new(Reading { claims, read_at, map: OnceCell::new() }));
        }
        Ok(readings)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use std::fmt::Write;

    use super::*;
    use crate::domain::{booking::Claim, id::BookingId, points::Points};

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

    fn claim(seat: u64, held_until: Option<Instant>, changed_at: Instant) -> SeatClaim {
        let claim = Claim { booking_id: BookingId(Uuid::nil()), held_until };
        SeatClaim { seat_id: SeatId(seat), claim, changed_at }
    }

    #[test]
    fn each_seat_has_the_status_of_its_own_claim() {
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8)), claim(99, None, at(1))];
        let map = SeatMap::new(layout(), &claims, at(10));
        let all: Vec<_> = map.seats(None).collect();
        assert_eq!(all, [("[30]", SeatStatus::Held), ("[7]", SeatStatus::Available), ("[20]", SeatStatus::Sold)]);
        let sold: Vec<_> = map.seats(Some(SeatStatus::Sold)).map(|(text, _)| text).collect();
        assert_eq!(sold, ["[20]"]);
    }

    #[test]
    fn the_version_is_the_latest_change_and_a_hold_that_ends_is_one() {
        let version = |claims: &[SeatClaim], now| SeatMap::new(layout(), claims, now).version();
        assert_eq!(version(&[], at(10)), 0);
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8))];
        assert_eq!(version(&claims, at(10)), at(8).timestamp_micros());
        assert_eq!(version(&claims, at(20)), at(20).timestamp_micros());
    }

    #[test]
    fn equal_states_have_equal_digests_and_others_differ() {
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8))];
        let map = |now| SeatMap::new(layout(), &claims, now);
        let wanted = [None, Some(SeatStatus::Available), Some(SeatStatus::Held), Some(SeatStatus::Sold)];
        let digests = |map: &SeatMap| wanted.map(|wanted| map.digest(wanted));
        assert_eq!(digests(&map(at(10))), digests(&map(at(11))));
        let mut all = [digests(&map(at(10))), digests(&map(at(20)))].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
