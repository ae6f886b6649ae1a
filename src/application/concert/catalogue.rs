//! Reading the catalogue.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    ConcertDetailsInfo, ConcertFacade, ConcertInfo, PerformanceInfo, PerformanceProgressInfo,
    answers::{Answers, Published},
};
use crate::{
    application::{Ports, changes::Changes, error::AppError},
    domain::{
        clock::Instant,
        concert::{Concert, ConcertFilter, Performance, Venue},
        id::{ConcertId, PerformanceId, VenueId},
        page::Page,
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::Repositories,
    },
};

/// How many performances are looked at in one read when those that are sold out are to be left out.
const SCAN: u32 = 100;

/// A performance's place in the list of its concert.
pub type Place = (Instant, PerformanceId);

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
    pub after: Option<Place>,
    /// How many at most.
    pub limit: u32,
}

/// What everybody reads of the catalogue, by what was asked.
pub(super) struct Catalogue {
    pages: Answers<ConcertFilter, Page<ConcertInfo>>,
    concerts: Answers<ConcertId, ConcertDetailsInfo>,
    performances: Answers<PerformanceFilter, Page<PerformanceInfo>>,
}

impl Catalogue {
    pub(super) fn new(ports: &Ports, max_age: Duration, changes: &Changes) -> Self {
        let (clock, changes) = (|| Arc::clone(&ports.clock), || changes.clone());
        Self {
            pages: Answers::new("concert_lists", clock(), max_age, changes(), |filter, page| {
                let texts = filter.query.as_ref().map_or(0, String::len);
                ENTRY_BYTES * (1 + page.map_or(0, |page| page.items.len())) + texts
            }),
            concerts: Answers::new("concerts", clock(), max_age, changes(), |_, info| {
                ENTRY_BYTES + info.map_or(0, |info| 3 * info.listed.concert.fields.description.len())
            }),
            performances: Answers::new("performance_lists", clock(), max_age, changes(), |_, page| {
                ENTRY_BYTES * (1 + page.map_or(0, |page| page.items.len()))
            }),
        }
    }
}

impl ConcertFacade {
    /// Concerts, soonest first.
    pub async fn list_concerts(&self, filter: &ConcertFilter) -> Result<Published<Page<ConcertInfo>>, AppError> {
        self.catalogue.pages.get(filter, || self.read_concerts(filter)).await
    }

    async fn read_concerts(&self, filter: &ConcertFilter) -> Result<Page<ConcertInfo>, AppError> {
        let now = self.ports.now();
        let mut repositories = self.ports.database.read().await?;
        let page = repositories.concerts().list_concerts(filter).await?;
        let items = with_sales(&mut *repositories, page.items, now).await?;
        Ok(Page { items, more: page.more })
    }

    /// A concert, or `ConcertNotFound`.
    pub async fn concert(&self, id: ConcertId) -> Result<Published<ConcertDetailsInfo>, AppError> {
        self.catalogue.concerts.get(&id, || self.read_concert(id)).await
    }

    async fn read_concert(&self, id: ConcertId) -> Result<ConcertDetailsInfo, AppError> {
        let now = self.ports.now();
        let mut repositories = self.ports.database.read().await?;
        details(&mut *repositories, id, now).await
    }

    /// The performances of a concert that are still to come, soonest first. `ConcertNotFound` for no concert.
    pub async fn list_performances(
        &self,
        filter: &PerformanceFilter,
    ) -> Result<Published<Page<PerformanceInfo>>, AppError> {
        self.catalogue.performances.get(filter, || self.read_performances(filter)).await
    }

    async fn read_performances(&self, filter: &PerformanceFilter) -> Result<Page<PerformanceInfo>, AppError> {
        let PerformanceFilter { concert_id, available_only, mut after, limit } = *filter;
        let now = self.ports.now();
        let mut repositories = self.ports.database.read().await?;
        repositories.concerts().find_concert(concert_id).await?.ok_or(Refusal::ConcertNotFound)?;
        if !available_only {
            let page = repositories.concerts().list_performances(concert_id, now, after, limit).await?;
            let items = with_available_seats(&mut *repositories, page.items, now).await?;
            return Ok(Page { items, more: page.more });
        }
        let wanted = limit as usize + 1;
        let mut found = Vec::with_capacity(wanted);
        loop {
            let page = repositories.concerts().list_performances(concert_id, now, after, SCAN).await?;
            after = page.items.last().map(|performance| (performance.starts_at, performance.id)).or(after);
            let items = with_available_seats(&mut *repositories, page.items, now).await?;
            found.extend(items.into_iter().filter(|info| info.available_seats > 0));
            if found.len() >= wanted || !page.more {
                return Ok(Page::of(found, limit));
            }
        }
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

/// A concert with all that is known of it, or `ConcertNotFound`.
pub(super) async fn details(
    repositories: &mut dyn Repositories,
    id: ConcertId,
    now: Instant,
) -> Result<ConcertDetailsInfo, AppError> {
    let concert = repositories.concerts().find_concert(id).await?.ok_or(Refusal::ConcertNotFound)?;
    let queue = repositories.queues().find_queue(id).await?.ok_or(Refusal::ConcertNotFound)?;
    let listed = with_sales(repositories, vec![concert], now).await?.pop().ok_or(Refusal::ConcertNotFound)?;
    Ok(ConcertDetailsInfo { listed, queue: queue.settings })
}

/// A performance as its promoter sees it, or `PerformanceNotFound`.
pub(super) async fn progress(
    repositories: &mut dyn Repositories,
    id: PerformanceId,
    now: Instant,
) -> Result<PerformanceProgressInfo, AppError> {
    let performance = repositories.concerts().find_performance(id).await?.ok_or(Refusal::PerformanceNotFound)?;
    let bookings_left = repositories.bookings().count_open(id).await?;
    let listed = with_available_seats(repositories, vec![performance], now).await?.pop();
    Ok(PerformanceProgressInfo { listed: listed.ok_or(Refusal::PerformanceNotFound)?, bookings_left })
}

/// Adds to each concert whether it is sold out: something is to come, and all of it is taken.
async fn with_sales(
    repositories: &mut dyn Repositories,
    concerts: Vec<Concert>,
    now: Instant,
) -> Result<Vec<ConcertInfo>, RepositoryError> {
    let ids: Vec<_> = concerts.iter().map(|concert| concert.id).collect();
    let future = repositories.concerts().list_future_performances(&ids, now).await?;
    let performance_ids: Vec<_> = future.iter().map(|(_, id, _)| *id).collect();
    let claimed = claimed_seats(repositories, &performance_ids, now).await?;
    let mut has_seats: HashMap<ConcertId, bool> = HashMap::new();
    for (concert_id, id, total_seats) in future {
        let left = total_seats > claimed.get(&id).copied().unwrap_or(0);
        *has_seats.entry(concert_id).or_default() |= left;
    }
    let info = |concert: Concert| {
        let is_sold_out = has_seats.get(&concert.id) == Some(&false);
        ConcertInfo { concert, is_sold_out }
    };
    Ok(concerts.into_iter().map(info).collect())
}

async fn with_available_seats(
    repositories: &mut dyn Repositories,
    performances: Vec<Performance>,
    now: Instant,
) -> Result<Vec<PerformanceInfo>, RepositoryError> {
    let ids: Vec<_> = performances.iter().map(|performance| performance.id).collect();
    let claimed = claimed_seats(repositories, &ids, now).await?;
    let info = |performance: Performance| {
        let left = performance.total_seats.saturating_sub(claimed.get(&performance.id).copied().unwrap_or(0));
        let available_seats = if performance.is_on_sale(now) { left } else { 0 };
        PerformanceInfo { performance, available_seats }
    };
    Ok(performances.into_iter().map(info).collect())
}

/// How many seats of each performance are held or sold; those with none are left out. Every public number of seats
/// comes through here.
async fn claimed_seats(
    repositories: &mut dyn Repositories,
    ids: &[PerformanceId],
    now: Instant,
) -> Result<HashMap<PerformanceId, u32>, RepositoryError> {
    let occupancy = repositories.concerts().list_occupancy(ids, now).await?;
    Ok(occupancy.into_iter().map(|occupancy| (occupancy.performance_id, occupancy.claimed)).collect())
}
