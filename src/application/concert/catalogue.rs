//! Reading the catalogue.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{
    ConcertDetailsInfo, ConcertFacade, ConcertInfo, PerformanceInfo, PerformanceProgressInfo,
    catalogue_cache::{CatalogueAnswer, CatalogueCache, Reading},
    seat_counts::SeatCounts,
};
use crate::{
    application::{Ports, changes::ChangeCounter, error::AppError},
    domain::{
        clock::Instant,
        concert::{Concert, ConcertFilter, Performance, Venue},
        id::{ConcertId, PerformanceId, VenueId},
        page::Page,
        queue::QueueSettings,
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::Repositories,
    },
};

/// How many performances are looked at in one read when those that are sold out are to be left out.
const MAX_SCANNED: u32 = 100;

/// How many lists are read at a time: anonymous readers choose what to ask for, and other requests need connections, too.
const MAX_READERS: usize = 4;

/// How many more reads wait for their turn before others are turned away.
const MAX_WAITING_READERS: usize = 1_000;

/// A performance's place in the list of its concert.
pub type ListPosition = (Instant, PerformanceId);

/// About how many bytes a line of a list takes, with its presentation and what keeps it.
const ENTRY_BYTES: usize = 2_048;

/// Which performances of a concert are listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PerformanceFilter {
    /// Of which concert.
    pub concert_id: ConcertId,
    /// Only those that have a seat left.
    pub available_only: bool,
    /// Only behind this place of the list.
    pub after: Option<ListPosition>,
    /// How many at most.
    pub limit: u32,
}

/// What everybody reads of the catalogue, by what was asked.
pub(super) struct Catalogue {
    pages: CatalogueCache<ConcertFilter, Page<ConcertInfo>>,
    concerts: CatalogueCache<ConcertId, ConcertDetailsInfo>,
    performances: CatalogueCache<PerformanceFilter, Page<PerformanceInfo>>,
    counts: SeatCounts,
    readers: Semaphore,
    waiting_readers: Semaphore,
}

impl Catalogue {
    pub(super) fn new(ports: &Ports, max_age: Duration, changes: &ChangeCounter) -> Self {
        let (clock, changes) = (|| Arc::clone(&ports.clock), || changes.clone());
        Self {
            pages: CatalogueCache::new("concert_lists", clock(), max_age, changes(), |filter, page| {
                let texts = filter.query.as_ref().map_or(0, String::len);
                ENTRY_BYTES * (1 + page.map_or(0, |page| page.items.len())) + texts
            }),
            concerts: CatalogueCache::new("concerts", clock(), max_age, changes(), |_, info| {
                ENTRY_BYTES + info.map_or(0, |info| 3 * info.listed.concert.fields.description.len())
            }),
            performances: CatalogueCache::new("performance_lists", clock(), max_age, changes(), |_, page| {
                ENTRY_BYTES * (1 + page.map_or(0, |page| page.items.len()))
            }),
            counts: SeatCounts::new(ports, max_age),
            readers: Semaphore::new(MAX_READERS),
            waiting_readers: Semaphore::new(MAX_READERS + MAX_WAITING_READERS),
        }
    }

    /// Reads something for an anonymous request when it is its turn.
    ///
    /// # Errors
    ///
    /// [`AppError::Overloaded`] at once when too many wait.
    async fn with_reader_slot<T>(&self, read: impl Future<Output = Result<T, AppError>>) -> Result<T, AppError> {
        let _waiting_slot = self.waiting_readers.try_acquire().map_err(|_| AppError::Overloaded)?;
        let _reader_slot = self.readers.acquire().await.map_err(AppError::internal)?;
        read.await
    }
}

impl ConcertFacade {
    /// Concerts, soonest first.
    ///
    /// # Errors
    ///
    /// [`AppError::Overloaded`] when too many lists wait to be read.
    pub async fn list_concerts(&self, filter: &ConcertFilter) -> Result<CatalogueAnswer<Page<ConcertInfo>>, AppError> {
        self.catalogue.pages.get(filter, || self.catalogue.with_reader_slot(self.read_concerts(filter))).await
    }

    async fn read_concerts(&self, filter: &ConcertFilter) -> Result<Reading<Page<ConcertInfo>>, AppError> {
        let now = self.ports.now();
        let (page, future) = {
            let mut repositories = self.ports.database.read().await?;
            let page = repositories.concerts().list_concerts(filter, now).await?;
            let ids: Vec<_> = page.items.iter().map(|concert| concert.id).collect();
            (page, repositories.concerts().list_future_performances(&ids, now).await?)
        };
        let counts = self.catalogue.counts.of(&ids_of(&future)).await?;
        let items = with_sales(page.items, &future, &counts.claimed);
        Ok(Reading { value: Page { items, has_more: page.has_more }, as_of: counts.as_of })
    }

    /// A concert, or `ConcertNotFound`.
    pub async fn concert(&self, id: ConcertId) -> Result<CatalogueAnswer<ConcertDetailsInfo>, AppError> {
        self.catalogue.concerts.get(&id, || self.catalogue.with_reader_slot(self.read_concert(id))).await
    }

    async fn read_concert(&self, id: ConcertId) -> Result<Reading<ConcertDetailsInfo>, AppError> {
        let now = self.ports.now();
        let rows = {
            let mut repositories = self.ports.database.read().await?;
            ConcertRows::read(&mut *repositories, id, now).await?
        };
        let counts = self.catalogue.counts.of(&ids_of(&rows.future)).await?;
        Ok(Reading { value: rows.details(&counts.claimed), as_of: counts.as_of })
    }

    /// The performances of a concert that are still to come, soonest first. `ConcertNotFound` for no concert.
    pub async fn list_performances(
        &self,
        filter: &PerformanceFilter,
    ) -> Result<CatalogueAnswer<Page<PerformanceInfo>>, AppError> {
        self.catalogue
            .performances
            .get(filter, || self.catalogue.with_reader_slot(self.read_performances(filter)))
            .await
    }

    async fn read_performances(&self, filter: &PerformanceFilter) -> Result<Reading<Page<PerformanceInfo>>, AppError> {
        let PerformanceFilter { concert_id, available_only, mut after, limit } = *filter;
        let now = self.ports.now();
        if !available_only {
            let page = self.read_performance_rows(concert_id, now, after, limit).await?;
            let counts = self.catalogue.counts.of(&ids_of_performances(&page.items)).await?;
            let items = with_available_seats(page.items, &counts.claimed, now);
            return Ok(Reading { value: Page { items, has_more: page.has_more }, as_of: counts.as_of });
        }
        let wanted = limit as usize + 1;
        let (mut found, mut as_of) = (Vec::with_capacity(wanted), None);
        loop {
            let page = self.read_performance_rows(concert_id, now, after, MAX_SCANNED).await?;
            after = page.items.last().map(|performance| (performance.starts_at, performance.id)).or(after);
            let counts = self.catalogue.counts.of(&ids_of_performances(&page.items)).await?;
            as_of = as_of.into_iter().chain(counts.as_of).min();
            let items = with_available_seats(page.items, &counts.claimed, now);
            found.extend(items.into_iter().filter(|info| info.available_seats > 0));
            if found.len() >= wanted || !page.has_more {
                return Ok(Reading { value: Page::of(found, limit), as_of });
            }
        }
    }

    /// Performances to come of a concert, or `ConcertNotFound`. No connection is held while their seats are counted.
    async fn read_performance_rows(
        &self,
        concert_id: ConcertId,
        now: Instant,
        after: Option<ListPosition>,
        limit: u32,
    ) -> Result<Page<Performance>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        repositories.concerts().find_concert(concert_id).await?.ok_or(Refusal::ConcertNotFound)?;
        Ok(repositories.concerts().list_performances(concert_id, now, after, limit).await?)
    }

    /// A performance as its promoter sees it, whether it has begun, is cancelled or not; or `PerformanceNotFound`.
    pub async fn performance(&self, id: PerformanceId) -> Result<PerformanceProgressInfo, AppError> {
        let now = self.ports.now();
        let mut repositories = self.ports.back_office.read().await?;
        progress(&mut *repositories, id, now).await
    }

    /// Venues by ascending id, behind `after`.
    pub async fn list_venues(&self, after: Option<VenueId>, limit: u32) -> Result<Page<Venue>, AppError> {
        let mut repositories = self.ports.back_office.read().await?;
        Ok(repositories.concerts().list_venues(after, limit).await?)
    }
}

/// A performance to come, as (concert, performance, total seats).
type FuturePerformance = (ConcertId, PerformanceId, u32);

/// What the database has of one concert.
struct ConcertRows {
    concert: Concert,
    queue: QueueSettings,
    future: Vec<FuturePerformance>,
}

impl ConcertRows {
    /// The rows, or `ConcertNotFound`.
    async fn read(repositories: &mut dyn Repositories, id: ConcertId, now: Instant) -> Result<Self, AppError> {
        let concert = repositories.concerts().find_concert(id).await?.ok_or(Refusal::ConcertNotFound)?;
        let queue = repositories.queues().find_queue(id).await?.ok_or(Refusal::ConcertNotFound)?.settings;
        let future = repositories.concerts().list_future_performances(&[id], now).await?;
        Ok(Self { concert, queue, future })
    }

    fn details(self, claimed: &HashMap<PerformanceId, u32>) -> ConcertDetailsInfo {
        let listed = with_sale(self.concert, &has_seats(&self.future, claimed));
        ConcertDetailsInfo { listed, queue: self.queue }
    }
}

/// A concert as the transaction of `repositories` sees it, or `ConcertNotFound`.
pub(super) async fn details(
    repositories: &mut dyn Repositories,
    id: ConcertId,
    now: Instant,
) -> Result<ConcertDetailsInfo, AppError> {
    let rows = ConcertRows::read(repositories, id, now).await?;
    let claimed = claimed_seats(repositories, &ids_of(&rows.future), now).await?;
    Ok(rows.details(&claimed))
}

/// A performance as its promoter sees it, or `PerformanceNotFound`.
pub(super) async fn progress(
    repositories: &mut dyn Repositories,
    id: PerformanceId,
    now: Instant,
) -> Result<PerformanceProgressInfo, AppError> {
    let performance = repositories.concerts().find_performance(id).await?.ok_or(Refusal::PerformanceNotFound)?;
    let bookings_left = repositories.bookings().count_open_of_performance(id).await?;
    let claimed = claimed_seats(repositories, &[id], now).await?;
    let listed = with_available_seats(vec![performance], &claimed, now).pop();
    Ok(PerformanceProgressInfo { listed: listed.ok_or(Refusal::PerformanceNotFound)?, bookings_left })
}

fn ids_of(future: &[FuturePerformance]) -> Vec<PerformanceId> {
    future.iter().map(|(_, id, _)| *id).collect()
}

fn ids_of_performances(performances: &[Performance]) -> Vec<PerformanceId> {
    performances.iter().map(|performance| performance.id).collect()
}

/// Whether each concert with performances to come has a seat left.
fn has_seats(future: &[FuturePerformance], claimed: &HashMap<PerformanceId, u32>) -> HashMap<ConcertId, bool> {
    let mut has_seats = HashMap::new();
    for (concert_id, id, total_seats) in future {
        let left = *total_seats > claimed.get(id).copied().unwrap_or(0);
        *has_seats.entry(*concert_id).or_default() |= left;
    }
    has_seats
}

/// Adds whether a concert is sold out: something is to come, and all of it is taken.
fn with_sale(concert: Concert, has_seats: &HashMap<ConcertId, bool>) -> ConcertInfo {
    let is_sold_out = has_seats.get(&concert.id) == Some(&false);
    ConcertInfo { concert, is_sold_out }
}

fn with_sales(
    concerts: Vec<Concert>,
    future: &[FuturePerformance],
    claimed: &HashMap<PerformanceId, u32>,
) -> Vec<ConcertInfo> {
    let has_seats = has_seats(future, claimed);
    concerts.into_iter().map(|concert| with_sale(concert, &has_seats)).collect()
}

fn with_available_seats(
    performances: Vec<Performance>,
    claimed: &HashMap<PerformanceId, u32>,
    now: Instant,
) -> Vec<PerformanceInfo> {
    let info = |performance: Performance| {
        let left = performance.total_seats.saturating_sub(claimed.get(&performance.id).copied().unwrap_or(0));
        let available_seats = if performance.is_on_sale(now) { left } else { 0 };
        PerformanceInfo { performance, available_seats }
    };
    performances.into_iter().map(info).collect()
}

/// How many seats of each performance are held or sold, as the transaction of `repositories` sees it.
async fn claimed_seats(
    repositories: &mut dyn Repositories,
    ids: &[PerformanceId],
    now: Instant,
) -> Result<HashMap<PerformanceId, u32>, RepositoryError> {
    let occupancy = repositories.concerts().list_occupancy(ids, now).await?;
    Ok(occupancy.into_iter().map(|occupancy| (occupancy.performance_id, occupancy.claimed)).collect())
}
