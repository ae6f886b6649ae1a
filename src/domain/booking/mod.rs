//! Holds and bookings: who has which seats, and until when.

mod best_available;
mod house;
mod model;
#[cfg(test)]
mod properties;
mod repository;
mod service;

pub use best_available::{BestAvailable, Shortage};
pub use house::{FreeSeats, House};
pub use model::{BookedSeat, Booking, BookingState, Claim, HoldPolicy, OpenBooking};
pub(crate) use model::{instant_after, live_seats};
pub use repository::{BookingFilter, BookingRepository, ChoiceRepository, ClaimTerm, HeldBooking, SeatClaim};
pub use service::{HoldBatch, HoldRequest, HoldUnderLock, Wish};
