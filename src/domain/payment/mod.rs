//! Payments: points taken for a booking, and given back; and all that is decided over a booking under lock.

mod model;
mod repository;
mod service;

pub use model::{Payment, PaymentState};
pub use repository::PaymentRepository;
pub use service::{CancelledBy, Charge, LockedSettlementState, Paid, PayRequest, SettlementBatch};
