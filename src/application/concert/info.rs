//! The results of the catalogue's use cases, and its settings.

use std::time::Duration;

use super::seat_layout::WriteSeat;
use crate::domain::{
    concert::{Concert, Performance, PerformanceStatus},
    id::{ConcertId, PerformanceId},
    queue::{LiveCounts, QueueSettings},
};

/// A concert as it is listed.
#[derive(Clone, Debug)]
pub struct ConcertInfo {
    /// The concert.
    pub concert: Concert,
    /// Whether it has future performances, and none of them has an available seat.
    pub is_sold_out: bool,
}

/// A concert with its queue's settings.
#[derive(Clone, Debug)]
pub struct ConcertDetailsInfo {
    /// The concert as it is listed.
    pub listed: ConcertInfo,
    /// The settings of its queue.
    pub queue: QueueSettings,
}

/// A performance with its available seats.
#[derive(Clone, Debug)]
pub struct PerformanceInfo {
    /// The performance.
    pub performance: Performance,
    /// The number of seats that can be held; 0 once sales have ended or the performance is cancelled.
    pub available_seats: u32,
}

/// A performance as its promoter sees it.
#[derive(Clone, Debug)]
pub struct PerformanceProgressInfo {
    /// The performance as it is listed.
    pub listed: PerformanceInfo,
    /// The number of pending and confirmed bookings: after a cancellation, those still to be settled.
    pub bookings_left: u32,
}

/// The progress of a cancellation.
#[derive(Clone, Copy, Debug)]
pub struct CancellationInfo {
    /// The cancelled performance.
    pub performance_id: PerformanceId,
    /// The status of the performance.
    pub status: PerformanceStatus,
    /// The number of bookings that are still to be cancelled or refunded.
    pub bookings_left: u32,
}

/// A queue as its promoter sees it.
#[derive(Clone, Copy, Debug)]
pub struct QueueInfo {
    /// The concert of the queue.
    pub concert_id: ConcertId,
    /// The current settings.
    pub settings: QueueSettings,
    /// The numbers of waiting, active and recently admitted tokens.
    pub live: LiveCounts,
}

/// The settings of catalogue reads.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueSettings {
    /// The greatest age of a public answer.
    pub max_age: Duration,
    /// The greatest age of a seat map with respect to changes of other instances.
    pub seat_map_age: Duration,
    /// Renders the constant part of a seat.
    pub write_seat: WriteSeat,
}
