//! The catalogue: what everybody reads of it, what the promoter does with it, and the seat maps.
//!
//! Reads stand alone and take no locks; what everybody reads is shared and may be a second old. Each write is one transaction that locks the concert first, so that dates,
//! prices and deletion are decided one after another; only the bookings of a cancelled performance follow in batches
//! of their own.

mod cancellation;
mod catalogue;
mod catalogue_cache;
mod promoter;
mod seat_counts;
mod seat_events;
mod seat_layout;
mod seat_map;
mod seat_state;

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use self::{catalogue::Catalogue, seat_map::SeatMaps};
use super::{Ports, changes::ChangeCounter, error::AppError, settlement::SettlementLanes};
use crate::domain::{
    concert::{Concert, Performance, PerformanceStatus},
    id::{ConcertId, PerformanceId},
    queue::{LiveCounts, QueueSettings},
};

pub use catalogue::{ListPosition, PerformanceFilter};
pub use catalogue_cache::{CatalogueAnswer, RenderedBody};
pub use promoter::{CreatePerformance, UpdateConcert};
pub use seat_events::SeatStream;
pub use seat_layout::WriteSeat;
pub use seat_map::SeatMap;
pub use seat_state::{SeatChanges, SeatUpdate};

/// A concert as it is listed.
#[derive(Clone, Debug)]
pub struct ConcertInfo {
    /// The concert.
    pub concert: Concert,
    /// Whether it has performances to come and none of them has a seat left.
    pub is_sold_out: bool,
}

/// A concert with all that is known of it.
#[derive(Clone, Debug)]
pub struct ConcertDetailsInfo {
    /// As it is listed.
    pub listed: ConcertInfo,
    /// How its queue is set.
    pub queue: QueueSettings,
}

/// A performance with the seats it has left.
#[derive(Clone, Debug)]
pub struct PerformanceInfo {
    /// The performance.
    pub performance: Performance,
    /// How many of its seats can be held; none once it has begun or is cancelled.
    pub available_seats: u32,
}

/// A performance as its promoter sees it.
#[derive(Clone, Debug)]
pub struct PerformanceProgressInfo {
    /// The performance.
    pub listed: PerformanceInfo,
    /// How many of its bookings are pending or confirmed: after a cancellation, those still to be settled.
    pub bookings_left: u32,
}

/// How far a cancellation is.
#[derive(Clone, Copy, Debug)]
pub struct CancellationInfo {
    /// Of which performance.
    pub performance_id: PerformanceId,
    /// Whether it takes place.
    pub status: PerformanceStatus,
    /// How many bookings are still to be cancelled or refunded.
    pub bookings_left: u32,
}

/// A queue as its promoter sees it.
#[derive(Clone, Copy, Debug)]
pub struct QueueInfo {
    /// Of which concert.
    pub concert_id: ConcertId,
    /// How it is set.
    pub settings: QueueSettings,
    /// Who is in it.
    pub live: LiveCounts,
}

/// How the catalogue is read.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueSettings {
    /// How old what everybody reads of it may be.
    pub max_age: Duration,
    /// How old what somebody else's server has made of seats may be.
    pub seat_map_age: Duration,
    /// How a seat is presented.
    pub write_seat: WriteSeat,
}

/// Use cases of the catalogue.
pub struct ConcertFacade {
    ports: Ports,
    settlement: Arc<SettlementLanes>,
    catalogue: Catalogue,
    changes: ChangeCounter,
    seat_maps: Arc<SeatMaps>,
    tasks: TaskTracker,
}

impl ConcertFacade {
    /// Bookings of cancelled performances go through the settlement lanes; what reads seat maps runs on `tasks`.
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

    /// What a performance's seats are at this moment, for the bearer of an active token of `concert_id`.
    ///
    /// `PerformanceNotFound`, or `QueueTokenWrongConcert` when the performance is another concert's.
    pub async fn seat_map(&self, id: PerformanceId, concert_id: ConcertId) -> Result<Arc<SeatMap>, AppError> {
        let state = self.seat_maps.state(id, concert_id).await?;
        self.seat_maps.read(&state).await
    }
}
