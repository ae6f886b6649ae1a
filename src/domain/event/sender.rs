//! Receivers, and the port that sends events to them.

use async_trait::async_trait;

use super::{
    AttemptOutcome, Destination, EventTypes, MAILED_KINDS, PRIVATE_KINDS, RecordedEvent, SigningSecret, Webhook,
};
use crate::domain::clock::Instant;

/// A destination with its address, secret and subscribed event types.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Identifies the receiver.
    pub destination: Destination,
    /// The URL that events are posted to; empty for Kafka and mail.
    pub url: String,
    /// The subscribed event types; `None` for all.
    pub types: Option<EventTypes>,
    /// The key of the signature; `None` sends unsigned events.
    pub secret: Option<SigningSecret>,
}

impl Receiver {
    /// The receiver from the configuration, subscribed to all event types.
    pub fn data_platform(url: String, secret: Option<SigningSecret>) -> Self {
        Self { destination: Destination::DataPlatform, url, types: None, secret }
    }

    /// The Kafka topic from the configuration, subscribed to all event types.
    pub fn kafka() -> Self {
        Self { destination: Destination::Kafka, url: String::new(), types: None, secret: None }
    }

    /// The mail server from the configuration.
    pub fn mail() -> Self {
        Self { destination: Destination::Mail, url: String::new(), types: None, secret: None }
    }

    /// Whether events of this type are delivered to the receiver. Those of [`PRIVATE_KINDS`] are delivered to mail
    /// alone.
    pub fn subscribes_to(&self, kind: &str) -> bool {
        match self.destination {
            Destination::Mail => MAILED_KINDS.contains(&kind),
            Destination::DataPlatform | Destination::Webhook(_) | Destination::Kafka => {
                !PRIVATE_KINDS.contains(&kind) && self.types.as_ref().is_none_or(|types| types.contains(kind))
            }
        }
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

/// The port that sends events.
#[async_trait]
pub trait EventSender: Send + Sync {
    /// Makes one attempt at `now`, in bounded time. Timeouts, redirects, oversized responses and connection failures
    /// are failed outcomes, never errors.
    async fn send(&self, receiver: &Receiver, event: &RecordedEvent, now: Instant) -> AttemptOutcome;
}
