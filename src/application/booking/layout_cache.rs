//! The cache of the seat layouts that seats are chosen from. A cached layout never expires, because layouts are
//! immutable.
//!
//! Seat maps have a cache of their own, of rendered seats. `docs/decisions/0018-choosing-seats.md` explains why.

use std::sync::Arc;

use moka::future::Cache;

use crate::{
    application::error::AppError,
    domain::{
        booking::SeatLayout,
        id::{ConcertId, PerformanceId},
        refusal::Refusal,
        unit_of_work::Database,
    },
};

/// The most seats of all cached layouts together: some 100 megabytes.
const MAX_CACHED_SEATS: u64 = 2_000_000;

/// Caches the seat layouts of performances.
pub(super) struct SeatLayoutCache {
    database: Arc<dyn Database>,
    cached: Cache<PerformanceId, Arc<SeatLayout>>,
}

impl SeatLayoutCache {
    /// An empty cache.
    pub(super) fn new(database: Arc<dyn Database>) -> Self {
        let weight =
            |_: &PerformanceId, layout: &Arc<SeatLayout>| u32::try_from(layout.seat_count()).unwrap_or(u32::MAX);
        Self { database, cached: Cache::builder().max_capacity(MAX_CACHED_SEATS).weigher(weight).build() }
    }

    /// The layout of a performance, if it is cached.
    pub(super) async fn cached(&self, id: PerformanceId) -> Option<Arc<SeatLayout>> {
        self.cached.get(&id).await
    }

    /// The concert of a performance; `None` if there is no such performance.
    pub(super) async fn concert_of(&self, id: PerformanceId) -> Result<Option<ConcertId>, AppError> {
        let performance = self.database.read().await?.concerts().find_performance(id).await?;
        Ok(performance.map(|performance| performance.concert_id))
    }

    /// The layout of a performance; `None` if there is no such performance. Concurrent requests share one read.
    pub(super) async fn get(&self, id: PerformanceId) -> Result<Option<Arc<SeatLayout>>, AppError> {
        let layout = self.cached.try_get_with(id, self.read(id)).await;
        match layout.map_err(Arc::unwrap_or_clone) {
            Ok(layout) => Ok(Some(layout)),
            Err(AppError::Refused(Refusal::PerformanceNotFound)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, id: PerformanceId) -> Result<Arc<SeatLayout>, AppError> {
        let mut repositories = self.database.read().await?;
        let seats = repositories.concerts().list_seats(id).await?;
        // An error isn't cached: the performance may be created later.
        if seats.is_empty() {
            return Err(Refusal::PerformanceNotFound.into());
        }
        Ok(Arc::new(SeatLayout::new(seats)))
    }
}
