//! The catalogue: venues, concerts, their performances, and the seats of a performance.

mod model;
mod repository;
mod schedule;

pub(crate) use model::row_name;
pub use model::{
    Concert, ConcertFields, PERFORMANCE_LENGTH, Performance, PerformanceStatus, Seat, SeatStatus, Seating,
    SeatingError, Section, Venue,
};
pub use repository::{ConcertFilter, ConcertRepository, Occupancy, PerformanceSales};
pub use schedule::{SalesEnd, ScheduleChange};
