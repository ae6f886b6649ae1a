//! How many wrong passwords an account takes, from wherever they come.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use crate::{application::error::AppError, domain::clock::Instant};

/// Counts failed logins by address of account, whether there is such an account or not.
///
/// A count falls evenly, by the limit in an hour, and nobody is let try while it is at the limit. Those who try at the
/// same time may take it beyond: they pay by a longer wait. Each instance counts by itself. Not a rate limiter of the
/// common kind: those count the attempt, and can't take it back when the password was right.
pub(super) struct Guesses {
    /// An hour; 0 for any number.
    limit: u32,
    /// By hash: an address that somebody made up may be long, and isn't kept.
    failures: Mutex<HashMap<[u8; 32], Failures>>,
}

/// As of an instant.
#[derive(Clone, Copy)]
struct Failures {
    /// The time it takes until all are forgotten.
    debt: TimeDelta,
    at: Instant,
}

impl Failures {
    fn debt(self, now: Instant) -> TimeDelta {
        // A clock that was set back forgives nothing, and adds nothing.
        (self.debt - (now - self.at).max(TimeDelta::zero())).max(TimeDelta::zero())
    }
}

impl Guesses {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, failures: Mutex::default() }
    }

    /// Refuses another try at an account that has taken too many.
    pub(super) fn check(&self, email_key: &str, now: Instant) -> Result<(), AppError> {
        let Some(each) = self.each() else { return Ok(()) };
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let debt = failures.get(&digest(email_key)).map_or(TimeDelta::zero(), |failures| failures.debt(now));
        let excess = debt + each - TimeDelta::hours(1);
        if excess <= TimeDelta::zero() {
            return Ok(());
        }
        let seconds = u64::try_from(excess.num_milliseconds()).unwrap_or(0).div_ceil(1_000).max(1);
        Err(AppError::TooOften { retry_after_seconds: u32::try_from(seconds).unwrap_or(u32::MAX) })
    }

    /// Notes a wrong password.
    pub(super) fn note(&self, email_key: &str, now: Instant) {
        let Some(each) = self.each() else { return };
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = failures.entry(digest(email_key)).or_insert(Failures { debt: TimeDelta::zero(), at: now });
        *entry = Failures { debt: entry.debt(now) + each, at: now.max(entry.at) };
    }

    /// Forgets accounts that have been left in peace: to be called every few seconds.
    pub(super) fn forget(&self, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, failures| failures.debt(now) > TimeDelta::zero());
    }

    /// How long one failure counts.
    fn each(&self) -> Option<TimeDelta> {
        TimeDelta::hours(1).checked_div(i32::try_from(self.limit).unwrap_or(i32::MAX))
    }
}

fn digest(email_key: &str) -> [u8; 32] {
    Sha256::digest(email_key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(guesses: &Guesses, now: Instant) -> u32 {
        match guesses.check("a", now) {
            Ok(()) => 0,
            Err(AppError::TooOften { retry_after_seconds }) => retry_after_seconds,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_account_takes_so_many_wrong_passwords_and_then_one_at_a_time() {
        let guesses = Guesses::new(4);
        let start = Instant::default();
        for _ in 0..4 {
            assert_eq!(wait(&guesses, start), 0);
            guesses.note("a", start);
        }
        assert_eq!(wait(&guesses, start), 15 * 60);
        assert!(guesses.check("b", start).is_ok(), "another account");
        let later = start + TimeDelta::minutes(15);
        assert_eq!(wait(&guesses, later - TimeDelta::milliseconds(1)), 1);
        assert_eq!(wait(&guesses, later), 0);
        guesses.note("a", later);
        assert_eq!(wait(&guesses, later), 15 * 60);
    }

    #[test]
    fn who_guesses_many_at_once_waits_the_longer() {
        let guesses = Guesses::new(4);
        let start = Instant::default();
        for _ in 0..8 {
            guesses.note("a", start);
        }
        assert_eq!(wait(&guesses, start), 75 * 60);
    }

    #[test]
    fn an_account_left_in_peace_takes_no_memory_and_no_limit_none_at_all() {
        let guesses = Guesses::new(2);
        let start = Instant::default();
        guesses.note("a", start);
        guesses.forget(start + TimeDelta::minutes(29));
        assert_eq!(guesses.failures.lock().unwrap().len(), 1);
        guesses.forget(start + TimeDelta::minutes(30));
        assert_eq!(guesses.failures.lock().unwrap().len(), 0);
        let off = Guesses::new(0);
        off.note("a", start);
        assert_eq!(off.failures.lock().unwrap().len(), 0);
        assert_eq!(wait(&off, start), 0);
    }
}
