//! Rate limits: the most actions of one address or one user per minute.
//!
//! Each limit is a token bucket (GCRA) per key, which holds a minute's worth and fills evenly. The buckets are local to
//! the instance: with several instances behind a proxy, each permits the configured rate.

use std::{hash::Hash, net::IpAddr, num::NonZeroU32, sync::Arc};

use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::StateInformationMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};

use crate::domain::{clock::Clock, id::UserId};

/// A limit of one kind of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// Accounts created from one address.
    SignUpsPerAddress,
    /// Logins from one address, failed ones included.
    LoginsPerAddress,
    /// Exchanges of refresh tokens from one address.
    RefreshesPerAddress,
    /// Requests from one address that mail a code or try one.
    CodesPerAddress,
    /// Requests to join a queue from one address.
    JoinsPerAddress,
    /// Requests of one user to join a queue.
    JoinsPerUser,
    /// Requests to hold seats from one address.
    HoldsPerAddress,
    /// Requests of one user to hold seats.
    HoldsPerUser,
}

impl RateLimit {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::SignUpsPerAddress,
        Self::LoginsPerAddress,
        Self::RefreshesPerAddress,
        Self::CodesPerAddress,
        Self::JoinsPerAddress,
        Self::JoinsPerUser,
        Self::HoldsPerAddress,
        Self::HoldsPerUser,
    ];

    /// The name in headers, problems and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignUpsPerAddress => "sign-ups-per-address",
            Self::LoginsPerAddress => "logins-per-address",
            Self::RefreshesPerAddress => "refreshes-per-address",
            Self::CodesPerAddress => "codes-per-address",
            Self::JoinsPerAddress => "joins-per-address",
            Self::JoinsPerUser => "joins-per-user",
            Self::HoldsPerAddress => "holds-per-address",
            Self::HoldsPerUser => "holds-per-user",
        }
    }
}

/// The actions per minute that each limit permits; 0 disables a limit.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitSettings([u32; RateLimit::ALL.len()]);

impl RateLimitSettings {
    /// Calls `per_minute` for each limit's actions per minute.
    pub fn new(per_minute: impl FnMut(RateLimit) -> u32) -> Self {
        Self(RateLimit::ALL.map(per_minute))
    }
}

/// The buckets of every enabled limit.
pub struct RateLimits([Option<Limit<LimitKey>>; RateLimit::ALL.len()]);

impl RateLimits {
    /// Starts with full buckets.
    pub fn new(settings: RateLimitSettings, clock: &Arc<dyn Clock>) -> Self {
        let RateLimitSettings(per_minute) = settings;
        Self(RateLimit::ALL.map(|limit| Limit::new(limit.name(), per_minute[limit as usize], clock)))
    }

    /// Whether the limit is enabled.
    pub(crate) fn is_set(&self, limit: RateLimit) -> bool {
        self.0[limit as usize].is_some()
    }

    /// Takes one action from a key's bucket; `None` if the limit is disabled.
    pub(crate) fn take(&self, limit: RateLimit, key: &LimitKey) -> Option<LimitState> {
        self.0[limit as usize].as_ref().map(|limit| limit.take(key))
    }

    /// Removes full buckets. Calling it every few seconds bounds the memory by the keys that arrive in between.
    pub fn forget_idle(&self) {
        self.0.iter().flatten().for_each(Limit::forget_idle);
    }
}

/// The key of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LimitKey {
    /// A client network.
    Address(IpAddr),
    /// A user.
    User(UserId),
}

/// One limit, with a bucket per key.
struct Limit<K: Hash + Eq + Clone> {
    name: &'static str,
    per_minute: NonZeroU32,
    buckets: RateLimiter<K, DashMapStateStore<K>, GovernorClock, StateInformationMiddleware>,
}

/// The domain's clock, as governor reads it.
#[derive(Clone)]
struct GovernorClock(Arc<dyn Clock>);

impl governor::clock::Clock for GovernorClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(u64::try_from(self.0.now().timestamp_micros()).unwrap_or(0) * 1_000)
    }
}

/// The state of one limit for one key, after an action.
pub(crate) struct LimitState {
    pub(crate) name: &'static str,
    pub(crate) per_minute: u32,
    /// The actions that remain in the bucket.
    pub(crate) remaining: u32,
    /// The seconds until an action is permitted again, if this one is refused.
    pub(crate) wait_seconds: Option<u32>,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// `None` if `per_minute` is 0: the limit is disabled.
    fn new(name: &'static str, per_minute: u32, clock: &Arc<dyn Clock>) -> Option<Self> {
        let per_minute = NonZeroU32::new(per_minute)?;
        let buckets = RateLimiter::dashmap_with_clock(Quota::per_minute(per_minute), GovernorClock(Arc::clone(clock)))
            .with_middleware();
        Some(Self { name, per_minute, buckets })
    }

    fn take(&self, key: &K) -> LimitState {
        let (remaining, wait_seconds) = match self.buckets.check_key(key) {
            Ok(bucket) => (bucket.remaining_burst_capacity(), None),
            Err(bucket) => {
                let wait = bucket.wait_time_from(self.buckets.clock().now());
                // Rounded up, so that a client that waits for this time isn't refused again.
                (0, Some(u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1)))
            }
        };
        LimitState { name: self.name, per_minute: self.per_minute.get(), remaining, wait_seconds }
    }

    fn forget_idle(&self) {
        self.buckets.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::clock::ManualClock;

    #[test]
    fn a_bucket_permits_a_minutes_worth_at_once_and_then_an_even_rate() {
        let clock = Arc::new(ManualClock::at("2026-11-20T08:00:00Z".parse().unwrap()));
        let shared: Arc<dyn Clock> = clock.clone();
        let limit = Limit::new("x", 6, &shared).unwrap();
        let taken: Vec<_> = (0..7).map(|_| limit.take(&1)).map(|taken| (taken.remaining, taken.wait_seconds)).collect();
        assert_eq!(taken, [(5, None), (4, None), (3, None), (2, None), (1, None), (0, None), (0, Some(10))]);
        assert_eq!(limit.take(&2).remaining, 5, "each key has its own bucket");
        clock.advance(TimeDelta::milliseconds(9_999));
        assert_eq!(limit.take(&1).wait_seconds, Some(1));
        clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(limit.take(&1).wait_seconds, None);
        assert_eq!(limit.take(&1).wait_seconds, Some(10));
    }

    #[test]
    fn full_buckets_are_removed() {
        let clock = Arc::new(ManualClock::at("2026-11-20T08:00:00Z".parse().unwrap()));
        let shared: Arc<dyn Clock> = clock.clone();
        let limit = Limit::new("x", 60, &shared).unwrap();
        for key in 0..1_000 {
            limit.take(&key);
        }
        limit.forget_idle();
        assert_eq!(limit.buckets.len(), 1_000);
        clock.advance(TimeDelta::seconds(3));
        limit.take(&0);
        limit.forget_idle();
        assert_eq!(limit.buckets.len(), 1, "only the recent key's bucket is left");
    }

    #[test]
    fn a_limit_of_zero_is_switched_off() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at("2026-11-20T08:00:00Z".parse().unwrap()));
        assert!(Limit::<u8>::new("x", 0, &clock).is_none());
    }
}
