//! The API, tested from outside: one module a feature, then what crosses them.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

mod journey;

mod users;

mod points;

mod payments;

mod idempotency;

mod bad_input;

mod sessions;

mod support;
