//! The pauses of the relay's loops.

use std::time::Duration;

/// The interval at which a loop polls for events of other instances, and for deliveries that are due again.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The pause after another failure: twice the last pause, at most [`MAX_PAUSE`].
pub(super) fn after_failure(last: Duration) -> Duration {
    (last * 2).min(MAX_PAUSE)
}
