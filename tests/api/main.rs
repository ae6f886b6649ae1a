//! The API, tested from outside: one module a feature, then what crosses them.

mod journey;
mod races;
mod sessions;
mod support;
