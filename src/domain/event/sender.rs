//! The port through which events leave.

use async_trait::async_trait;

use super::{Destination, Outcome, RecordedEvent};
use crate::domain::clock::Instant;

/// Somebody who is sent events.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Which destination it is.
    pub destination: Destination,
    /// Where it listens.
    pub url: String,
}

/// Sends events.
#[async_trait]
pub trait EventSender: Send + Sync {
    /// Tries once, for a bounded time, and tells what it came to: a receiver that hangs, sends elsewhere, answers
    /// without end or can't be reached is a failure like any other. `now` is when it is sent.
    async fn send(&self, receiver: &Receiver, event: &RecordedEvent, now: Instant) -> Outcome;
}
