//! The OpenAPI document: the handlers' annotations, completed with the parts that all operations share.
//!
//! utoipa collects the annotations. The other files complete the document's JSON: [`schemas`] makes types exact,
//! [`problems`] lists the problems of each operation, [`headers`] declares response headers, [`events`] describes
//! webhooks. [`document`] puts the parts together.

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
