//! The waiting queue: places, admission, and the token that stands for both.
//!
//! `draw.rs` orders the tokens from before the opening, `polling.rs` decides when clients poll and how long they count
//! as present, and `service.rs` decides admission.

mod draw;
mod model;
mod polling;
mod repository;
mod service;

pub use draw::{Commitment, DRAW_ALGORITHM, Draw, DrawMade, DrawSeed, Drawn, Entrant, SealedSeed, Seed, SeedVault};
pub use model::{Admission, EndReason, EstimatedWait, Queue, QueueMode, QueueSettings, QueueToken, TokenState};
pub use polling::{
    AdmissionRate, MAX_POLL_SECONDS, configured_rate, lookahead, poll_after, poll_after_opening, present_until,
};
pub use repository::{AdmissionRecord, DrawRepository, LiveCounts, OccupiedQueue, QueueRepository, TickReason};
pub use service::{admission_budget, require_active, require_booking};
