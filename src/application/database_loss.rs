//! Giving up on a database that no longer answers.

use super::error::AppError;
use crate::domain::{repository_error::RepositoryError, unit_of_work::Database};

/// Waits for work on the database, until that is [lost](Database::wait_until_lost).
///
/// A statement that was sent may never be answered: its server hangs, or the way there is cut. Work that is given up
/// may have been done all the same, as after any lost connection.
pub async fn or_unavailable<T>(database: &dyn Database, work: impl Future<Output = T>) -> Result<T, RepositoryError> {
    tokio::select! {
        biased;
        result = work => Ok(result),
        () = database.wait_until_lost() => Err(database_lost_error()),
    }
}

fn database_lost_error() -> RepositoryError {
    RepositoryError::Unavailable("the database has stopped answering".into())
}

impl AppError {
    /// What a use case that was given up for it would have failed with.
    pub fn database_lost() -> Self {
        database_lost_error().into()
    }
}
