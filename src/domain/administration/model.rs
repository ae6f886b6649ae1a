//! An entry of the action log.

use std::fmt::Display;

use crate::domain::{
    clock::Instant,
    id::{ActionId, UserId},
    text::Reason,
};

macro_rules! action_kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal;)+) => {
        /// A write that an administrator made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ActionKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl ActionKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The names of all kinds, in the order of [`ALL`](Self::ALL).
            pub const NAMES: [&str; [$($name),+].len()] = [$($name),+];

            /// The name in answers and in the database: the kind of the target, a full stop, what was done.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// The kind with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|kind| kind.name() == name).copied()
            }
        }
    };
}

action_kinds! {
    /// A venue was added.
    VenueCreated = "venue.created";
    /// A concert was added.
    ConcertCreated = "concert.created";
    /// A concert's description was changed.
    ConcertUpdated = "concert.updated";
    /// A concert was deleted.
    ConcertDeleted = "concert.deleted";
    /// A concert's queue was set.
    QueueSet = "queue.set";
    /// A performance was added with its seats.
    PerformanceCreated = "performance.created";
    /// A performance's start or end of sales was changed.
    PerformanceUpdated = "performance.updated";
    /// A performance was cancelled.
    PerformanceCancelled = "performance.cancelled";
    /// Seats of a performance were held back from sale.
    SeatsBlocked = "performance.seats_blocked";
    /// Blocked seats of a performance were put back on sale.
    SeatsUnblocked = "performance.seats_unblocked";
    /// A user's role was changed, or the account blocked or unblocked.
    UserUpdated = "user.updated";
    /// Points were added to a balance or taken from it.
    PointsAdjusted = "points.adjusted";
    /// A complimentary booking was made.
    BookingCreated = "booking.created";
    /// A booking was cancelled or refunded.
    BookingCancelled = "booking.cancelled";
    /// A ticket was used at a door.
    TicketUsed = "ticket.used";
    /// A top-up's points were taken back, so that its payment goes back to the payer.
    TopUpRefunded = "top-up.refunded";
    /// An event was sent again.
    EventRedelivered = "event.redelivered";
    /// A webhook was registered.
    WebhookCreated = "webhook.created";
    /// A webhook was deleted.
    WebhookDeleted = "webhook.deleted";
}

/// An administrator's order of a write, which the write's transaction checks and records.
#[derive(Clone, Debug)]
pub struct Order {
    /// The administrator.
    pub actor: UserId,
    /// The reason, for the action log.
    pub reason: Reason,
}

impl Order {
    /// The write that fulfils the order.
    pub fn action(&self, kind: ActionKind, target: impl Display) -> Action {
        Action::new(self.actor, kind, target).with_reason(self.reason.clone())
    }
}

/// A write to be recorded in its own transaction.
#[derive(Clone, Debug)]
pub struct Action {
    /// The administrator.
    pub actor: UserId,
    /// The kind of write.
    pub kind: ActionKind,
    /// The id of the written resource.
    pub target: String,
    /// The request in words; empty if the kind says it all. The log keeps at most 500 characters.
    pub details: String,
    /// The administrator's reason, for kinds that require one.
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
    /// A UUIDv7: later entries have greater ones, as far as the clocks of instances agree.
    pub id: ActionId,
    /// The action.
    pub action: Action,
    /// The instant of the decision.
    pub created_at: Instant,
}
