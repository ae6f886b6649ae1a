//! The instant of the last loss of a connection.
//!
//! Connections are usually lost together, by a restart of the database or a network failure. After a loss every
//! connection whose last use was earlier is pinged before its next use. So one request fails, not one per connection.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Shared by all pools of the process, which use the same database.
static LAST_LOSS: Mutex<Option<Instant>> = Mutex::new(None);

/// Records that a connection was lost now.
pub(super) fn record() {
    *LAST_LOSS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Whether a connection was lost within the last `idle`.
pub(super) fn lost_within(idle: Duration) -> bool {
    LAST_LOSS.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last.elapsed() <= idle)
}
