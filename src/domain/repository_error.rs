//! How loading and storing can fail. "Not there" is `None`, never an error.

use std::error::Error;

/// The cause, for the log.
pub type Source = Box<dyn Error + Send + Sync>;

/// A failure of the database, sorted by what a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A unique key refused the row: somebody else was first.
    #[error("the unique key {constraint} refused a row")]
    NotUnique {
        /// The key's name, without its table.
        constraint: String,
    },
    /// A deadlock, a lock not had in time, or an optimistic version that has moved on: the whole transaction can be
    /// repeated.
    #[error("lost a race for {what}")]
    Contention {
        /// What was raced for.
        what: &'static str,
        /// The database's words, where it was the one to refuse.
        #[source]
        source: Option<Source>,
    },
    /// No connection to the database: not reachable, lost, or none free in time.
    #[error("the database is unavailable")]
    Unavailable(#[source] Source),
    /// This instance's clock is too far from the database's to decide anything by it: nothing was begun.
    #[error("this instance's clock is too far from the database's")]
    ClockSkewed,
    /// A stored value that the domain cannot be made of.
    #[error("a stored value makes no sense: {0}")]
    Corrupt(String),
    /// Anything else: a defect.
    #[error("a statement failed")]
    Storage(#[source] Source),
}

impl RepositoryError {
    /// An optimistic write that found another version than was read.
    pub fn stale(what: &'static str) -> Self {
        Self::Contention { what, source: None }
    }
}
