//! The OpenAPI document: what the handlers say of themselves, completed with what holds for all of them.
//!
//! utoipa collects the handlers' annotations. The rest is done on the document's JSON, one concern a file: [`schemas`]
//! makes types exact, [`problems`] lists what each operation can refuse, [`headers`] declares what answers carry,
//! [`events`] describes what receivers of webhooks get.

mod document;
mod events;
pub(super) mod examples;
mod headers;
mod info;
mod json;
mod problems;
mod schemas;
mod schemes;

pub use document::{Document, add_shared_parts};
pub use info::DemoAccounts;
