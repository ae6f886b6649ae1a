//! The API, tested from outside: one module a feature, then what crosses them.

mod catalogue;
mod journey;
mod sessions;
mod support;
