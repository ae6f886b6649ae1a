//! The failures of repositories. An absent row is `None`, never an error.

use std::error::Error;

/// The cause, for the log.
pub type Source = Box<dyn Error + Send + Sync>;

/// A failure of the database, classified by the caller's possible reaction.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A unique key refused the row: another transaction inserted it first.
    #[error("the unique key {constraint} refused a row")]
    NotUnique {
        /// The unique key's name, without its table.
        constraint: String,
    },
    /// A deadlock, a lock wait timeout, or a stale version: the whole transaction can be retried.
    #[error("contention for {what}")]
    Contention {
        /// The contended resource, for the log.
        what: &'static str,
        /// Whether another transaction kept a lock for the whole wait. A repetition may wait as long.
        is_lock_timeout: bool,
        /// The database's error; `None` if a version check failed.
        #[source]
        source: Option<Source>,
    },
    /// No connection to the database: it is unreachable, the connection is lost, or no pooled one became free in time.
    #[error("the database is unavailable")]
    Unavailable(#[source] Source),
    /// This instance's clock differs too much from the database's. No transaction was begun.
    #[error("this instance's clock is too far from the database's")]
    ClockSkewed,
    /// A stored value violates a rule of the domain. The text names the value.
    #[error("a stored value is invalid: {0}")]
    Corrupt(String),
    /// Any other failure of a statement: a defect.
    #[error("a statement failed")]
    Storage(#[source] Source),
}

impl RepositoryError {
    /// The failure of an optimistic write: the row has another version than the one that was read.
    pub fn stale(what: &'static str) -> Self {
        Self::Contention { what, is_lock_timeout: false, source: None }
    }
}
