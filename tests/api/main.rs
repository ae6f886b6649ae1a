//! The API, tested from outside: one module a feature, then what crosses them.

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
