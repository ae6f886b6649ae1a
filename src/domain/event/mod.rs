//! Events: what happened, told to others after commit, at least once, in order per booking.
//!
//! `model.rs` is what is written with a change; `delivery.rs` decides what becomes of it at each destination, purely;
//! `repository.rs` and `sender.rs` are the ports.

mod delivery;
mod model;
mod repository;
mod sender;

pub use delivery::{
    Candidate, Chain, Claim, Claimed, Destination, Earlier, Outcome, RecordedEvent, RetryPolicy, Standing, Verdict,
};
pub use model::{Event, Fact, KINDS};
pub use repository::{Backlog, DeliveryRepository, NewDelivery, OutboxRepository, Settlement, Undispatched};
pub use sender::{EventSender, Receiver};
