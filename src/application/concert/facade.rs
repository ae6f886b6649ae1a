//! The catalogue's facade and its collaborators. Most of its use cases are in files of their own.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{catalogue::Catalogue, info::CatalogueSettings, seat_map::SeatMap, seat_maps::SeatMaps};
use crate::{
    application::{Ports, changes::ChangeCounter, error::AppError, settlement::SettlementLanes},
    domain::id::{ConcertId, PerformanceId},
};

/// Use cases of the catalogue.
pub struct ConcertFacade {
    pub(super) ports: Ports,
    pub(super) settlement: Arc<SettlementLanes>,
    pub(super) catalogue: Catalogue,
    pub(super) changes: ChangeCounter,
    pub(super) seat_maps: Arc<SeatMaps>,
    pub(super) tasks: TaskTracker,
}

impl ConcertFacade {
    /// A facade that settles bookings of cancelled performances through `settlement`, and reads seat maps on `tasks`.
    pub fn new(
        ports: Ports,
        settlement: Arc<SettlementLanes>,
        settings: CatalogueSettings,
        tasks: &TaskTracker,
    ) -> Self {
        let seat_maps = Arc::new(SeatMaps::start(&ports, &settings, tasks));
        let changes = ChangeCounter::default();
        let catalogue = Catalogue::new(&ports, settings.max_age, &changes);
        Self { ports, settlement, catalogue, changes, seat_maps, tasks: tasks.clone() }
    }

    /// The seat map of a performance, for the bearer of an active token of `concert_id`. It includes all changes of
    /// this instance, and those of others with a delay of at most [`CatalogueSettings::seat_map_age`].
    ///
    /// # Errors
    ///
    /// [`Refusal::PerformanceNotFound`]; [`Refusal::QueueTokenWrongConcert`] for a performance of another concert.
    /// [`AppError::Overloaded`] if too many reads wait.
    ///
    /// [`Refusal::PerformanceNotFound`]: crate::domain::refusal::Refusal::PerformanceNotFound
    /// [`Refusal::QueueTokenWrongConcert`]: crate::domain::refusal::Refusal::QueueTokenWrongConcert
    pub async fn seat_map(&self, id: PerformanceId, concert_id: ConcertId) -> Result<Arc<SeatMap>, AppError> {
        let state = self.seat_maps.state(id, concert_id).await?;
        self.seat_maps.read(&state).await
    }
}
