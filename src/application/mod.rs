//! Use cases: one facade method each, one transaction each.
//!
//! Facades read the clock once, open the transaction, let the domain decide, store, and commit; nothing but the
//! database is awaited in between. Writes that many people do at once go through [lanes](lane). Nothing here knows of
//! HTTP or SQL.

pub mod audit;
pub mod booking;
pub mod changes;
pub mod concert;
pub mod database_loss;
mod draw;
pub mod error;
pub mod event;
pub mod housekeeping;
pub mod lane;
pub mod loader;
pub mod payment;
pub mod point;
pub mod queue;
pub mod retry;
pub mod settlement;
pub mod user;

use std::sync::Arc;

use tokio::sync::Notify;

use self::changes::ChangeCounter;
use crate::domain::{
    clock::{Clock, ClockCheck, Instant},
    id::{BookingId, EventId, PaymentId, TransactionId},
    queue::SeedVault,
    randomness::{Randomness, new_uuid},
    token::TokenSigner,
    unit_of_work::Database,
};

/// How often everybody else goes first before something is done for all who ask.
const YIELDS_TO_COALESCE: usize = 4;

/// Lets everybody else go first: whoever is about to ask then comes along. It costs no time where there is nobody.
async fn yield_to_coalesce() {
    for _ in 0..YIELDS_TO_COALESCE {
        tokio::task::yield_now().await;
    }
}

/// The ports that every use case may need.
#[derive(Clone)]
pub struct Ports {
    /// For single requests.
    pub database: Arc<dyn Database>,
    /// The same, for administrators and for what recurs: with connections of its own, so that neither side can keep
    /// the other waiting.
    pub back_office: Arc<dyn Database>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whether what it tells may be decided by.
    pub clock_check: Arc<ClockCheck>,
    /// Gives chance.
    pub randomness: Arc<dyn Randomness>,
    /// Signs and reads tokens.
    pub signer: Arc<dyn TokenSigner>,
    /// Seals the seeds of draws to come.
    pub seeds: Arc<dyn SeedVault>,
    /// Whether there is a data platform, to which every event goes.
    pub has_data_platform: bool,
    /// Notified of each commit of this instance that wrote events somebody is to be sent.
    pub event_written: Arc<Notify>,
    /// Each commit of this instance that changed what seats are.
    pub seat_change_counter: ChangeCounter,
}

impl Ports {
    /// The ports of somebody who works in the back office alone.
    #[must_use]
    pub fn for_back_office(&self) -> Self {
        Self { database: Arc::clone(&self.back_office), ..self.clone() }
    }

    /// The present instant.
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
}
