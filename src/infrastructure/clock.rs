//! The system's clock.

use chrono::{DateTime, Utc};

use crate::domain::clock::{Clock, Instant};

/// The machine's time, truncated to microseconds.
///
/// The database stores microseconds, so a value that is read back equals the value written.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port's one real adapter")]
    fn now(&self) -> Instant {
        DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap_or_default()
    }
}
