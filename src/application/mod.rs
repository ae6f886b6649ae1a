//! Use cases: each is one facade method with one transaction.
//!
//! A facade begins the transaction, loads and locks rows, reads the clock, calls the domain's decision, stores the
//! result and commits. Between these steps it awaits nothing but the database. Frequent concurrent writes go through
//! [lanes](lane). Nothing here depends on HTTP or SQL.
//!
//! # Errors
//!
//! Every use case can fail with [`Unavailable`](error::AppError::Unavailable),
//! [`ClockSkewed`](error::AppError::ClockSkewed) or [`Internal`](error::AppError::Internal), and one that writes with
//! [`Contention`](error::AppError::Contention). The section `# Errors` of a method lists its other failures.

pub mod administration;
pub mod audit;
pub mod booking;
pub mod changes;
pub mod concert;
pub mod database_loss;
mod draw;
pub mod error;
pub mod event;
mod fair_queue;
pub mod housekeeping;
pub mod lane;
pub mod loader;
pub mod mail;
pub mod payment;
pub mod point;
pub mod queue;
mod refresh;
mod retry;
pub mod settlement;
pub mod ticket;
pub mod top_up;
pub mod user;

use std::sync::Arc;

use tokio::sync::Notify;

use self::{changes::ChangeCounter, event::Receivers};
use crate::domain::{
    administration::{Action, ActionEntry},
    clock::{Clock, ClockCheck, Instant},
    id::{ActionId, BookingId, EventId, PaymentId, TransactionId},
    queue::SeedVault,
    randomness::{Randomness, new_uuid},
    token::TokenSigner,
    unit_of_work::Database,
};

/// How often a batch or a shared read yields before it starts.
const YIELDS_TO_COALESCE: usize = 4;

/// Yields to other tasks, so that requests that are about to arrive join the batch. It takes no time if no task is
/// ready.
async fn yield_to_coalesce() {
    for _ in 0..YIELDS_TO_COALESCE {
        tokio::task::yield_now().await;
    }
}

/// The ports that every use case may need.
#[derive(Clone)]
pub struct Ports {
    /// The connection pool of single requests.
    pub database: Arc<dyn Database>,
    /// The connection pool of administrators and recurring jobs. Two pools keep either side from delaying the other
    /// (bulkhead).
    pub back_office: Arc<dyn Database>,
    /// The clock that dates decisions.
    pub clock: Arc<dyn Clock>,
    /// Whether the clock agrees with the database's, so that its instants may be used for decisions.
    pub clock_check: Arc<ClockCheck>,
    /// The source of ids, jitter and nonces.
    pub randomness: Arc<dyn Randomness>,
    /// Signs and verifies tokens.
    pub signer: Arc<dyn TokenSigner>,
    /// Encrypts the seeds of draws until the draws are made.
    pub seeds: Arc<dyn SeedVault>,
    /// The receivers of events.
    pub receivers: Receivers,
    /// Notified after each commit of this instance that recorded events with receivers.
    pub event_written: Arc<Notify>,
    /// Counts the commits of this instance that changed the status of a seat.
    pub seat_change_counter: ChangeCounter,
}

impl Ports {
    /// These ports with the back office's connection pool alone.
    #[must_use]
    pub fn for_back_office(&self) -> Self {
        Self { database: Arc::clone(&self.back_office), ..self.clone() }
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A new booking's id.
    pub(crate) fn booking_id(&self, now: Instant) -> BookingId {
        BookingId(new_uuid(&*self.randomness, now))
    }

    /// A new payment's id.
    pub(crate) fn payment_id(&self, now: Instant) -> PaymentId {
        PaymentId(new_uuid(&*self.randomness, now))
    }

    /// A new ledger entry's id.
    pub(crate) fn transaction_id(&self, now: Instant) -> TransactionId {
        TransactionId(new_uuid(&*self.randomness, now))
    }

    /// A new event's id.
    pub(crate) fn event_id(&self, now: Instant) -> EventId {
        EventId(new_uuid(&*self.randomness, now))
    }

    /// A new entry of the action log.
    pub(crate) fn action_entry(&self, now: Instant, action: Action) -> ActionEntry {
        ActionEntry { id: ActionId(new_uuid(&*self.randomness, now)), action, created_at: now }
    }
}
