//! The waiting queue: places, admission, and the token that stands for both.

mod draw;
mod model;
mod repository;
mod service;

pub use draw::{DRAW_ALGORITHM, Draw, DrawMade, Entrant, Seed};
pub use model::{Admission, Ending, Queue, QueueMode, QueueSettings, QueueToken, TokenState};
pub use repository::{AdmissionRecord, DrawRepository, LiveCounts, QueueRepository};
pub use service::{admission_budget, require_active};
