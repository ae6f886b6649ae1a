//! Paths that several files name.

/// The prefix of every API path.
pub const BASE_PATH: &str = "/api/v1";
