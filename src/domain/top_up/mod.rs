//! Top-ups: points that a user buys through a payment provider.
//!
//! `model.rs` has the transitions of a top-up, and `provider.rs` is the port of payment providers. `reconciliation.rs`
//! compares top-ups with the provider's payments. `sandbox.rs` has the ports of the provider that the server simulates
//! for development.

mod model;
mod provider;
mod reconciliation;
mod repository;
mod sandbox;

pub use model::{
    Checkout, CheckoutState, FIRST_CHECK, FailureReason, LEASE, Refund, Settlement, TopUp, TopUpStatus,
    UnansweredRequest,
};
pub use provider::{Notification, NotificationError, PaidCheckout, PaymentProvider, ProviderError, SignedNotification};
pub use reconciliation::{Difference, DifferenceKind, compare};
pub use repository::{TopUpDetails, TopUpRepository, TopUpSearch};
pub use sandbox::{SandboxCheckout, SandboxCheckoutRepository, SandboxProvider, SandboxState};
