//! What limits requests: how many are under way, how often one client may act, how many streams are open.
//!
//! The limits count and decide. They know nothing of routes and extractors: [`RateLimited`](super::rate_limit),
//! [`enforce_limits`](super::middleware) and [`OpenStream`](super::event_stream) apply them.

pub mod concurrency;
pub mod rate;
pub mod streams;
