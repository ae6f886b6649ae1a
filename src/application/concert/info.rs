//! What the catalogue's use cases return.

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
    /// Its stored fields.
    pub concert: Concert,
    /// Whether it has performances to come and none of them has a seat left.
    pub is_sold_out: bool,
}

/// A concert with its queue's settings.
#[derive(Clone, Debug)]
pub struct ConcertDetailsInfo {
    /// The entry of the list.
    pub listed: ConcertInfo,
    /// The settings of its queue.
    pub queue: QueueSettings,
}

/// A performance with its available seats.
#[derive(Clone, Debug)]
pub struct PerformanceInfo {
    /// The performance.
    pub performance: Performance,
    /// The number of seats that can be held; 0 once it has begun or is cancelled.
    pub available_seats: u32,
}

/// A performance as its promoter sees it.
#[derive(Clone, Debug)]
pub struct PerformanceProgressInfo {
    /// The performance.
    pub listed: PerformanceInfo,
    /// The number of pending and confirmed bookings: after a cancellation, those still to be settled.
    pub bookings_left: u32,
}

/// The progress of a cancellation.
#[derive(Clone, Copy, Debug)]
pub struct CancellationInfo {
    /// The performance.
    pub performance_id: PerformanceId,
    /// The status of the performance.
    pub status: PerformanceStatus,
    /// The number of bookings that are still to be cancelled or refunded.
    pub bookings_left: u32,
}

/// A queue as its promoter sees it.
#[derive(Clone, Copy, Debug)]
pub struct QueueInfo {
    /// The concert.
    pub concert_id: ConcertId,
    /// The settings.
    pub settings: QueueSettings,
    /// The numbers of live tokens by state.
    pub live: LiveCounts,
}

/// The settings of catalogue reads.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueSettings {
    /// The greatest age of a public answer.
    pub max_age: Duration,
    /// The greatest age of a seat map as far as other instances changed it.
    pub seat_map_age: Duration,
    /// Renders the constant part of a seat.
    pub write_seat: WriteSeat,
}
