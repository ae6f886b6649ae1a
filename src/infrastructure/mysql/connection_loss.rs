//! When a connection was last lost.
//!
//! One lost connection seldom comes alone: the database was restarted, or somebody cut them all. From then on every
//! connection that was last used before is pinged before it is used, so that one request pays for it and not one for
//! each connection.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// For all pools of the process: what they lose, they lose together.
static LAST_LOSS: Mutex<Option<Instant>> = Mutex::new(None);

/// A connection was lost just now.
pub(super) fn record() {
    *LAST_LOSS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Whether one was lost since a connection was last used.
pub(super) fn lost_within(idle: Duration) -> bool {
    LAST_LOSS.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last.elapsed() <= idle)
}
