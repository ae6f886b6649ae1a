//! The translation of sqlx's errors into the domain's.

use sqlx::{
    Error,
    error::{ErrorKind, UnexpectedNullError},
    mysql::MySqlDatabaseError,
};

use super::{cluster, connection_loss};
use crate::domain::repository_error::RepositoryError;

/// Deadlock; lock wait timeout; a snapshot that is too old (newer MariaDB); a lock refused to `NOWAIT`; a conflict with
/// another node of Group Replication; the savepoint of a transaction that Galera has rolled back. Galera reports a
/// conflict as a deadlock, and Group Replication also as [`COMMIT_DEADLOCK`].
const CONTENTION: [u16; 6] = [1213, LOCK_TIMEOUT, 1020, 3572, 3101, 1305];

const LOCK_TIMEOUT: u16 = 1205;

/// Too many connections (two limits); shutting down (two codes); killed (two codes); read-only (two codes); access
/// denied (to the server, to the database); unknown database; too many prepared statements.
///
/// The last six come from a node that isn't part of its cluster: one from Galera, five from Group Replication.
const UNAVAILABLE: [u16; 18] =
    [1040, 1203, 1053, 3169, 1317, 1927, 1290, 1792, 1045, 1044, 1049, 1461, 1047, 3100, 3796, 3797, 3798, 3799];

/// The commit failed. The number in the message distinguishes a deadlock, after which nothing was committed, from a
/// node of Galera that lost its cluster.
const FAILED_COMMIT: u16 = 1180;
const COMMIT_DEADLOCK: &str = "Got error 149 ";

const NO_TABLE: u16 = 1146;

/// The number of an error that the database reported.
fn number(error: &Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref().map(MySqlDatabaseError::number)
}

/// Whether a statement failed because its table doesn't exist.
pub(super) fn lacks_table(error: &Error) -> bool {
    number(error) == Some(NO_TABLE)
}

/// Whether a statement was refused because of a concurrent transaction, so that its own can be repeated.
pub(super) fn is_contention(error: &Error) -> bool {
    error.as_database_error().is_some_and(|database| {
        let number = number(error).unwrap_or(0);
        CONTENTION.contains(&number) || number == FAILED_COMMIT && database.message().starts_with(COMMIT_DEADLOCK)
    })
}

/// Refuses a write that found another number of rows than expected, because a row has changed since it was read.
pub(super) fn require_rows(found: u64, expected: usize, what: &'static str) -> Result<(), RepositoryError> {
    if usize::try_from(found) == Ok(expected) { Ok(()) } else { Err(RepositoryError::stale(what)) }
}

impl From<Error> for RepositoryError {
    fn from(error: Error) -> Self {
        let Error::Database(database) = &error else {
            return match error {
                Error::Io(_) | Error::Tls(_) | Error::WorkerCrashed | Error::Protocol(_) => {
                    connection_loss::record();
                    Self::Unavailable(error.into())
                }
                Error::PoolTimedOut | Error::PoolClosed => Self::Unavailable(error.into()),
                Error::ColumnDecode { ref source, .. }
                    if cluster::is_galera() && source.is::<UnexpectedNullError>() =>
                {
                    let (what, source) = ("an interrupted statement", Some(error.into()));
                    Self::Contention { what, is_lock_timeout: false, source }
                }
                Error::ColumnDecode { .. } | Error::Decode(_) => Self::Corrupt(error.to_string()),
                other => Self::Storage(other.into()),
            };
        };
        let number = number(&error).unwrap_or(0);
        if is_contention(&error) {
            Self::Contention { what: "a lock", is_lock_timeout: number == LOCK_TIMEOUT, source: Some(error.into()) }
        } else if number == FAILED_COMMIT || UNAVAILABLE.contains(&number) {
            connection_loss::record();
            Self::Unavailable(error.into())
        } else if database.kind() == ErrorKind::UniqueViolation {
            Self::NotUnique { constraint: constraint_name(database.message()).to_owned() }
        } else {
            Self::Storage(error.into())
        }
    }
}

/// The key's name in `Duplicate entry '…' for key 'table.key'`: MySQL names the table, MariaDB doesn't.
fn constraint_name(message: &str) -> &str {
    let quoted = message.strip_suffix('\'').and_then(|text| text.rsplit_once('\'')).map_or("", |(_, key)| key);
    quoted.rsplit_once('.').map_or(quoted, |(_, key)| key)
}

/// The error of a stored value that isn't valid in the domain.
pub(super) fn corrupt(what: &str, value: impl std::fmt::Debug) -> RepositoryError {
    RepositoryError::Corrupt(format!("{what}: {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constraints_name_is_read_from_the_messages_of_both_servers() {
        assert_eq!(constraint_name("Duplicate entry 'a.b' for key 'uq_users_email_key'"), "uq_users_email_key");
        assert_eq!(constraint_name("Duplicate entry 'it's' for key 'users.uq_users_email_key'"), "uq_users_email_key");
    }
}
