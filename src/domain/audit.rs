//! The invariants, and the port that checks them.

use std::time::Duration;

use async_trait::async_trait;

use super::{clock::Instant, repository_error::RepositoryError};

/// Something that must hold at every commit, and what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Its number in the contract.
    pub number: u8,
    /// What must hold.
    pub name: &'static str,
    /// How many rows break it.
    pub violations: u64,
}

/// Checks the invariants.
#[async_trait]
pub trait AuditRepository: Send {
    /// Counts the violations of each invariant, all seen at one instant if the repositories are a snapshot's. The database
    /// stops the statement that runs when the limit is over, so that no connection is kept beyond it. A user may have
    /// `seat_limit` seats of a performance.
    async fn check(
        &mut self,
        now: Instant,
        seat_limit: u32,
        limit: Option<Duration>,
    ) -> Result<Vec<Invariant>, RepositoryError>;
}
