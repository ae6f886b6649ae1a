//! The end of work on a database that has stopped answering.

use super::error::AppError;
use crate::domain::{repository_error::RepositoryError, unit_of_work::Database};

/// Runs work on the database until it ends or the database is [lost](Database::wait_until_lost).
///
/// A statement may never be answered, because the database hangs or the network fails. Abandoned work may have taken
/// effect, as after any lost connection.
///
/// # Errors
///
/// [`RepositoryError::Unavailable`] when the database is lost first.
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
    /// The failure of a use case that was abandoned because the database is lost.
    pub fn database_lost() -> Self {
        database_lost_error().into()
    }
}
