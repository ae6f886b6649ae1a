//! Reading the catalogue.

use std::collections::HashMap;

use super::{ConcertDetailsInfo, ConcertFacade, ConcertInfo, PerformanceInfo, PerformanceProgressInfo};
use crate::{
    application::error::AppError,
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
type Place = (Instant, PerformanceId);

impl ConcertFacade {
    /// Concerts, soonest first.
    pub async fn list_concerts(&self, filter: &ConcertFilter) -> Result<Page<ConcertInfo>, AppError> {
        let now = self.ports.now();
        let mut repositories = self.ports.database.read().await?;
        let page = repositories.concerts().list_concerts(filter).await?;
        let items = with_sales(&mut *repositories, page.items, now).await?;
        Ok(Page { items, more: page.more })
    }

    /// A concert, or `ConcertNotFound`.
    pub async fn concert(&self, id: ConcertId) -> Result<ConcertDetailsInfo, AppError> {
        let now = self.ports.now();
        let mut repositories = self.ports.database.read().await?;
        details(&mut *repositories, id, now).await
    }

    /// The performances of a concert that are still to come, soonest first, behind `after`; with `available_only`,
    /// those that have a seat left. `ConcertNotFound` for no concert.
    pub async fn list_performances(
        &self,
        concert_id: ConcertId,
        available_only: bool,
        mut after: Option<Place>,
        limit: u32,
    ) -> Result<Page<PerformanceInfo>, AppError> {
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
        let mut repositories = self.ports.database.read().await?;
        progress(&mut *repositories, id, now).await
    }

    /// Venues by ascending id, behind `after`.
    pub async fn list_venues(&self, after: Option<VenueId>, limit: u32) -> Result<Page<Venue>, AppError> {
        let mut repositories = self.ports.database.read().await?;
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
