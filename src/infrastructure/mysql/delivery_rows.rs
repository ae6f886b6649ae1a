//! The rows of events and deliveries.

use sqlx::FromRow;
use uuid::Uuid;

use super::error::corrupt;
use crate::domain::{
    clock::Instant,
    event::{DeliveryRecord, Destination, RecordedEvent},
    id::EventId,
    repository_error::RepositoryError,
};

#[derive(FromRow)]
pub(super) struct EventRow {
    id: Uuid,
    stream_id: Uuid,
    sequence: u8,
    r#type: String,
    subject: String,
    data: String,
    created_at: Instant,
}

impl From<EventRow> for RecordedEvent {
    fn from(row: EventRow) -> Self {
        Self {
            id: EventId(row.id),
            stream_id: row.stream_id,
            sequence: row.sequence,
            kind: row.r#type,
            subject: row.subject,
            data: row.data,
            at: row.created_at,
        }
    }
}

#[derive(FromRow)]
pub(super) struct EarlierRow {
    pub(super) event_id: Uuid,
    pub(super) earlier_id: Uuid,
    /// Absent, as the lease, while the event isn't dispatched.
    pub(super) next_attempt_at: Option<Instant>,
    pub(super) lease: Option<Uuid>,
}

#[derive(FromRow)]
pub(super) struct DeliveryRow {
    event_id: Uuid,
    r#type: String,
    subject: String,
    destination: String,
    status: String,
    attempts: u16,
    last_error: Option<String>,
    created_at: Instant,
    next_attempt_at: Instant,
}

impl TryFrom<DeliveryRow> for DeliveryRecord {
    type Error = RepositoryError;

    fn try_from(row: DeliveryRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            event_id: EventId(row.event_id),
            kind: row.r#type,
            subject: row.subject,
            destination: read_destination(&row.destination)?,
            status: row.status.parse().map_err(|_| corrupt("the status of a delivery", &row.status))?,
            attempts: row.attempts,
            last_error: row.last_error,
            created_at: row.created_at,
            next_attempt_at: row.next_attempt_at,
        })
    }
}

pub(super) fn read_destination(text: &str) -> Result<Destination, RepositoryError> {
    text.parse().map_err(|_| corrupt("a destination", text))
}
