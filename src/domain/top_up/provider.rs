//! The port of payment providers.

use async_trait::async_trait;

use super::{Checkout, CheckoutState, TopUp};
use crate::domain::{clock::Instant, id::TopUpId, points::Points};

/// The failure of a call. The text is for the log, and contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider didn't answer, or a later attempt may succeed. The call may have had its effect.
    #[error("the payment provider is unavailable: {0}")]
    Unavailable(String),
    /// The provider refuses the request, and would refuse it again. The call had no effect.
    #[error("the payment provider refuses: {0}")]
    Refused(String),
}

/// A provider's notification about a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The top-up that the checkout was created for.
    pub top_up_id: TopUpId,
    /// The checkout that the notification is about.
    pub checkout: Checkout,
    /// The state of that checkout.
    pub state: CheckoutState,
}

/// The reason why a notification isn't accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationError {
    /// The signature is missing, wrong or too old.
    Forged,
    /// The signature is valid, but the body can't be parsed.
    Unreadable,
}

/// A notification's body with its signature.
#[derive(Clone, Debug)]
pub struct SignedNotification {
    /// The value of the provider's signature header.
    pub signature: String,
    /// The body, byte for byte as it was signed.
    pub body: Vec<u8>,
}

/// A checkout that was paid, for the reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidCheckout {
    /// The top-up that the checkout names; `None` for one that this server didn't create.
    pub top_up_id: Option<TopUpId>,
    /// The provider's id of the checkout.
    pub checkout_id: String,
    /// The paid amount, in points.
    pub amount: Points,
    /// The instant at which the provider created the checkout.
    pub created_at: Instant,
}

/// A payment provider. Every call ends in bounded time, shorter than [`LEASE`](super::LEASE). Calls are repeated after
/// a crash, so a call with an effect must have it once for each top-up.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// The name in paths and in the database.
    fn name(&self) -> &'static str;

    /// The name of the header that contains a notification's signature.
    fn signature_header(&self) -> &'static str;

    /// Checks that an amount can be paid in the provider's currency. `Err` has the violated rule.
    fn check_amount(&self, amount: Points) -> Result<(), String>;

    /// Creates the checkout of a top-up, or returns the one that an earlier call created.
    async fn create_checkout(&self, top_up: &TopUp) -> Result<Checkout, ProviderError>;

    /// The state of a checkout.
    async fn find_checkout(&self, checkout_id: &str) -> Result<CheckoutState, ProviderError>;

    /// Ends an open checkout, so that it can't be paid any more. Returns its final state; [`CheckoutState::Open`] while
    /// a payment is being processed.
    async fn end_checkout(&self, checkout_id: &str) -> Result<CheckoutState, ProviderError>;

    /// Refunds the whole payment of a top-up; has no effect if an earlier call did.
    async fn refund(&self, top_up_id: TopUpId, checkout_id: &str) -> Result<(), ProviderError>;

    /// All paid checkouts created at or after `since`.
    async fn list_paid(&self, since: Instant) -> Result<Vec<PaidCheckout>, ProviderError>;

    /// Verifies a notification at `now` and parses it; `None` for one that isn't about a checkout's end.
    fn read_notification(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Instant,
    ) -> Result<Option<Notification>, NotificationError>;
}
