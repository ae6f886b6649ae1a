//! The waiting queue: places, admission, and the token that stands for both.

mod model;
mod repository;
mod service;

pub use model::{Admission, Ending, Queue, QueueMode, QueueSettings, QueueToken, TokenState};
pub use repository::{AdmissionRecord, LiveCounts, QueueRepository};
pub use service::{admission_budget, require_active};
