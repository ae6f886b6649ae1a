//! The API, tested from outside: one module a feature, then what crosses them.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod journey;
mod races;
mod sessions;
mod support;
