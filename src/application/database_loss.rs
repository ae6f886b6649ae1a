//! The end of work on a database, or on one connection, that has stopped answering.

use std::{pin::pin, time::Duration};

use tokio::time::timeout;

use super::error::AppError;
use crate::domain::{repository_error::RepositoryError, unit_of_work::Database};

/// The time limit of a read without another limit, such as that of a request. It is longer than the waits for a
/// connection and for a table together.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The time limit of one transaction outside of requests and jobs: longer than several lock wait timeouts in a row.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

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

/// The same for work on one connection, with a time limit.
///
/// One connection may fall silent while the database answers on others. Work on it would never end, and neither would
/// what waits for the work.
///
/// # Errors
///
/// [`RepositoryError::Unavailable`] also when the limit is reached first. The connection is then closed when it is
/// released, and each other one is tested before its next use.
pub async fn or_unavailable_within<T>(
    database: &dyn Database,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, RepositoryError> {
    let mut work = pin!(or_unavailable(database, work));
    if let Ok(result) = timeout(limit, &mut work).await {
        return result;
    }
    // This precedes the release of the connection.
    database.suspect_connections();
    Err(RepositoryError::Unavailable("a connection to the database has stopped answering".into()))
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
