//! The invariants of the database, and the port that checks them.

use std::time::Duration;

use async_trait::async_trait;

use super::{clock::Instant, repository_error::RepositoryError};

/// A statement about the whole database that holds at every commit, with the result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Its number, the same in every version.
    pub number: u8,
    /// The statement, as a sentence without its full stop.
    pub name: &'static str,
    /// The number of rows that violate it; 0 if it holds.
    pub violations: u64,
}

/// The port that checks the invariants.
#[async_trait]
pub trait AuditRepository: Send {
    /// Counts the violations of each invariant. In a [snapshot](super::unit_of_work::Database::snapshot) all counts are
    /// of one instant.
    ///
    /// `limit` bounds the duration of the whole check: the database stops the running statement then, which frees the
    /// connection. `seat_limit` is the most seats of one performance that a user may have.
    async fn check(
        &mut self,
        now: Instant,
        seat_limit: u32,
        limit: Option<Duration>,
    ) -> Result<Vec<Invariant>, RepositoryError>;
}
