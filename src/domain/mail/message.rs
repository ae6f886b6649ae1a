//! A message, and the port that sends it.

use async_trait::async_trait;

use crate::domain::{clock::Instant, event::AttemptOutcome, id::EventId, text::Email};

/// A message to one person.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The event that caused it. Every attempt has the same `Message-ID`, by which a receiver recognises a repetition.
    pub event_id: EventId,
    /// The recipient's address.
    pub to: Email,
    /// The subject, which is one line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same content as an HTML page. It refers to `pictures` and to nothing outside of the mail.
    pub html: String,
    /// The pictures that the HTML page refers to.
    pub pictures: Vec<QrPicture>,
}

/// A QR picture in a message, which the mailer draws as PNG.
#[derive(Clone, Debug)]
pub struct QrPicture {
    /// The content id (RFC 2392): the HTML page refers to the picture as `cid:` and this id.
    pub content_id: String,
    /// The file name, which mail programs show in lists of attachments.
    pub name: String,
    /// The text that the QR code contains.
    pub text: String,
}

/// The port that sends mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Makes one attempt at `now`, in bounded time. Refusals, timeouts and connection failures are failed outcomes.
    /// Their descriptions contain no address.
    async fn send(&self, mail: &Mail, now: Instant) -> AttemptOutcome;
}
