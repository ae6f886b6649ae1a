//! Events: changes of the sale, delivered at least once after the commit, in order per booking.
//!
//! `model.rs` has the facts recorded with a change, `delivery.rs` the decisions about their deliveries. `webhook.rs`
//! has registered receivers, and `address.rs` the addresses they may have. `repository.rs` and `sender.rs` are the
//! ports.

mod address;
mod delivery;
mod model;
mod repository;
mod sender;
mod webhook;

pub use address::is_public;
pub use delivery::{
    AttemptOutcome, Candidate, Chain, ClaimPlan, ClaimedEvent, DeliveryStatus, Destination, NextStep, Predecessor,
    PredecessorState, RecordedEvent, RetryPolicy, Transport,
};
pub use model::{Event, Fact, KINDS, MAILED_KINDS, PRIVATE_KINDS};
pub use repository::{
    Backlog, DeliveryRecord, DeliveryRepository, DeliverySettlement, Dispatched, NewDelivery, OutboxRepository,
    Undispatched, WebhookRepository,
};
pub use sender::{EventSender, Receiver};
pub use webhook::{EventTypes, NotAWebhookUrl, SigningSecret, Webhook, WebhookUrl};
