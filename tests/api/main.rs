//! The API, tested from outside: one module a feature, then what crosses them.
#![expect(clippy::unwrap_used, reason = "where a helper fails, its test fails")]

mod journey;
mod sessions;

mod concerts;
mod queue;

mod gate;
mod seats;

mod bookings;
mod expiry;

mod admin;
mod operation;

mod support;
