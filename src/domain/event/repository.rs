//! The ports of the outbox, the deliveries and the webhooks.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Candidate, DeliveryStatus, Destination, Event, Webhook};
use crate::domain::{
    clock::Instant,
    id::{EventId, WebhookId},
    page::{Page, PageRequest},
    repository_error::RepositoryError,
};

/// An event whose deliveries haven't been inserted yet.
#[derive(Clone, Debug)]
pub struct Undispatched {
    /// Identifies the event.
    pub id: EventId,
    /// The type, which decides its receivers.
    pub kind: String,
    /// The instant of the change.
    pub at: Instant,
}

/// A delivery to be inserted.
#[derive(Clone, Copy, Debug)]
pub struct NewDelivery {
    /// The event to deliver.
    pub event_id: EventId,
    /// The receiver's destination.
    pub destination: Destination,
    /// The instant of the change.
    pub at: Instant,
}

/// The result of a failed attempt, or of releasing an event without an attempt.
#[derive(Clone, Debug)]
pub struct DeliverySettlement {
    /// The event that was claimed.
    pub event_id: EventId,
    /// The number of attempts so far.
    pub attempts: u16,
    /// Whether the delivery is parked.
    pub is_parked: bool,
    /// The earliest instant of the next attempt.
    pub next_attempt_at: Instant,
    /// The failure of the attempt; `None` without one.
    pub error: Option<String>,
}

/// The deliveries that are still open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// The number of pending deliveries, counted up to a limit.
    pub pending: u64,
    /// The number of parked deliveries at existing receivers, counted up to a limit.
    pub parked: u64,
    /// The instant of the oldest event that is undispatched or pending at a destination; `None` without one.
    pub oldest: Option<Instant>,
}

/// An event whose deliveries were inserted.
#[derive(Clone, Copy, Debug)]
pub struct Dispatched {
    /// Identifies the event.
    pub id: EventId,
    /// The instant of the change.
    pub at: Instant,
    /// The instant of dispatch.
    pub dispatched_at: Instant,
}

/// A delivery as administrators see it.
#[derive(Clone, Debug)]
pub struct DeliveryRecord {
    /// The delivered event.
    pub event_id: EventId,
    /// The event type.
    pub kind: String,
    /// The id of the changed resource.
    pub subject: String,
    /// The receiver's destination.
    pub destination: Destination,
    /// Pending, delivered or parked.
    pub status: DeliveryStatus,
    /// The number of attempts so far.
    pub attempts: u16,
    /// The failure of the last attempt; `None` if it succeeded or there was none.
    pub last_error: Option<String>,
    /// The instant of the change.
    pub created_at: Instant,
    /// The earliest instant of the next attempt, while it is pending.
    pub next_attempt_at: Instant,
}

/// Stores events from their transaction until their retention after delivery is over: the outbox.
#[async_trait]
pub trait OutboxRepository: Send {
    /// Inserts events. With `dispatched_at` they count as dispatched, so that they get no deliveries.
    /// [`RepositoryError::NotUnique`] for a second event at a position of a stream.
    async fn insert(&mut self, events: &[Event], dispatched_at: Option<Instant>) -> Result<(), RepositoryError>;

    /// The ones among these events that are recorded. Takes no lock.
    async fn list_existing(&mut self, ids: &[EventId]) -> Result<Vec<EventId>, RepositoryError>;

    /// Whether any event is undispatched. Takes no lock.
    async fn has_undispatched(&mut self) -> Result<bool, RepositoryError>;

    /// Locks at most `limit` undispatched events, oldest first. Skips events that another transaction has locked.
    async fn claim_undispatched(&mut self, limit: u32) -> Result<Vec<Undispatched>, RepositoryError>;

    /// Marks events as dispatched at `now`.
    async fn mark_dispatched(&mut self, ids: &[EventId], now: Instant) -> Result<(), RepositoryError>;

    /// Locks an event until the transaction ends, and returns whether it exists.
    async fn lock(&mut self, id: EventId) -> Result<bool, RepositoryError>;

    /// Locks at most `limit` events dispatched before `horizon`, by instant of dispatch and id, after `after`. Skips
    /// events that another transaction has locked.
    async fn claim_removable(
        &mut self,
        horizon: Instant,
        after: Option<(Instant, EventId)>,
        limit: u32,
    ) -> Result<Vec<Dispatched>, RepositoryError>;

    /// Deletes events with their deliveries, and records that events from before `horizon` may be missing.
    async fn remove(&mut self, ids: &[EventId], horizon: Instant) -> Result<(), RepositoryError>;
}

/// Stores the progress of each event at each destination.
#[async_trait]
pub trait DeliveryRepository: Send {
    /// Inserts deliveries that are due at `now`.
    async fn insert(&mut self, deliveries: &[NewDelivery], now: Instant) -> Result<(), RepositoryError>;

    /// Whether a delivery to this destination is due at `now`. Takes no lock.
    async fn has_due(&mut self, destination: Destination, now: Instant) -> Result<bool, RepositoryError>;

    /// Locks at most `limit` due deliveries to a destination, longest due first, and returns them with their unsettled
    /// predecessors. Skips deliveries that another transaction has locked.
    async fn claim_due(
        &mut self,
        destination: Destination,
        now: Instant,
        limit: u32,
    ) -> Result<Vec<Candidate>, RepositoryError>;

    /// Leases claimed deliveries under the id `lease` until `until`: no other worker claims them before.
    async fn lease(
        &mut self,
        destination: Destination,
        ids: &[EventId],
        lease: Uuid,
        until: Instant,
    ) -> Result<(), RepositoryError>;

    /// Moves the due instants of claimed deliveries.
    async fn postpone(
        &mut self,
        destination: Destination,
        postponed: &[(EventId, Instant)],
    ) -> Result<(), RepositoryError>;

    /// Marks deliveries as delivered, if `lease` still holds them.
    async fn settle_delivered(
        &mut self,
        destination: Destination,
        lease: Uuid,
        ids: &[EventId],
    ) -> Result<(), RepositoryError>;

    /// Writes the result of a delivery that failed or wasn't attempted, if `lease` still holds it.
    async fn settle(
        &mut self,
        destination: Destination,
        lease: Uuid,
        settlement: &DeliverySettlement,
    ) -> Result<(), RepositoryError>;

    /// Ends the lease of deliveries, if `lease` still holds them, and makes them due at `now`.
    async fn release(
        &mut self,
        destination: Destination,
        lease: Uuid,
        ids: &[EventId],
        now: Instant,
    ) -> Result<(), RepositoryError>;

    /// The ones among these events that have a pending delivery, or that have a parked one and happened after
    /// `horizon`. Takes no lock.
    async fn list_kept(&mut self, ids: &[EventId], horizon: Instant) -> Result<Vec<EventId>, RepositoryError>;

    /// A page of deliveries with this status, or of all, newest event first. Takes no lock.
    async fn list(
        &mut self,
        status: Option<DeliveryStatus>,
        page: PageRequest<(EventId, Destination)>,
    ) -> Result<Page<DeliveryRecord>, RepositoryError>;

    /// Makes an event's deliveries due at `now`, except those to deleted or disabled webhooks.
    async fn restart(&mut self, id: EventId, now: Instant) -> Result<(), RepositoryError>;

    /// Parks at most `limit` pending deliveries to a destination that were due before `horizon`, even under a lease.
    /// Returns the number of parked deliveries.
    async fn park(
        &mut self,
        destination: Destination,
        horizon: Instant,
        reason: &str,
        limit: u32,
    ) -> Result<u64, RepositoryError>;

    /// Deletes at most `limit` parked deliveries to a destination, and returns the number of deleted rows.
    async fn remove_parked(&mut self, destination: Destination, limit: u32) -> Result<u64, RepositoryError>;

    /// Counts open deliveries, each number up to `limit`. Takes no lock.
    async fn backlog(&mut self, limit: u32) -> Result<Backlog, RepositoryError>;
}

/// Stores webhooks.
#[async_trait]
pub trait WebhookRepository: Send {
    /// Inserts a webhook. Waits for transactions in which [`any_active`](Self::any_active) found none.
    async fn insert(&mut self, webhook: &Webhook) -> Result<(), RepositoryError>;

    /// Whether any webhook is active. Locks the registration of webhooks (shared): until the transaction ends, none is
    /// inserted.
    async fn any_active(&mut self) -> Result<bool, RepositoryError>;

    /// The active webhooks: neither deleted nor disabled. Takes no lock.
    async fn list_active(&mut self) -> Result<Vec<Webhook>, RepositoryError>;

    /// A page of webhooks that aren't deleted, oldest first. Takes no lock.
    async fn list(&mut self, page: PageRequest<WebhookId>) -> Result<Page<Webhook>, RepositoryError>;

    /// The deleted and disabled webhooks, with the instant of their end. Takes no lock.
    async fn list_ended(&mut self) -> Result<Vec<(WebhookId, Instant)>, RepositoryError>;

    /// Marks a webhook as deleted, and returns whether it existed.
    async fn delete(&mut self, id: WebhookId, now: Instant) -> Result<bool, RepositoryError>;

    /// Marks a webhook as disabled at `now`, because its receiver accepts no further events.
    async fn disable(&mut self, id: WebhookId, now: Instant) -> Result<(), RepositoryError>;

    /// Deletes the row of this webhook, if it was deleted before `horizon`.
    async fn delete_ended(&mut self, id: WebhookId, horizon: Instant) -> Result<(), RepositoryError>;
}
