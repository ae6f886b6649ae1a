//! The catalogue: public reads, the promoter's writes, and seat maps.
//!
//! Reads take no locks; public answers are cached for at most a second. A write of a concert or its performances is one
//! transaction. It locks the concert, so that dates, prices and deletion are decided one after another. Only the
//! bookings of a cancelled performance are settled in further transactions.

mod blocks;
mod cancellation;
mod catalogue;
mod catalogue_cache;
mod facade;
mod info;
mod listing;
mod promoter;
mod reads;
mod sales;
mod schedule;
mod seat_counts;
mod seat_events;
mod seat_layout;
mod seat_map;
mod seat_maps;
mod seat_state;
mod seat_update;

pub use blocks::ChangeBlocks;
pub use catalogue::{ListPosition, PerformanceFilter};
pub use catalogue_cache::{CatalogueAnswer, RenderedBody};
pub use facade::ConcertFacade;
pub use info::{
    CancellationInfo, CatalogueSettings, ConcertDetailsInfo, ConcertInfo, PerformanceInfo, PerformanceProgressInfo,
    QueueInfo,
};
pub use promoter::{Actor, CreatePerformance, UpdateConcert};
pub use sales::PerformanceSalesInfo;
pub use schedule::UpdatePerformance;
pub use seat_events::SeatStream;
pub use seat_layout::WriteSeat;
pub use seat_map::SeatMap;
pub use seat_update::{SeatChanges, SeatUpdate};
