//! The waiting queue: its places, its admission, and the tokens of its users.
//!
//! `model.rs` is the queue, `token.rs` its tokens, `settings.rs` what an administrator sets. `seed.rs` and `draw.rs`
//! are the draw of the tokens from before the opening; `drawing.rs` has the queue's changes before, during and after
//! it. `polling.rs` decides when clients poll and how long they count as present, and `service.rs` decides admission.

mod draw;
mod drawing;
mod model;
mod polling;
mod repository;
mod seed;
mod service;
mod settings;
mod token;

pub use draw::{Draw, DrawMade, DrawSeed};
pub use model::Queue;
pub use polling::{
    AdmissionRate, MAX_POLL_SECONDS, configured_rate, lookahead, poll_after, poll_after_opening, present_until,
};
pub use repository::{
    AdmissionRecord, AdmissionRepository, DrawRepository, LiveCounts, OccupiedQueue, QueueRepository,
    QueueTokenRepository, TickReason,
};
pub use seed::{Commitment, DRAW_ALGORITHM, Drawn, Entrant, SealedSeed, Seed, SeedVault};
pub use service::{admission_budget, require_active, require_booking};
pub use settings::{QueueMode, QueueSettings};
pub use token::{Admission, EndReason, EstimatedWait, QueueToken, TokenState};
