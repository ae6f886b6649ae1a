//! Ports of the outbox and of the deliveries.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Candidate, DeliveryStatus, Destination, Event, Webhook};
use crate::domain::{
    clock::Instant,
    id::{EventId, WebhookId},
    page::Page,
    repository_error::RepositoryError,
};

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
pub struct DeliverySettlement {
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
    /// Deliveries that are parked at receivers that are there; counted up to a limit.
    pub parked: u64,
    /// When the oldest event happened that is pending somewhere, or not handed out yet.
    pub oldest: Option<Instant>,
}

/// An event whose deliveries were written.
#[derive(Clone, Copy, Debug)]
pub struct Dispatched {
    /// Which.
    pub id: EventId,
    /// When it happened.
    pub at: Instant,
    /// When they were written.
    pub dispatched_at: Instant,
}

/// Which deliveries to list.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryFilter {
    /// Only these.
    pub status: Option<DeliveryStatus>,
    /// Only those after this one of the page before.
    pub before: Option<(EventId, Destination)>,
    /// At most so many.
    pub limit: u32,
}

/// A delivery as an administrator sees it.
#[derive(Clone, Debug)]
pub struct DeliveryRecord {
    /// Of which event.
    pub event_id: EventId,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// To whom.
    pub destination: Destination,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u16,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When the event happened.
    pub created_at: Instant,
    /// When it is tried again.
    pub next_attempt_at: Instant,
}

/// Keeps events until they are delivered.
#[async_trait]
pub trait OutboxRepository: Send {
    /// Stores events, which nobody is to be sent if they are dispatched already; [`RepositoryError::NotUnique`] for a
    /// second one of a kind in its stream.
    async fn insert(&mut self, events: &[Event], dispatched_at: Option<Instant>) -> Result<(), RepositoryError>;

    /// Whether any event is still to be dispatched.
    async fn has_undispatched(&mut self) -> Result<bool, RepositoryError>;

    /// Locks the oldest events whose deliveries are still to be written, and skips what others have locked.
    async fn claim_undispatched(&mut self, limit: u32) -> Result<Vec<Undispatched>, RepositoryError>;

    /// Notes that the deliveries of these events are written.
    async fn mark_dispatched(&mut self, ids: &[EventId], now: Instant) -> Result<(), RepositoryError>;

    /// Locks an event, and tells whether it is there.
    async fn lock(&mut self, id: EventId) -> Result<bool, RepositoryError>;

    /// Locks events that were handed out before `horizon`, in the order in which they were, after the one given, and
    /// skips what others have locked.
    async fn claim_removable(
        &mut self,
        horizon: Instant,
        after: Option<(Instant, EventId)>,
        limit: u32,
    ) -> Result<Vec<Dispatched>, RepositoryError>;

    /// Removes events with their deliveries, and notes that those from before `horizon` may be missing.
    async fn remove(&mut self, ids: &[EventId], horizon: Instant) -> Result<(), RepositoryError>;
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
        settlement: &DeliverySettlement,
    ) -> Result<(), RepositoryError>;

    /// Gives deliveries back, due at once: those of them that this lease still has.
    async fn release(
        &mut self,
        destination: Destination,
        lease: Uuid,
        ids: &[EventId],
        now: Instant,
    ) -> Result<(), RepositoryError>;

    /// Which of these events are still to be delivered to somebody, or were given up and happened after `horizon`.
    async fn list_kept(&mut self, ids: &[EventId], horizon: Instant) -> Result<Vec<EventId>, RepositoryError>;

    /// Deliveries, newest event first.
    async fn list(&mut self, filter: &DeliveryFilter) -> Result<Page<DeliveryRecord>, RepositoryError>;

    /// Makes an event's deliveries due again, but for those to webhooks that have ended.
    async fn restart(&mut self, id: EventId, now: Instant) -> Result<(), RepositoryError>;

    /// Parks what is pending at a destination and was due before `horizon`, whoever has a lease on it; tells how much it
    /// was.
    async fn park(
        &mut self,
        destination: Destination,
        horizon: Instant,
        reason: &str,
        limit: u32,
    ) -> Result<u64, RepositoryError>;

    /// Removes what is parked at a destination, and tells how much it was.
    async fn remove_parked(&mut self, destination: Destination, limit: u32) -> Result<u64, RepositoryError>;

    /// Counts what is to be delivered, each number up to `limit`.
    async fn backlog(&mut self, limit: u32) -> Result<Backlog, RepositoryError>;
}

/// Keeps webhooks.
#[async_trait]
pub trait WebhookRepository: Send {
    /// Adds one, once the transactions have ended that have found out by [`any_active`](Self::any_active) that it
    /// isn't there.
    async fn insert(&mut self, webhook: &Webhook) -> Result<(), RepositoryError>;

    /// Whether any is sent events. None is added until this transaction has ended.
    async fn any_active(&mut self) -> Result<bool, RepositoryError>;

    /// Those that are sent events.
    async fn list_active(&mut self) -> Result<Vec<Webhook>, RepositoryError>;

    /// Those that weren't deleted, oldest first.
    async fn list(&mut self, after: Option<WebhookId>, limit: u32) -> Result<Page<Webhook>, RepositoryError>;

    /// Those that were deleted, or want no more events, and since when.
    async fn list_ended(&mut self) -> Result<Vec<(WebhookId, Instant)>, RepositoryError>;

    /// Ends one, and tells whether it was there.
    async fn delete(&mut self, id: WebhookId, now: Instant) -> Result<bool, RepositoryError>;

    /// Notes that it wants no more events.
    async fn disable(&mut self, id: WebhookId, now: Instant) -> Result<(), RepositoryError>;

    /// Removes one that was deleted before `horizon`.
    async fn delete_ended(&mut self, id: WebhookId, horizon: Instant) -> Result<(), RepositoryError>;
}
