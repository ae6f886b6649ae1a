//! Login throttling: the limit of wrong passwords for an account, from any client address.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use crate::{application::error::AppError, domain::clock::Instant};

/// The longest time for which failures count. It is also the longest delay of the next attempt.
const WINDOW: TimeDelta = TimeDelta::hours(1);

/// Counts failed logins by credential: an e-mail address with the password hash that the attempts are verified against.
///
/// An attempt is counted before its password is hashed, and no longer counted unless the password is wrong. So
/// concurrent attempts are all counted, and the penalty of an account never exceeds an hour. The count decreases
/// evenly, by `limit` per hour. A new password hash starts a new count on every instance. Each instance counts
/// separately.
pub(super) struct FailedLoginLimiter {
    /// The most failures per hour; 0 for no limit.
    limit: u32,
    /// By the digest of the credential, because an address from a client may be long.
    penalties: Mutex<HashMap<Credential, Penalty>>,
}

type Credential = [u8; 32];

/// The penalty of a credential as of an instant.
#[derive(Clone, Copy)]
struct Penalty {
    /// The time until no failure counts any more.
    left: TimeDelta,
    at: Instant,
}

impl Penalty {
    fn left(self, now: Instant) -> TimeDelta {
        // A clock that was set back doesn't change the penalty.
        (self.left - (now - self.at).max(TimeDelta::zero())).max(TimeDelta::zero())
    }
}

/// An attempt that counts as failed until it is dropped. After [`fail`](Self::fail) it stays counted.
#[must_use = "a dropped attempt isn't counted"]
pub(super) struct Attempt<'a> {
    limiter: &'a FailedLoginLimiter,
    /// `None` without a limit.
    reserved: Option<(Credential, TimeDelta)>,
}

impl Attempt<'_> {
    /// Keeps the attempt counted.
    pub(super) fn fail(mut self) {
        self.reserved = None;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Some((credential, penalty_per_failure)) = self.reserved else { return };
        if let Some(penalty) = self.limiter.lock().get_mut(&credential) {
            penalty.left -= penalty_per_failure;
        }
    }
}

impl FailedLoginLimiter {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, penalties: Mutex::default() }
    }

    /// Counts an attempt. [`AppError::TooOften`] if the credential has reached its limit of failures.
    pub(super) fn reserve(
        &self,
        email_key: &str,
        password_hash: Option<&str>,
        now: Instant,
    ) -> Result<Attempt<'_>, AppError> {
        let Some(penalty_per_failure) = self.penalty_per_failure() else {
            return Ok(Attempt { limiter: self, reserved: None });
        };
        let credential = digest(email_key, password_hash);
        let mut penalties = self.lock();
        let penalty = penalties.entry(credential).or_insert(Penalty { left: TimeDelta::zero(), at: now });
        let excess = penalty.left(now) + penalty_per_failure - WINDOW;
        if excess > TimeDelta::zero() {
            let seconds = u64::try_from(excess.num_milliseconds()).unwrap_or(0).div_ceil(1_000).max(1);
            return Err(AppError::TooOften { retry_after_seconds: u32::try_from(seconds).unwrap_or(u32::MAX) });
        }
        *penalty = Penalty { left: penalty.left(now) + penalty_per_failure, at: now.max(penalty.at) };
        Ok(Attempt { limiter: self, reserved: Some((credential, penalty_per_failure)) })
    }

    /// Removes credentials without a penalty. A job calls it every few seconds.
    pub(super) fn remove_expired(&self, now: Instant) {
        self.lock().retain(|_, penalty| penalty.left(now) > TimeDelta::zero());
    }

    /// The time for which one failure counts; `None` without a limit.
    fn penalty_per_failure(&self) -> Option<TimeDelta> {
        WINDOW.checked_div(i32::try_from(self.limit).unwrap_or(i32::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Credential, Penalty>> {
        self.penalties.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(email_key: &str, password_hash: Option<&str>) -> Credential {
    // No address contains the separator.
    Sha256::new().chain_update(email_key).chain_update("\n").chain_update(password_hash.unwrap_or("")).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Option<&str> = Some("a hash");

    /// The delay of the next attempt, in seconds. The attempt isn't counted.
    fn wait(limiter: &FailedLoginLimiter, now: Instant) -> u32 {
        match limiter.reserve("a", HASH, now) {
            Ok(_) => 0,
            Err(AppError::TooOften { retry_after_seconds }) => retry_after_seconds,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_account_accepts_the_limit_of_wrong_passwords_and_then_one_at_a_time() {
        let limiter = FailedLoginLimiter::new(4);
        let start = Instant::default();
        for _ in 0..4 {
            limiter.reserve("a", HASH, start).unwrap().fail();
        }
        assert_eq!(wait(&limiter, start), 15 * 60);
        assert!(limiter.reserve("b", HASH, start).is_ok(), "another account");
        assert!(limiter.reserve("a", Some("another hash"), start).is_ok(), "another password");
        let later = start + TimeDelta::minutes(15);
        assert_eq!(wait(&limiter, later - TimeDelta::milliseconds(1)), 1);
        assert_eq!(wait(&limiter, later), 0);
        limiter.reserve("a", HASH, later).unwrap().fail();
        assert_eq!(wait(&limiter, later), 15 * 60);
    }

    #[test]
    fn concurrent_attempts_are_counted_before_they_are_verified() {
        let limiter = FailedLoginLimiter::new(4);
        let start = Instant::default();
        let mut attempts: Vec<_> = (0..4).map(|_| limiter.reserve("a", HASH, start).unwrap()).collect();
        assert_eq!(wait(&limiter, start), 15 * 60);
        // This one had the right password, or its request was dropped.
        drop(attempts.pop());
        assert_eq!(wait(&limiter, start), 0);
        for attempt in attempts {
            attempt.fail();
        }
        limiter.reserve("a", HASH, start).unwrap().fail();
        assert_eq!(wait(&limiter, start), 15 * 60, "an hour in all");
    }

    #[test]
    fn an_account_without_failures_takes_no_memory() {
        let limiter = FailedLoginLimiter::new(2);
        let start = Instant::default();
        limiter.reserve("a", HASH, start).unwrap().fail();
        drop(limiter.reserve("b", HASH, start).unwrap());
        limiter.remove_expired(start + TimeDelta::minutes(29));
        assert_eq!(limiter.lock().len(), 1);
        limiter.remove_expired(start + TimeDelta::minutes(30));
        assert_eq!(limiter.lock().len(), 0);
        let off = FailedLoginLimiter::new(0);
        off.reserve("a", HASH, start).unwrap().fail();
        assert_eq!(off.lock().len(), 0);
        assert_eq!(wait(&off, start), 0);
    }
}
