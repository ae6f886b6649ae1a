//! Business time: the clock port, its comparison with the database's clock, and the order of decisions.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant as Stopwatch,
};

use chrono::{DateTime, TimeDelta, Utc};

/// An instant of business time: UTC, in whole microseconds, the precision of the database.
pub type Instant = DateTime<Utc>;

/// The port of the current time.
///
/// Deadlines are exclusive: a hold, token or lease is alive while `now < deadline`.
pub trait Clock: Send + Sync {
    /// The current instant, in whole microseconds.
    fn now(&self) -> Instant;

    /// Whether this clock is compared with the database's clock. A clock that a test sets isn't.
    fn is_wall_clock(&self) -> bool {
        true
    }
}

/// Compares this instance's clock with the database's clock.
///
/// Between two readings the machine's monotonic clock extrapolates the database's time. A change of the system clock is
/// therefore detected at once, and not at the next reading.
pub struct ClockCheck {
    clock: Arc<dyn Clock>,
    reading: Mutex<Option<(Instant, Stopwatch)>>,
}

impl ClockCheck {
    /// Starts without a reading: until the first [reading](Self::record_reading) the clock counts as right. A server
    /// begins to serve after it, unless the database is away.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, reading: Mutex::new(None) }
    }

    /// Records that the database's clock showed `database` at `read_at`.
    pub fn record_reading(&self, database: Instant, read_at: Stopwatch) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some((database, read_at));
    }

    /// Whether the database's clock was read.
    pub fn has_reading(&self) -> bool {
        self.reading().is_some()
    }

    fn reading(&self) -> Option<(Instant, Stopwatch)> {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The difference between this clock and the database's: positive if this clock is ahead. `None` before the first
    /// reading, and for a clock that isn't compared.
    pub fn lead(&self) -> Option<TimeDelta> {
        let (database, read_at) = self.reading().filter(|_| self.clock.is_wall_clock())?;
        let since = TimeDelta::from_std(read_at.elapsed()).unwrap_or(TimeDelta::MAX);
        Some(self.clock.now() - database.checked_add_signed(since)?)
    }

    /// Whether the difference is within [`CLOCK_TOLERANCE`], so that this instance may decide.
    pub fn is_right(&self) -> bool {
        self.lead().is_none_or(|lead| lead.abs() <= CLOCK_TOLERANCE)
    }
}

impl std::fmt::Debug for ClockCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClockCheck").field("lead", &self.lead()).finish()
    }
}

/// A clock for tests: its time changes only when a test advances it.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `instant`.
    pub fn at(instant: Instant) -> Self {
        Self(AtomicI64::new(instant.timestamp_micros()))
    }

    /// Moves the clock by `delta`: forwards if it is positive, else backwards.
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

/// The largest difference from the database's clock, either way, with which an instance still decides: five seconds.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// The instant of a decision at `now` that follows one made at `earlier`: the later of both. Decisions under one lock
/// are therefore in the order of their instants, even if different instances make them.
///
/// Two deciding instances differ by at most twice the [tolerance](CLOCK_TOLERANCE). An `earlier` further ahead comes
/// from a wrong clock: then the decision is later than `now` by twice the tolerance, and before `earlier`.
pub fn not_before(now: Instant, earlier: Instant) -> Instant {
    now.max(earlier.min(now + CLOCK_TOLERANCE * 2))
}

/// The whole seconds until a deadline, rounded down; 0 once it has passed.
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
    fn a_clock_is_right_within_five_seconds_of_the_databases_clock() {
        for (ahead, is_right) in [(-5_001, false), (-4_000, true), (4_999, true), (5_999, false)] {
            let check = ClockCheck::new(Arc::new(FarClock(TimeDelta::milliseconds(ahead))));
            assert!(check.is_right(), "without a reading");
            check.record_reading(Instant::default(), Stopwatch::now());
            assert_eq!(check.is_right(), is_right, "{ahead} ms ahead");
        }
        let check = ClockCheck::new(Arc::new(ManualClock::at(Instant::default() + TimeDelta::days(9))));
        check.record_reading(Instant::default(), Stopwatch::now());
        assert!(check.is_right(), "a manual clock isn't compared");
    }

    #[test]
    fn a_decision_is_not_before_an_earlier_one_within_the_tolerance() {
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
