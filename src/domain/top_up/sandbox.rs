//! The sandbox: a payment provider for development, whose payer chooses the outcome of a checkout.

use async_trait::async_trait;
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

use super::{CheckoutState, ProviderError, SignedNotification};
use crate::domain::{clock::Instant, id::TopUpId, points::Points, repository_error::RepositoryError};

/// The state of a sandbox checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum SandboxState {
    /// It can be paid until its deadline.
    Open,
    /// The payer paid.
    Paid,
    /// The payment was declined.
    Failed,
    /// The server ended it before a payment.
    Expired,
}

impl SandboxState {
    /// The name in the database and on the page.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A checkout of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxCheckout {
    /// Identifies the checkout. It is the secret part of its URL.
    pub id: Uuid,
    /// The top-up that the checkout is for.
    pub top_up_id: TopUpId,
    /// The price, in points.
    pub amount: Points,
    /// The stored state; [`state_at`](Self::state_at) reflects the clock.
    pub state: SandboxState,
    /// The instant of its creation.
    pub created_at: Instant,
    /// The deadline for the payment.
    pub expires_at: Instant,
    /// The instant of its refund; `None` if it wasn't refunded.
    pub refunded_at: Option<Instant>,
}

impl SandboxCheckout {
    /// The state at `now`, as the provider reports it.
    pub fn state_at(&self, now: Instant) -> CheckoutState {
        match self.state {
            SandboxState::Open if now < self.expires_at => CheckoutState::Open,
            SandboxState::Open | SandboxState::Expired => CheckoutState::Expired,
            SandboxState::Paid => CheckoutState::Paid(self.amount),
            SandboxState::Failed => CheckoutState::Failed,
        }
    }
}

/// Stores the sandbox's checkouts.
#[async_trait]
pub trait SandboxCheckoutRepository: Send {
    /// Inserts a checkout, unless its top-up has one. Returns the top-up's checkout.
    async fn insert_once(&mut self, checkout: &SandboxCheckout) -> Result<SandboxCheckout, RepositoryError>;

    /// Locks the checkout with this id until the transaction ends.
    async fn lock(&mut self, id: Uuid) -> Result<Option<SandboxCheckout>, RepositoryError>;

    /// Writes the state and the refund of a locked checkout.
    async fn update(&mut self, checkout: &SandboxCheckout) -> Result<(), RepositoryError>;

    /// The paid checkouts created at or after `since`. Takes no lock.
    async fn list_paid(&mut self, since: Instant) -> Result<Vec<SandboxCheckout>, RepositoryError>;
}

/// The payer's side of the sandbox.
#[async_trait]
pub trait SandboxProvider: Send + Sync {
    /// The checkout with this id and its current state; `None` for an unknown id.
    async fn checkout(&self, id: Uuid) -> Result<Option<SandboxCheckout>, ProviderError>;

    /// Pays an open checkout if `paid`, or has its payment declined. Any other checkout stays as it is. `None` for an
    /// unknown id.
    async fn conclude(&self, id: Uuid, paid: bool) -> Result<Option<SandboxCheckout>, ProviderError>;

    /// The signed notification about the state of a checkout; `None` while it is open.
    fn notification(&self, checkout: &SandboxCheckout) -> Option<SignedNotification>;
}
