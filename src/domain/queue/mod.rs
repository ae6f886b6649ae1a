//! The waiting queue: places, admission, and the token that stands for both.

mod draw;
mod model;
mod polling;
mod repository;
mod service;

pub use draw::{Commitment, DRAW_ALGORITHM, Draw, DrawMade, DrawSeed, Drawn, Entrant, SealedSeed, Seed, SeedVault};
pub use model::{Admission, Ending, Queue, QueueMode, QueueSettings, QueueToken, TokenState, Wait};
pub use polling::{LONGEST_POLL_SECONDS, full_rate, lookahead, poll_after, poll_after_opening, present_until};
pub use repository::{AdmissionRecord, DrawRepository, LiveCounts, OccupiedQueue, QueueRepository, Turn};
pub use service::{admission_budget, require_active, require_booking};
