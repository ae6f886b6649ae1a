//! How often one user or one address may do what is dear or scarce.
//!
//! Each limit is a bucket (GCRA) that holds a minute's worth and is filled evenly. The buckets are this instance's own:
//! with several instances behind a proxy each allows its share of what is set. A handler states that it is limited by
//! taking a [`RateLimited`]; the answer tells the limits in the fields of draft-ietf-httpapi-ratelimit-headers-10, whether
//! they were kept or not.

use std::{fmt::Write, hash::Hash, marker::PhantomData, net::IpAddr, num::NonZeroU32, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::StateInformationMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};

use super::{
    address::ClientNetwork,
    auth::Caller,
    context::RequestContext,
    problem::{Code, Problem},
    state::App,
};
use crate::domain::{clock::Clock, id::UserId};

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How many a minute; 0 for any number.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitSettings {
    /// Sign-ups from one address.
    pub sign_ups_per_address: u32,
    /// Logins from one address, failed ones included.
    pub logins_per_address: u32,
    /// Exchanges of refresh tokens from one address.
    pub refreshes_per_address: u32,
    /// Requests to join a queue from one address.
    pub joins_per_address: u32,
    /// Requests to join a queue of one user.
    pub joins_per_user: u32,
    /// Requests to hold seats from one address.
    pub holds_per_address: u32,
    /// Requests to hold seats of one user.
    pub holds_per_user: u32,
}

/// Every limit.
pub struct RateLimits {
    sign_up: Limits,
    log_in: Limits,
    refresh: Limits,
    join: Limits,
    hold: Limits,
}

impl RateLimits {
    /// Nobody has done anything yet.
    pub fn new(settings: RateLimitSettings, clock: &Arc<dyn Clock>) -> Self {
        let by_address = |name, limit| Limits { by_address: Limit::new(name, limit, clock), by_user: None };
        Self {
            sign_up: by_address("sign-ups-per-address", settings.sign_ups_per_address),
            log_in: by_address("logins-per-address", settings.logins_per_address),
            refresh: by_address("refreshes-per-address", settings.refreshes_per_address),
            join: Limits {
                by_user: Limit::new("joins-per-user", settings.joins_per_user, clock),
                ..by_address("joins-per-address", settings.joins_per_address)
            },
            hold: Limits {
                by_user: Limit::new("holds-per-user", settings.holds_per_user, clock),
                ..by_address("holds-per-address", settings.holds_per_address)
            },
        }
    }

    /// Forgets whose buckets are full again: to be called every few seconds, so that memory is bounded by what can
    /// come in meanwhile.
    pub fn forget_idle(&self) {
        for limits in [&self.sign_up, &self.log_in, &self.refresh, &self.join, &self.hold] {
            limits.by_address.iter().for_each(Limit::forget_idle);
            limits.by_user.iter().for_each(Limit::forget_idle);
        }
    }
}

/// The limits of one action.
struct Limits {
    by_address: Option<Limit<IpAddr>>,
    by_user: Option<Limit<UserId>>,
}

/// One limit, for everybody by key.
struct Limit<K: Hash + Eq + Clone> {
    name: &'static str,
    per_minute: NonZeroU32,
    buckets: RateLimiter<K, DashMapStateStore<K>, GovernorClock, StateInformationMiddleware>,
}

/// Business time, as the buckets count it.
#[derive(Clone)]
struct GovernorClock(Arc<dyn Clock>);

impl governor::clock::Clock for GovernorClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(u64::try_from(self.0.now().timestamp_micros()).unwrap_or(0) * 1_000)
    }
}

/// What is left of one limit.
struct LimitState {
    name: &'static str,
    per_minute: u32,
    remaining: u32,
    /// When there is one again, if none is left for this request.
    wait_seconds: Option<u32>,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// None for a limit that is off.
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
                // Rounded up: who comes when told isn't turned away again.
                (0, Some(u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1)))
            }
        };
        LimitState { name: self.name, per_minute: self.per_minute.get(), remaining, wait_seconds }
    }

    fn forget_idle(&self) {
        self.buckets.retain_recent();
    }
}

/// Something that is limited.
pub trait Action: Send {
    #[expect(private_interfaces, reason = "handlers name actions, this file alone knows their limits")]
    /// Its limits.
    fn limits(all: &RateLimits) -> &Limits;
}

macro_rules! actions {
    ($($(#[$doc:meta])+ $action:ident: $field:ident;)+) => {
        $($(#[$doc])+
        pub struct $action;

        impl Action for $action {
            #[expect(private_interfaces, reason = "as above")]
            fn limits(all: &RateLimits) -> &Limits {
                &all.$field
            }
        })+
    };
}

actions! {
    /// Making an account.
    SignUp: sign_up;
    /// Beginning a login.
    LogIn: log_in;
    /// Exchanging a refresh token.
    Refresh: refresh;
    /// Joining a queue.
    Join: join;
    /// Holding seats.
    Hold: hold;
}

/// Proof that the request is within the limits of an action, and has been counted.
///
/// It comes after the access token and before the body: a request that isn't let in costs no reading.
pub struct RateLimited<A>(PhantomData<A>);

impl<A: Action> FromRequestParts<App> for RateLimited<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let limits = A::limits(&app.rate_limits);
        let mut states = Vec::new();
        if let Some(limit) = &limits.by_address {
            states.push(limit.take(&ClientNetwork::of(parts, app).0));
        }
        // Who is turned away for the address isn't counted for the user.
        let is_permitted = states.iter().all(|state| state.wait_seconds.is_none());
        if let (true, Some(limit)) = (is_permitted, &limits.by_user) {
            states.push(limit.take(&Caller::from_request_parts(parts, app).await?.user_id));
        }
        if let Some(context) = parts.extensions.get::<RequestContext>() {
            let _ = context.rate_limits.set(rate_limit_headers(&states));
        }
        let exceeded = states.iter().find_map(|state| Some((state.name, state.wait_seconds?)));
        match exceeded {
            None => Ok(Self(PhantomData)),
            Some((limit, seconds)) => {
                metrics::counter!("http_rate_limited_total", "limit" => limit).increment(1);
                Err(Problem::rate_limited(seconds).with_member("limit", limit.into()))
            }
        }
    }
}

/// `RateLimit-Policy` and `RateLimit`, one item a limit.
fn rate_limit_headers(states: &[LimitState]) -> HeaderMap {
    let (mut policy, mut rate) = (String::new(), String::new());
    for LimitState { name, per_minute, remaining, wait_seconds } in states {
        let comma = if policy.is_empty() { "" } else { ", " };
        // Writing to a string doesn't fail.
        let _ = write!(policy, "{comma}\"{name}\";q={per_minute};w=60");
        let _ = write!(rate, "{comma}\"{name}\";r={remaining}");
        if let Some(seconds) = wait_seconds {
            let _ = write!(rate, ";t={seconds}");
        }
    }
    let fields = [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, rate)];
    let written = fields.into_iter().filter(|(_, value)| !value.is_empty());
    written.filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))).collect()
}

impl Problem {
    /// Too often; `seconds` from now it would be let in.
    pub fn rate_limited(seconds: u32) -> Self {
        let detail = format!("This was asked for too often: try again in {seconds} s.");
        Self::new(Code::RATE_LIMITED, detail).with_header(axum::http::header::RETRY_AFTER, seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::clock::ManualClock;

    #[test]
    fn a_minutes_worth_at_once_then_an_even_rate() {
        let clock = Arc::new(ManualClock::at("2026-11-20T08:00:00Z".parse().unwrap()));
        let shared: Arc<dyn Clock> = clock.clone();
        let limit = Limit::new("x", 6, &shared).unwrap();
        let taken: Vec<_> = (0..7).map(|_| limit.take(&1)).map(|taken| (taken.remaining, taken.wait_seconds)).collect();
        assert_eq!(taken, [(5, None), (4, None), (3, None), (2, None), (1, None), (0, None), (0, Some(10))]);
        assert_eq!(limit.take(&2).remaining, 5, "everybody has a bucket of their own");
        clock.advance(TimeDelta::milliseconds(9_999));
        assert_eq!(limit.take(&1).wait_seconds, Some(1));
        clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(limit.take(&1).wait_seconds, None);
        assert_eq!(limit.take(&1).wait_seconds, Some(10));
    }

    #[test]
    fn a_bucket_that_is_full_again_takes_no_memory() {
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
        assert_eq!(limit.buckets.len(), 1, "of those who came lately");
    }

    #[test]
    fn a_limit_of_none_is_no_limit() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at("2026-11-20T08:00:00Z".parse().unwrap()));
        assert!(Limit::<u8>::new("x", 0, &clock).is_none());
        assert!(rate_limit_headers(&[]).is_empty());
    }
}
