//! The catalogue: venues, concerts, performances, and the seats of a performance.

mod model;
mod repository;

pub use model::{
    Concert, ConcertFields, Page, Performance, PerformanceStatus, Seat, SeatStatus, Section, Seating, SeatingError,
    Venue,
};
pub use repository::{ConcertFilter, ConcertRepository, Occupancy};
