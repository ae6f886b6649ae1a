//! Settlements: the commands that move points or change a booking (charge, pay, extend, cancel), and the events of
//! them.
//!
//! `service.rs` decides them over rows that the application has locked. Holds are decided in `booking`.

mod administration;
mod model;
mod service;

pub use model::{Adjustment, CancelledBy, Charge, Paid, PayRequest};
pub use service::{LockedSettlementState, SettlementBatch};
