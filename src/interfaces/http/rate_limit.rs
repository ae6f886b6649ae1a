//! The extractor by which a handler states that its action is rate limited.
//!
//! The response carries the limits in the headers of draft-ietf-httpapi-ratelimit-headers-10, also when none is
//! exceeded.

use std::{fmt::Write, marker::PhantomData};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};

use super::{
    auth::Caller,
    client_network::ClientNetwork,
    context::RequestContext,
    limits::rate::{LimitKey, LimitState, RateLimit},
    problem::Problem,
    state::App,
};

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// An action that is rate limited.
pub trait LimitedAction: Send {
    /// The limit per client network.
    const PER_ADDRESS: RateLimit;
    /// The limit per user, for an action that needs an access token.
    const PER_USER: Option<RateLimit> = None;
}

/// Creating an account.
#[derive(Debug)]
pub struct SignUp;

impl LimitedAction for SignUp {
    const PER_ADDRESS: RateLimit = RateLimit::SignUpsPerAddress;
}

/// Logging in.
#[derive(Debug)]
pub struct LogIn;

impl LimitedAction for LogIn {
    const PER_ADDRESS: RateLimit = RateLimit::LoginsPerAddress;
}

/// Exchanging a refresh token.
#[derive(Debug)]
pub struct Refresh;

impl LimitedAction for Refresh {
    const PER_ADDRESS: RateLimit = RateLimit::RefreshesPerAddress;
}

/// Requesting or trying a mailed code.
#[derive(Debug)]
pub struct UseCode;

impl LimitedAction for UseCode {
    const PER_ADDRESS: RateLimit = RateLimit::CodesPerAddress;
}

/// Joining a queue.
#[derive(Debug)]
pub struct Join;

impl LimitedAction for Join {
    const PER_ADDRESS: RateLimit = RateLimit::JoinsPerAddress;
    const PER_USER: Option<RateLimit> = Some(RateLimit::JoinsPerUser);
}

/// Holding seats.
#[derive(Debug)]
pub struct Hold;

impl LimitedAction for Hold {
    const PER_ADDRESS: RateLimit = RateLimit::HoldsPerAddress;
    const PER_USER: Option<RateLimit> = Some(RateLimit::HoldsPerUser);
}

/// Proof that the request was counted and exceeds no limit of the action.
///
/// As an extractor it comes after the access token and before the body: a refused request's body isn't read.
#[derive(Debug)]
pub struct RateLimited<A>(PhantomData<A>);

impl<A: LimitedAction> FromRequestParts<App> for RateLimited<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let limits = &app.rate_limits;
        let address = LimitKey::Address(ClientNetwork::of(parts, app).0);
        let mut states: Vec<_> = limits.take(A::PER_ADDRESS, &address).into_iter().collect();
        // A request refused for its address isn't counted for its user.
        let is_permitted = states.iter().all(|state| state.wait_seconds.is_none());
        if let (true, Some(limit)) = (is_permitted, A::PER_USER.filter(|limit| limits.is_set(*limit))) {
            let user = LimitKey::User(Caller::from_request_parts(parts, app).await?.user_id);
            states.extend(limits.take(limit, &user));
        }
        if let Some(context) = parts.extensions.get::<RequestContext>() {
            let _ = context.rate_limits.set(rate_limit_headers(&states));
        }
        let exceeded = states.iter().find_map(|state| Some((state.name, state.wait_seconds?)));
        match exceeded {
            None => Ok(Self(PhantomData)),
            Some((limit, seconds)) => Err(limit_reached(limit, seconds)),
        }
    }
}

/// The refusal of a request that reached a limit, by the limit's name. The client may try again after these seconds.
pub fn limit_reached(limit: &'static str, seconds: u32) -> Problem {
    metrics::counter!("http_rate_limited_total", "limit" => limit).increment(1);
    Problem::rate_limited(seconds).with_member("limit", limit.into())
}

/// `RateLimit-Policy` and `RateLimit`, with one item for each limit.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_limits_there_are_no_headers() {
        assert!(rate_limit_headers(&[]).is_empty());
    }
}
