//! Events: what happened, told to others after commit, at least once, in order per booking.
//!
//! `model.rs` is what is written with a change; `delivery.rs` decides what becomes of it at each destination, purely;
//! `webhook.rs` is who may be one, `address.rs` where; `repository.rs` and `sender.rs` are the ports.

mod address;
mod delivery;
mod model;
mod repository;
mod sender;
mod webhook;

pub use address::is_public;
pub use delivery::{
    AttemptOutcome, Candidate, Chain, ClaimPlan, ClaimedEvent, DeliveryStatus, Destination, NextStep, Predecessor,
    PredecessorState, RecordedEvent, RetryPolicy,
};
pub use model::{Event, Fact, KINDS};
pub use repository::{
    Backlog, DeliveryFilter, DeliveryRecord, DeliveryRepository, DeliverySettlement, Dispatched, NewDelivery,
    OutboxRepository, Undispatched, WebhookRepository,
};
pub use sender::{EventSender, Receiver};
pub use webhook::{EventTypes, NotAWebhookUrl, SigningSecret, Webhook, WebhookUrl};
