//! Payments: the points taken for a booking, and their return. `settlement` decides them.

mod model;
mod repository;

pub use model::{Payment, PaymentState};
pub use repository::PaymentRepository;
