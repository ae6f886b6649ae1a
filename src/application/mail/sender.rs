//! The sender of mails about events.

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    booking::{self, MailedEvent},
    code,
    letter::Letter,
    reschedule,
};
use crate::{
    application::{
        Ports,
        database_loss::{READ_TIMEOUT, or_unavailable_within},
    },
    domain::{
        clock::Instant,
        event::{AttemptOutcome, EventSender, Receiver, RecordedEvent},
        id::{BookingId, CodeId},
        mail::{Mail, Mailer},
        repository_error::RepositoryError,
        text::Email,
        ticket::TicketSigner,
    },
};

/// The most database connections that composing mails uses at once.
const MAX_CONNECTIONS: usize = 1;

/// Composes and sends the mail of an event, one attempt at a time. An event without a mail, such as that of a deleted
/// user, counts as accepted.
pub struct MailSender {
    ports: Ports,
    mailer: Arc<dyn Mailer>,
    tickets: Arc<dyn TicketSigner>,
    connections: Semaphore,
}

impl MailSender {
    /// A sender that reads from the ports' database, sends through `mailer`, and signs the codes of tickets with
    /// `tickets`.
    pub fn new(ports: Ports, mailer: Arc<dyn Mailer>, tickets: Arc<dyn TicketSigner>) -> Self {
        Self { ports, mailer, tickets, connections: Semaphore::new(MAX_CONNECTIONS) }
    }

    /// The recipient and the mail of an event at `now`; `None` if the event has no mail.
    async fn write(&self, event: &RecordedEvent, now: Instant) -> Result<Option<(Email, Letter)>, RepositoryError> {
        let Ok(subject) = event.subject.parse::<Uuid>() else { return Ok(None) };
        if event.kind == "code.issued" {
            return self.write_code(event, CodeId(subject), now).await;
        }
        let Some(mailed) = MailedEvent::of_kind(&event.kind) else { return Ok(None) };
        let notice = self.ports.database.read().await?.mail().find_booking_notice(BookingId(subject)).await?;
        Ok(notice.and_then(|notice| {
            let letter = booking::letter_of(mailed, &notice, &*self.tickets, now)?;
            Some((notice.email, letter))
        }))
    }

    async fn write_code(
        &self,
        event: &RecordedEvent,
        id: CodeId,
        now: Instant,
    ) -> Result<Option<(Email, Letter)>, RepositoryError> {
        let notice = self.ports.database.read().await?.mail().find_code_notice(id).await?;
        let Some(notice) = notice.filter(|notice| notice.code.is_alive(now)) else { return Ok(None) };
        let text = self.ports.signer.mailed_code(notice.code.id, notice.code.key);
        if text.is_none() {
            tracing::warn!(event_id = %event.id, "a code isn't mailed, because its secret was withdrawn");
        }
        Ok(text.map(|text| (notice.email, code::letter(&notice.code, &text))))
    }
}

#[async_trait]
impl EventSender for MailSender {
    async fn send(&self, _: &Receiver, event: &RecordedEvent, now: Instant) -> AttemptOutcome {
        // Held while this reads and writes the database, and not while the mail is sent.
        let permit = self.connections.acquire().await;
        if event.kind == "performance.rescheduled" {
            return match reschedule::notify_buyers(&self.ports, event, now).await {
                Ok(true) => AttemptOutcome::Accepted,
                Ok(false) => AttemptOutcome::failed("some buyers are still to be notified"),
                Err(error) => {
                    tracing::warn!(event_id = %event.id, error = &error as &dyn Error, "buyers could not be notified");
                    AttemptOutcome::failed("the buyers could not be notified")
                }
            };
        }
        let written = or_unavailable_within(&*self.ports.database, READ_TIMEOUT, self.write(event, now)).await;
        drop(permit);
        match written.flatten() {
            Ok(Some((to, letter))) => self.mailer.send(&mail(event, to, &letter), now).await,
            Ok(None) => AttemptOutcome::Accepted,
            Err(error) => {
                tracing::warn!(event_id = %event.id, error = &error as &dyn Error, "a mail could not be written");
                AttemptOutcome::failed("the mail could not be written")
            }
        }
    }
}

fn mail(event: &RecordedEvent, to: Email, letter: &Letter) -> Mail {
    let (subject, text, html) = (letter.subject.clone(), letter.to_text(), letter.to_html());
    Mail { event_id: event.id, to, subject, text, html, pictures: letter.pictures() }
}
