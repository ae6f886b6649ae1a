//! Settlements: the commands that move points or change a booking (charge, pay, extend, cancel, adjust), and their
//! events.
//!
//! `service.rs` decides them over rows that the application has locked; `administration.rs` decides the commands of
//! administrators, and `complimentary.rs` complimentary bookings. Holds are decided in `booking`.

mod administration;
mod complimentary;
mod model;
mod service;

pub use complimentary::{Complimentary, ComplimentaryRequest, LockedComplimentaryState};
pub use model::{Adjustment, CancelledBy, Charge, Paid, PayRequest};
pub use service::{LockedSettlementState, SettlementBatch};
