//! A message, and the port that sends it.

use async_trait::async_trait;

use crate::domain::{clock::Instant, event::AttemptOutcome, id::EventId, text::Email};

/// A message to one person.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The event that caused it. Every attempt has the same `Message-ID`, by which a receiver recognises a repetition.
    pub event_id: EventId,
    /// The address.
    pub to: Email,
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as a page of HTML. It shows the pictures, and nothing from elsewhere.
    pub html: String,
    /// The pictures that the page shows.
    pub pictures: Vec<QrPicture>,
}

/// A QR picture in a message, which the mailer draws as PNG.
#[derive(Clone, Debug)]
pub struct QrPicture {
    /// Identifies it (RFC 2392): the page refers to it as `cid:` and this id.
    pub content_id: String,
    /// The name of its file, for programs that list attachments.
    pub name: String,
    /// What a scanner reads.
    pub text: String,
}

/// The port that sends mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Makes one attempt at `now`, in bounded time. Refusals, timeouts and connection failures are failed outcomes.
    /// Their descriptions contain no address.
    async fn send(&self, mail: &Mail, now: Instant) -> AttemptOutcome;
}
