//! Holds and bookings: which user has which seats, and the deadlines of unpaid ones.
//!
//! `service.rs` decides holds over locked rows, `block.rs` which seats are held back from sale. `best_available.rs`
//! selects seats from the free ones of `seat_layout.rs`.

mod best_available;
mod block;
mod model;
#[cfg(test)]
mod properties;
mod repository;
mod seat_layout;
mod service;

pub use best_available::{BestAvailable, Shortage};
pub use block::{BlockedSeats, change_blocks};
pub use model::{BLOCK_END, BookedSeat, Booking, BookingState, Claim, HoldPolicy, OpenBooking};
pub(crate) use model::{instant_after, live_seats};
pub use repository::{
    BookingDetails, BookingRepository, BookingSearch, ChoiceRepository, ClaimDeadline, SeatClaim, SeatClaimRepository,
};
pub use seat_layout::{FreeSeats, SeatLayout};
pub use service::{HoldBatch, HoldRequest, LockedHoldState, SeatSelection};
