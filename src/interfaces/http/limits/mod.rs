//! The limits of requests in flight, of the actions of one client per minute, of open streams, and of unread seat maps.
//!
//! The limits count and decide, and don't depend on routes and extractors: [`RateLimited`](super::rate_limit),
//! [`enforce_limits`](super::middleware), [`OpenStream`](super::event_stream) and [`seat`](super::seat) apply them.

pub mod concurrency;
pub mod rate;
pub mod streams;
pub mod unread_maps;
