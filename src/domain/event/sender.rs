//! The port through which events leave.

use async_trait::async_trait;

use super::{AttemptOutcome, Destination, EventTypes, RecordedEvent, SigningSecret, Webhook};
use crate::domain::clock::Instant;

/// Somebody who is sent events.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Which destination it is.
    pub destination: Destination,
    /// Where it listens.
    pub url: String,
    /// What it is sent; `None` for everything.
    pub types: Option<EventTypes>,
    /// What its events are signed with, if they are.
    pub secret: Option<SigningSecret>,
}

impl Receiver {
    /// The one that is configured: it is sent everything.
    pub fn data_platform(url: String, secret: Option<SigningSecret>) -> Self {
        Self { destination: Destination::DataPlatform, url, types: None, secret }
    }

    /// Whether it is sent events of this type.
    pub fn subscribes_to(&self, kind: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(kind))
    }
}

impl From<Webhook> for Receiver {
    fn from(webhook: Webhook) -> Self {
        Self {
            destination: Destination::Webhook(webhook.id),
            url: webhook.url.as_str().to_owned(),
            types: Some(webhook.types),
            secret: Some(webhook.secret),
        }
    }
}

/// Sends events.
#[async_trait]
pub trait EventSender: Send + Sync {
    /// Tries once, for a bounded time, and tells what it came to: a receiver that hangs, sends elsewhere, answers
    /// without end or can't be reached is a failure like any other. `now` is when it is sent.
    async fn send(&self, receiver: &Receiver, event: &RecordedEvent, now: Instant) -> AttemptOutcome;
}
