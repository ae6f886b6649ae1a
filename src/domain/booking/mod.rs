//! Holds and bookings: who has which seats, and until when.

mod model;
mod repository;
mod service;

pub use model::{BookedSeat, Booking, BookingState, Claim, HoldPolicy};
pub use repository::{BookingFilter, BookingRepository, SeatClaim};
pub use service::{HoldBatch, HoldRequest, HoldUnderLock};
