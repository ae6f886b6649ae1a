//! The adapters of payment providers: the sandbox for development, and Stripe.

mod sandbox;
mod signature;
mod stripe;

pub use sandbox::Sandbox;
pub use stripe::{Stripe, StripeSettings, is_supported};
