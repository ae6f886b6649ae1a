//! Where business time comes from.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// An instant of business time: UTC, whole microseconds, as the database keeps it.
pub type Instant = DateTime<Utc>;

/// Tells the time.
///
/// Deadlines are exclusive everywhere: something is alive while `now < deadline`.
pub trait Clock: Send + Sync {
    /// The present instant, in whole microseconds.
    fn now(&self) -> Instant;
}

/// A clock that stands still until it is told to move: every test's.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `instant`.
    pub fn at(instant: Instant) -> Self {
        Self(AtomicI64::new(instant.timestamp_micros()))
    }

    /// Moves on by `delta` (back, when it is negative).
    pub fn advance(&self, delta: TimeDelta) {
        let micros = delta.num_microseconds().unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

/// Whole seconds left until a deadline, rounded down, never negative.
pub fn seconds_left(now: Instant, deadline: Instant) -> i64 {
    (deadline - now).num_seconds().max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_left_round_down_and_stop_at_zero() {
        let now = Instant::default();
        assert_eq!(seconds_left(now, now + TimeDelta::milliseconds(1_999)), 1);
        assert_eq!(seconds_left(now, now - TimeDelta::milliseconds(1)), 0);
    }
}
