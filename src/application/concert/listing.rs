//! Concerts and performances, combined from their rows and the counts of their claimed seats.

use std::collections::HashMap;

use super::info::{ConcertDetailsInfo, ConcertInfo, PerformanceInfo, PerformanceProgressInfo};
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        concert::{Concert, Performance},
        id::{ConcertId, PerformanceId},
        queue::QueueSettings,
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::Repositories,
    },
};

/// A future performance, as (concert, performance, number of seats on sale).
type FuturePerformance = (ConcertId, PerformanceId, u32);

/// The rows of one concert.
pub(super) struct ConcertRows {
    concert: Concert,
    queue: QueueSettings,
    pub(super) future: Vec<FuturePerformance>,
}

impl ConcertRows {
    /// Reads the rows; [`Refusal::ConcertNotFound`] without a concert.
    pub(super) async fn read(
        repositories: &mut dyn Repositories,
        id: ConcertId,
        now: Instant,
    ) -> Result<Self, AppError> {
        let concert = repositories.concerts().find_concert(id).await?.ok_or(Refusal::ConcertNotFound)?;
        let queue = repositories.queues().find_queue(id).await?.ok_or(Refusal::ConcertNotFound)?.settings;
        let future = repositories.concerts().list_future_performances(&[id], now).await?;
        Ok(Self { concert, queue, future })
    }

    pub(super) fn details(self, claimed: &HashMap<PerformanceId, u32>) -> ConcertDetailsInfo {
        let listed = with_sale(self.concert, &has_seats(&self.future, claimed));
        ConcertDetailsInfo { listed, queue: self.queue }
    }
}

/// A concert as the transaction of `repositories` sees it; [`Refusal::ConcertNotFound`] without one.
pub(super) async fn details(
    repositories: &mut dyn Repositories,
    id: ConcertId,
    now: Instant,
) -> Result<ConcertDetailsInfo, AppError> {
    let rows = ConcertRows::read(repositories, id, now).await?;
    let claimed = claimed_seats(repositories, &ids_of_future(&rows.future), now).await?;
    Ok(rows.details(&claimed))
}

/// A performance as its promoter sees it; [`Refusal::PerformanceNotFound`] without one.
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

pub(super) fn ids_of_future(future: &[FuturePerformance]) -> Vec<PerformanceId> {
    future.iter().map(|(_, id, _)| *id).collect()
}

pub(super) fn ids_of_performances(performances: &[Performance]) -> Vec<PerformanceId> {
    performances.iter().map(|performance| performance.id).collect()
}

/// Whether each concert with future performances has an available seat.
fn has_seats(future: &[FuturePerformance], claimed: &HashMap<PerformanceId, u32>) -> HashMap<ConcertId, bool> {
    let mut has_seats = HashMap::new();
    for (concert_id, id, total_seats) in future {
        let left = *total_seats > claimed.get(id).copied().unwrap_or(0);
        *has_seats.entry(*concert_id).or_default() |= left;
    }
    has_seats
}

/// Adds whether a concert is sold out: it has future performances, and none of them has an available seat.
fn with_sale(concert: Concert, has_seats: &HashMap<ConcertId, bool>) -> ConcertInfo {
    let is_sold_out = has_seats.get(&concert.id) == Some(&false);
    ConcertInfo { concert, is_sold_out }
}

pub(super) fn with_sales(
    concerts: Vec<Concert>,
    future: &[FuturePerformance],
    claimed: &HashMap<PerformanceId, u32>,
) -> Vec<ConcertInfo> {
    let has_seats = has_seats(future, claimed);
    concerts.into_iter().map(|concert| with_sale(concert, &has_seats)).collect()
}

pub(super) fn with_available_seats(
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

/// Performances with their available seats, as the transaction of `repositories` sees them.
pub(super) async fn listed(
    repositories: &mut dyn Repositories,
    performances: Vec<Performance>,
    now: Instant,
) -> Result<Vec<PerformanceInfo>, RepositoryError> {
    let claimed = claimed_seats(repositories, &ids_of_performances(&performances), now).await?;
    Ok(with_available_seats(performances, &claimed, now))
}

/// The number of held, sold and blocked seats of each performance, as the transaction of `repositories` sees it.
async fn claimed_seats(
    repositories: &mut dyn Repositories,
    ids: &[PerformanceId],
    now: Instant,
) -> Result<HashMap<PerformanceId, u32>, RepositoryError> {
    let occupancy = repositories.concerts().list_occupancy(ids, now).await?;
    Ok(occupancy.into_iter().map(|occupancy| (occupancy.performance_id, occupancy.claimed)).collect())
}
