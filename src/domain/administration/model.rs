//! An entry of the action log.

use std::fmt::Display;

use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::domain::{
    clock::Instant,
    id::{ActionId, UserId},
    text::Reason,
};

/// The kind of an administrator's write. Its name is the kind of the target, a full stop, and the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
pub enum ActionKind {
    /// A venue was added.
    #[strum(serialize = "venue.created")]
    VenueCreated,
    /// A concert was added.
    #[strum(serialize = "concert.created")]
    ConcertCreated,
    /// A concert's description was changed.
    #[strum(serialize = "concert.updated")]
    ConcertUpdated,
    /// A concert was deleted.
    #[strum(serialize = "concert.deleted")]
    ConcertDeleted,
    /// The settings of a concert's queue were written.
    #[strum(serialize = "queue.set")]
    QueueSet,
    /// A performance was added with its seats.
    #[strum(serialize = "performance.created")]
    PerformanceCreated,
    /// A performance's start or end of sales was changed.
    #[strum(serialize = "performance.updated")]
    PerformanceUpdated,
    /// A performance was cancelled.
    #[strum(serialize = "performance.cancelled")]
    PerformanceCancelled,
    /// Seats of a performance were held back from sale.
    #[strum(serialize = "performance.seats_blocked")]
    SeatsBlocked,
    /// Blocked seats of a performance were put back on sale.
    #[strum(serialize = "performance.seats_unblocked")]
    SeatsUnblocked,
    /// A user's role was changed, or the account blocked or unblocked.
    #[strum(serialize = "user.updated")]
    UserUpdated,
    /// Points were added to a balance or taken from it.
    #[strum(serialize = "points.adjusted")]
    PointsAdjusted,
    /// A complimentary booking was made.
    #[strum(serialize = "booking.created")]
    BookingCreated,
    /// A booking was cancelled or refunded.
    #[strum(serialize = "booking.cancelled")]
    BookingCancelled,
    /// A ticket was used at a door.
    #[strum(serialize = "ticket.used")]
    TicketUsed,
    /// A top-up's points were taken back, so that its payment is refunded.
    #[strum(serialize = "top-up.refunded")]
    TopUpRefunded,
    /// An event was sent again.
    #[strum(serialize = "event.redelivered")]
    EventRedelivered,
    /// A webhook was registered.
    #[strum(serialize = "webhook.created")]
    WebhookCreated,
    /// A webhook was deleted.
    #[strum(serialize = "webhook.deleted")]
    WebhookDeleted,
}

impl ActionKind {
    /// The name in answers and in the database.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An administrator's order of a write, which the write's transaction checks and records.
#[derive(Clone, Debug)]
pub struct Order {
    /// The administrator who orders the write.
    pub actor: UserId,
    /// The reason, for the action log.
    pub reason: Reason,
}

impl Order {
    /// The action that records the ordered write.
    pub fn action(&self, kind: ActionKind, target: impl Display) -> Action {
        Action::new(self.actor, kind, target).with_reason(self.reason.clone())
    }
}

/// A write to be recorded in its own transaction.
#[derive(Clone, Debug)]
pub struct Action {
    /// The administrator who made the write.
    pub actor: UserId,
    /// The kind of write.
    pub kind: ActionKind,
    /// The id of the written resource.
    pub target: String,
    /// The request in words; empty if kind and target describe it in full. The log keeps at most 500 characters.
    pub details: String,
    /// The administrator's reason; `None` for kinds that require none.
    pub reason: Option<Reason>,
}

impl Action {
    /// A write that its kind and target describe in full.
    pub fn new(actor: UserId, kind: ActionKind, target: impl Display) -> Self {
        Self { actor, kind, target: target.to_string(), details: String::new(), reason: None }
    }

    /// The write with the request in words.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// The write with the administrator's reason.
    #[must_use]
    pub fn with_reason(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

/// A recorded action.
#[derive(Clone, Debug)]
pub struct ActionEntry {
    /// A UUIDv7: later entries have greater ids, unless the clocks of instances differ.
    pub id: ActionId,
    /// The action.
    pub action: Action,
    /// The instant of the decision.
    pub created_at: Instant,
}
