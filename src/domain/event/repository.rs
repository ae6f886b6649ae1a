//! Ports of the outbox and of the deliveries.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Candidate, Destination, Event};
use crate::domain::{clock::Instant, id::EventId, repository_error::RepositoryError};

/// An event whose deliveries are still to be written.
#[derive(Clone, Debug)]
pub struct Undispatched {
    /// Which.
    pub id: EventId,
    /// Its type: who has subscribed to it gets it.
    pub kind: String,
    /// When it happened.
    pub at: Instant,
}

/// A delivery to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewDelivery {
    /// Of which event.
    pub event_id: EventId,
    /// To whom.
    pub destination: Destination,
    /// When the event happened.
    pub at: Instant,
}

/// What is written of one delivery after an attempt.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Of which event.
    pub event_id: EventId,
    /// How often it has been tried by now.
    pub attempts: u16,
    /// Whether it is given up.
    pub is_parked: bool,
    /// When it is tried again.
    pub next_attempt_at: Instant,
    /// Why it failed; `None` when it wasn't tried.
    pub error: Option<String>,
}

/// How much is still to be delivered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Deliveries that are pending; counted up to a limit.
    pub pending: u64,
    /// Deliveries that are parked; counted up to a limit.
    pub parked: u64,
    /// When the oldest event happened that is pending somewhere, or not handed out yet.
    pub oldest: Option<Instant>,
}

/// Keeps events until they are delivered.
#[async_trait]
pub trait OutboxRepository: Send {
    /// Stores events; [`RepositoryError::NotUnique`] for a second one of a kind in its stream.
    async fn insert(&mut self, events: &[Event]) -> Result<(), RepositoryError>;

    /// Whether any event is still to be dispatched.
    async fn has_undispatched(&mut self) -> Result<bool, RepositoryError>;

    /// Locks the oldest events whose deliveries are still to be written, and skips what others have locked.
    async fn claim_undispatched(&mut self, limit: u32) -> Result<Vec<Undispatched>, RepositoryError>;

    /// Notes that the deliveries of these events are written.
    async fn mark_dispatched(&mut self, ids: &[EventId], now: Instant) -> Result<(), RepositoryError>;
}

/// Keeps what becomes of each event at each destination.
#[async_trait]
pub trait DeliveryRepository: Send {
    /// Adds deliveries, due at once.
    async fn insert(&mut self, deliveries: &[NewDelivery], now: Instant) -> Result<(), RepositoryError>;

    /// Whether anything is due at a destination.
    async fn has_due(&mut self, destination: Destination, now: Instant) -> Result<bool, RepositoryError>;

    /// Locks what is due at a destination, longest due first, and skips what others have locked; tells what stands
    /// before each.
    async fn claim_due(
        &mut self,
        destination: Destination,
        now: Instant,
        limit: u32,
    ) -> Result<Vec<Candidate>, RepositoryError>;

    /// Gives claimed deliveries to whoever has this lease: nobody else takes them until it runs out.
    async fn lease(
        &mut self,
        destination: Destination,
        ids: &[EventId],
        lease: Uuid,
        until: Instant,
    ) -> Result<(), RepositoryError>;

    /// Puts claimed deliveries off.
    async fn postpone(
        &mut self,
        destination: Destination,
        postponed: &[(EventId, Instant)],
    ) -> Result<(), RepositoryError>;

    /// Notes deliveries that arrived: those of them that this lease still has.
    async fn settle_delivered(
        &mut self,
        destination: Destination,
        lease: Uuid,
        ids: &[EventId],
    ) -> Result<(), RepositoryError>;

    /// Notes what becomes of a delivery that didn't arrive, or wasn't tried, if this lease still has it.
    async fn settle(
        &mut self,
        destination: Destination,
        lease: Uuid,
        settlement: &Settlement,
    ) -> Result<(), RepositoryError>;

    /// Gives deliveries back, due at once: those of them that this lease still has.
    async fn release(
        &mut self,
        destination: Destination,
        lease: Uuid,
        ids: &[EventId],
        now: Instant,
    ) -> Result<(), RepositoryError>;

    /// Counts what is to be delivered, each number up to `limit`.
    async fn backlog(&mut self, limit: u32) -> Result<Backlog, RepositoryError>;
}
