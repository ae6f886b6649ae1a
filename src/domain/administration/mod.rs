//! The action log: the writes of administrators, with their reasons.

mod model;
mod repository;

pub use model::{Action, ActionEntry, ActionKind, Order};
pub use repository::ActionLog;
