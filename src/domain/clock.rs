//! Where business time comes from.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant as Stopwatch,
};

use chrono::{DateTime, TimeDelta, Utc};

/// An instant of business time: UTC, whole microseconds, as the database keeps it.
pub type Instant = DateTime<Utc>;

/// Tells the time.
///
/// Deadlines are exclusive everywhere: something is alive while `now < deadline`.
pub trait Clock: Send + Sync {
    /// The present instant, in whole microseconds.
    fn now(&self) -> Instant;

    /// Whether it is to agree with the database's clock. One that a test sets doesn't.
    fn is_wall_clock(&self) -> bool {
        true
    }
}

/// Compares this instance's clock with the database's.
///
/// Between two readings the database's time is told by the machine's monotonic clock: so a clock that was set is found
/// out at once, and not at the next reading.
pub struct ClockCheck {
    clock: Arc<dyn Clock>,
    reading: Mutex<Option<(Instant, Stopwatch)>>,
}

impl ClockCheck {
    /// Checks this clock. Until the first [reading](Self::record_reading) it counts as right.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, reading: Mutex::new(None) }
    }

    /// Takes note that the database's clock showed this at `read_at`.
    pub fn record_reading(&self, database: Instant, read_at: Stopwatch) {
        if self.clock.is_wall_clock() {
            *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some((database, read_at));
        }
    }

    /// How far the clock is ahead of the database's, behind it where negative; `None` before the first reading.
    pub fn lead(&self) -> Option<TimeDelta> {
        let (database, read_at) = (*self.reading.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = TimeDelta::from_std(read_at.elapsed()).unwrap_or(TimeDelta::MAX);
        Some(self.clock.now() - database.checked_add_signed(since)?)
    }

    /// Whether the clock is near enough to the database's to decide anything by it.
    pub fn is_right(&self) -> bool {
        self.lead().is_none_or(|lead| lead.abs() <= CLOCK_TOLERANCE)
    }
}

impl std::fmt::Debug for ClockCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClockCheck").field("lead", &self.lead()).finish()
    }
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

    fn is_wall_clock(&self) -> bool {
        false
    }
}

/// How far the clock of an instance that decides anything may be from the database's.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// The instant of a decision that follows one made at `earlier`: never before it, so that decisions under one lock are
/// in the order of their instants, whichever instance makes them.
///
/// Two instances that decide differ by twice the [tolerance](CLOCK_TOLERANCE) at most. A wrong clock wrote what is further
/// ahead: it moves a decision by so much and no more.
pub fn not_before(now: Instant, earlier: Instant) -> Instant {
    now.max(earlier.min(now + CLOCK_TOLERANCE * 2))
}

/// Whole seconds left until a deadline, rounded down, never negative.
pub fn seconds_left(now: Instant, deadline: Instant) -> i64 {
    (deadline - now).num_seconds().max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FarClock(TimeDelta);

    impl Clock for FarClock {
        fn now(&self) -> Instant {
            Instant::default() + self.0
        }
    }

    #[test]
    fn a_clock_is_right_within_five_seconds_of_the_databases() {
        for (ahead, is_right) in [(-5_001, false), (-4_000, true), (4_999, true), (5_999, false)] {
            let check = ClockCheck::new(Arc::new(FarClock(TimeDelta::milliseconds(ahead))));
            assert!(check.is_right(), "nothing is known yet");
            check.record_reading(Instant::default(), Stopwatch::now());
            assert_eq!(check.is_right(), is_right, "{ahead} ms ahead");
        }
        let check = ClockCheck::new(Arc::new(ManualClock::at(Instant::default() + TimeDelta::days(9))));
        check.record_reading(Instant::default(), Stopwatch::now());
        assert!(check.is_right(), "a test's clock is compared with nothing");
    }

    #[test]
    fn a_decision_follows_the_one_before_unless_that_is_too_far_ahead() {
        let now = Instant::default();
        let seconds = |seconds| now + TimeDelta::seconds(seconds);
        assert_eq!(not_before(now, seconds(-3)), now);
        assert_eq!(not_before(now, seconds(3)), seconds(3));
        assert_eq!(not_before(now, seconds(3_600)), seconds(10));
    }

    #[test]
    fn seconds_left_round_down_and_stop_at_zero() {
        let now = Instant::default();
        assert_eq!(seconds_left(now, now + TimeDelta::milliseconds(1_999)), 1);
        assert_eq!(seconds_left(now, now - TimeDelta::milliseconds(1)), 0);
    }
}
