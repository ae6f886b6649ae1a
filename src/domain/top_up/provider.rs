//! The port of payment providers.

use async_trait::async_trait;

use super::{Checkout, CheckoutState, TopUp};
use crate::domain::{clock::Instant, id::TopUpId, points::Points};

/// The failure of a call. The text is for the log, and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No answer, or one that a later attempt may change. The call may have had its effect.
    #[error("the payment provider is unavailable: {0}")]
    Unavailable(String),
    /// The provider refuses the request for good. The call had no effect.
    #[error("the payment provider refuses: {0}")]
    Refused(String),
}

/// A provider's message about a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The top-up that the checkout was created for.
    pub top_up_id: TopUpId,
    /// The checkout.
    pub checkout: Checkout,
    /// Its state.
    pub state: CheckoutState,
}

/// A notification that isn't accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationError {
    /// The signature is missing, wrong or too old.
    Forged,
    /// The signature is right, and the body can't be read.
    Unreadable,
}

/// A notification's body with its signature.
#[derive(Clone, Debug)]
pub struct SignedNotification {
    /// The value of the provider's signature header.
    pub signature: String,
    /// The body as it is signed.
    pub body: Vec<u8>,
}

/// A checkout that was paid, for the reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidCheckout {
    /// The top-up that the checkout names; `None` for one that this server didn't create.
    pub top_up_id: Option<TopUpId>,
    /// The provider's id.
    pub checkout_id: String,
    /// The paid amount.
    pub amount: Points,
    /// The instant at which the provider created it.
    pub created_at: Instant,
}

/// A payment provider. Every call ends in bounded time, shorter than [`LEASE`](super::LEASE). Calls are repeated after
/// a crash, so those with an effect have it once for each top-up.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// The name in paths and in the database.
    fn name(&self) -> &'static str;

    /// The header of a notification that has its signature.
    fn signature_header(&self) -> &'static str;

    /// Refuses an amount that can't be paid in the provider's currency, with the rule that it breaks.
    fn check_amount(&self, amount: Points) -> Result<(), String>;

    /// Creates the checkout of a top-up, or returns the one that an earlier call created.
    async fn create_checkout(&self, top_up: &TopUp) -> Result<Checkout, ProviderError>;

    /// The state of a checkout.
    async fn find_checkout(&self, checkout_id: &str) -> Result<CheckoutState, ProviderError>;

    /// Ends an open checkout, so that it can't be paid any more. Returns its final state; [`CheckoutState::Open`] while
    /// a payment is being processed.
    async fn end_checkout(&self, checkout_id: &str) -> Result<CheckoutState, ProviderError>;

    /// Sends the whole payment of a top-up back; has no effect if an earlier call did.
    async fn refund(&self, top_up_id: TopUpId, checkout_id: &str) -> Result<(), ProviderError>;

    /// All paid checkouts created since an instant.
    async fn list_paid(&self, since: Instant) -> Result<Vec<PaidCheckout>, ProviderError>;

    /// Verifies and reads a notification at `now`; `None` for a message that isn't about a checkout's end.
    fn read_notification(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Instant,
    ) -> Result<Option<Notification>, NotificationError>;
}
