//! The senders of events: one for each transport.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{
    clock::Instant,
    event::{AttemptOutcome, EventSender, Receiver, RecordedEvent, Transport},
};

/// Chooses the sender of a receiver by the transport of its destination.
pub struct EventSenders {
    /// Sends over HTTP.
    pub http: Arc<dyn EventSender>,
    /// Sends to Kafka; `None` without brokers.
    pub kafka: Option<Arc<dyn EventSender>>,
    /// Sends mail; `None` without a mail server.
    pub mail: Option<Arc<dyn EventSender>>,
}

#[async_trait]
impl EventSender for EventSenders {
    async fn send(&self, receiver: &Receiver, event: &RecordedEvent, now: Instant) -> AttemptOutcome {
        let (sender, absent) = match receiver.destination.transport() {
            Transport::Http => return self.http.send(receiver, event, now).await,
            Transport::Kafka => (&self.kafka, "no Kafka broker is configured"),
            Transport::Mail => (&self.mail, "no mail server is configured"),
        };
        match sender {
            Some(sender) => sender.send(receiver, event, now).await,
            None => AttemptOutcome::failed(absent),
        }
    }
}
