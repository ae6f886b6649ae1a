//! The action log: what administrators wrote, and why.

mod model;
mod repository;

pub use model::{Action, ActionEntry, ActionKind};
pub use repository::ActionLog;
