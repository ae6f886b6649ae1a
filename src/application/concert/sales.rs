//! The promoter's reads of a sale: counts, revenue and seat maps.

use std::sync::Arc;

use chrono::DateTime;

use super::{facade::ConcertFacade, info::PerformanceInfo, listing::listed, seat_map::SeatMap};
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        concert::PerformanceSales,
        id::{ConcertId, PerformanceId},
        page::{Page, PageRequest},
        refusal::Refusal,
    },
};

/// The most performances whose sales are read at a time.
const MAX_PERFORMANCES: u32 = 100;

/// A performance with its sales.
#[derive(Clone, Debug)]
pub struct PerformanceSalesInfo {
    /// The performance as it is listed.
    pub listed: PerformanceInfo,
    /// Its held, sold and blocked seats, and its revenue.
    pub sales: PerformanceSales,
}

impl ConcertFacade {
    /// The sales of a concert's first 100 performances that aren't cancelled, earliest first.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`].
    pub async fn sales(&self, concert_id: ConcertId) -> Result<Vec<PerformanceSalesInfo>, AppError> {
        let now = self.ports.now();
        let mut repositories = self.ports.back_office.read().await?;
        repositories.concerts().find_concert(concert_id).await?.ok_or(Refusal::ConcertNotFound)?;
        let earliest: Instant = DateTime::UNIX_EPOCH;
        let Page { items, .. } = repositories
            .concerts()
            .list_performances(concert_id, earliest, PageRequest::first(MAX_PERFORMANCES))
            .await?;
        let ids: Vec<_> = items.iter().map(|performance| performance.id).collect();
        let sales = repositories.concerts().list_sales(&ids, now).await?;
        let infos = listed(&mut *repositories, items, now).await?;
        Ok(infos.into_iter().zip(sales).map(|(listed, sales)| PerformanceSalesInfo { listed, sales }).collect())
    }

    /// The seat map of a performance for its promoter: without a queue token, whether or not the performance is on
    /// sale.
    ///
    /// # Errors
    ///
    /// [`Refusal::PerformanceNotFound`]. [`AppError::Overloaded`] if too many reads wait.
    pub async fn promoters_seat_map(&self, id: PerformanceId) -> Result<Arc<SeatMap>, AppError> {
        let performance = self.ports.back_office.read().await?.concerts().find_performance(id).await?;
        self.seat_map(id, performance.ok_or(Refusal::PerformanceNotFound)?.concert_id).await
    }
}
