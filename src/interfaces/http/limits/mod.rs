//! The limits of requests in flight, of the actions of one client per minute, and of open streams.
//!
//! The limits count and decide, and don't depend on routes and extractors: [`RateLimited`](super::rate_limit),
//! [`enforce_limits`](super::middleware) and [`OpenStream`](super::event_stream) apply them.

pub mod concurrency;
pub mod rate;
pub mod streams;
