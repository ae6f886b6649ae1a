//! The intervals between polls, and the presence that follows from a poll.

use chrono::TimeDelta;

use super::{QueueMode, QueueSettings};
use crate::domain::{
    clock::Instant,
    randomness::{Randomness, below},
};

/// The longest interval between polls.
pub const MAX_POLL_SECONDS: u32 = 60;

/// The shortest one. Three times this is more than one instance's clock may differ from the database's.
const MIN_POLL_SECONDS: u32 = 2;

/// The shortest interval during a pause, when positions rarely change.
const PAUSED_POLL_SECONDS: u32 = 10;

/// The number of polls during the remaining wait at the configured rate.
const POLLS_PER_WAIT: u64 = 10;

/// A user is absent once this many intervals have passed without a poll.
const MISSED_POLLS_UNTIL_ABSENT: i64 = 3;

/// The fewest places in front of the head for which presence is stored: all of a small queue's.
const MIN_LOOKAHEAD: u32 = 1_000;

/// A rate of admission: at most `users` in any window of `seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionRate {
    /// The number of users; at least 1 in stored settings.
    pub users: u32,
    /// The length of the window in seconds; at least 1 in stored settings.
    pub seconds: u32,
}

/// The rate of admission that the settings allow. In mode `OPEN` it is the turnover when all active places are taken.
pub fn configured_rate(settings: &QueueSettings) -> AdmissionRate {
    let (users, seconds) = match settings.mode {
        QueueMode::Queue | QueueMode::Paused => (settings.admit_count, settings.admit_interval_seconds),
        QueueMode::Open => (settings.max_active, settings.active_seconds),
    };
    AdmissionRate { users, seconds }
}

/// The interval between polls at a position in seconds, before jitter. It grows with the position.
fn interval(settings: &QueueSettings, position: u32) -> u32 {
    let AdmissionRate { users, seconds } = configured_rate(settings);
    let wait = u64::from(position.saturating_sub(1)) * u64::from(seconds) / u64::from(users.max(1));
    let shortest = if settings.mode == QueueMode::Paused { PAUSED_POLL_SECONDS } else { MIN_POLL_SECONDS };
    u32::try_from(wait / POLLS_PER_WAIT).unwrap_or(u32::MAX).clamp(shortest, MAX_POLL_SECONDS)
}

/// Subtracts up to a quarter of an interval in seconds at random, so that users that joined together don't poll
/// together.
fn jittered(interval: u32, randomness: &dyn Randomness) -> u32 {
    let jitter = below(randomness, u64::from(interval / 4) + 1);
    interval - u32::try_from(jitter).unwrap_or(0)
}

/// The seconds until the next poll at this position. They are a tenth of the remaining wait at the configured rate,
/// between 2 and 60, minus up to a quarter.
///
/// A position with more than ten minutes to wait causes at most one request in 45 seconds. The requests of all nearer
/// positions together depend on the rate of admission, not on the length of the queue.
pub fn poll_after(settings: &QueueSettings, position: u32, randomness: &dyn Randomness) -> u32 {
    jittered(interval(settings, position), randomness)
}

/// The seconds until the next poll before the opening: 45 to 60. Close to the opening they end soon after it instead,
/// spread over 2 to 30 seconds by the number of waiting users.
pub fn poll_after_opening(
    settings: &QueueSettings,
    waiting_count: u32,
    now: Instant,
    randomness: &dyn Randomness,
) -> u32 {
    let spread = (waiting_count / 10_000).clamp(2, 30);
    let left = settings.sales_open_at.map_or(TimeDelta::zero(), |opening| opening - now).num_seconds().max(0);
    match u32::try_from(left).unwrap_or(u32::MAX).checked_add(1 + spread) {
        Some(latest) if latest <= MAX_POLL_SECONDS => {
            latest - u32::try_from(below(randomness, u64::from(spread))).unwrap_or(0)
        }
        _ => jittered(MAX_POLL_SECONDS, randomness),
    }
}

/// The number of places from the head within which presence is stored.
///
/// It is `admit_count × (⌈10 × 60 s / interval⌉ + 1)`, at least 1,000. At the configured rate a user who enters it
/// reaches the head after ten of the longest intervals at the earliest. This holds even if a whole window is admitted
/// at once.
///
/// So every user polls nine times within it, and three times if the head moves three times as fast because of absent
/// users. Up to ten times the rate, every user who polls at the recommended intervals polls within it before the head
/// arrives.
pub fn lookahead(settings: &QueueSettings) -> u32 {
    let AdmissionRate { users, seconds } = configured_rate(settings);
    let windows = (10 * MAX_POLL_SECONDS).div_ceil(seconds.max(1)) + 1;
    users.saturating_mul(windows).max(MIN_LOOKAHEAD)
}

/// The end of a user's presence after a poll at `now` whose response recommended the next one in `poll_after_seconds`.
pub fn present_until(now: Instant, poll_after_seconds: u32) -> Instant {
    now + TimeDelta::seconds(MISSED_POLLS_UNTIL_ABSENT * i64::from(poll_after_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source of bytes that are read as this number.
    struct FixedRandomness(u8);

    impl Randomness for FixedRandomness {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
            if let Some(first) = bytes.first_mut() {
                *first = self.0;
            }
        }
    }

    fn settings(mode: QueueMode, admit_count: u32, admit_interval_seconds: u32) -> QueueSettings {
        QueueSettings { mode, admit_count, admit_interval_seconds, ..QueueSettings::default() }
    }

    fn all_settings() -> Vec<QueueSettings> {
        let mut all = Vec::new();
        for mode in [QueueMode::Queue, QueueMode::Open, QueueMode::Paused] {
            for (count, seconds) in [(1, 1), (1, 3_600), (200, 10), (100_000, 1), (100_000, 3_600), (7, 11)] {
                all.push(settings(mode, count, seconds));
            }
        }
        all
    }

    #[test]
    fn the_poll_interval_grows_with_the_position_within_its_bounds() {
        for settings in all_settings() {
            let shortest = if settings.mode == QueueMode::Paused { 10 } else { 2 };
            let mut before = 0;
            for position in (0..40).map(|power| 1_u32.checked_shl(power).unwrap_or(u32::MAX)) {
                let longest = interval(&settings, position);
                assert!(longest >= before, "{settings:?} at {position}");
                before = longest;
                for chance in 0..=u8::MAX {
                    let interval = poll_after(&settings, position, &FixedRandomness(chance));
                    assert!(
                        interval <= longest && interval >= longest - longest / 4,
                        "{settings:?} at {position}: {interval}"
                    );
                    assert!(
                        (shortest - shortest / 4..=60).contains(&interval),
                        "{settings:?} at {position}: {interval}"
                    );
                }
            }
            assert_eq!(interval(&settings, 1), shortest);
        }
        assert_eq!(interval(&settings(QueueMode::Queue, 200, 10), u32::MAX), 60);
    }

    #[test]
    fn a_million_waiting_users_poll_at_a_bounded_rate() {
        let rate = |settings: &QueueSettings, shortest: bool| -> f64 {
            (1..=1_000_000)
                .map(|position| {
                    let longest = interval(settings, position);
                    let interval = if shortest { longest - longest / 4 } else { longest - longest / 8 };
                    1.0 / f64::from(interval)
                })
                .sum()
        };
        let default = QueueSettings::default();
        let (mean, most) = (rate(&default, false), rate(&default, true));
        println!("a million waiting, 200 admitted in 10 s: {mean:.0} requests a second, {most:.0} at most");
        // 1,000,000 / 45 from far positions, and 60 times the rate of 20 a second from near ones.
        assert!(most <= 1_000_000.0 / 45.0 + 60.0 * 20.0, "{most}");
        assert!(mean <= 1_000_000.0 / 52.0 + 60.0 * 20.0, "{mean}");
    }

    #[test]
    fn a_user_polls_three_times_within_the_lookahead() {
        for settings in all_settings() {
            let AdmissionRate { users, seconds } = configured_rate(&settings);
            let mut distance = lookahead(&settings);
            // The previous poll was just outside of the lookahead, and a whole window is admitted at once.
            let mut next_poll = interval(&settings, distance + 1);
            let (mut polls, mut now) = (0, 0);
            while distance > 0 && polls < 3 {
                distance = distance.saturating_sub(users);
                now += seconds;
                while next_poll < now && distance > 0 {
                    polls += 1;
                    next_poll += interval(&settings, distance);
                }
            }
            assert!(polls >= 3, "{settings:?}: {polls}");
        }
    }

    #[test]
    fn before_the_opening_the_last_poll_comes_soon_after_it() {
        let now = Instant::default();
        let opening = |seconds| QueueSettings {
            sales_open_at: Some(now + TimeDelta::seconds(seconds)),
            ..QueueSettings::default()
        };
        for chance in 0..=u8::MAX {
            let seconds_to_poll = |seconds, waiting_count| {
                poll_after_opening(&opening(seconds), waiting_count, now, &FixedRandomness(chance))
            };
            assert!((45..=60).contains(&seconds_to_poll(3_600, 10)));
            assert!((45..=60).contains(&seconds_to_poll(40, 1_000_000)));
            assert!((42..=43).contains(&seconds_to_poll(40, 10)));
            assert!((11..=40).contains(&seconds_to_poll(9, 1_000_000)));
        }
        assert_eq!(present_until(now, 7), now + TimeDelta::seconds(21));
    }
}
