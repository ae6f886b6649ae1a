//! The number of prepared statements per connection, and the check against the server's limit.

use sqlx::{
    Connection,
    mysql::{MySqlConnectOptions, MySqlConnection},
};

/// The number of statements that a connection keeps prepared. Beyond it the least recently used one is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptStatements {
    /// For the lanes, whose statements have several lengths each, by the number of commands in a batch.
    Lane,
    /// For single requests and jobs.
    Other,
}

impl KeptStatements {
    /// Statements per connection.
    pub const fn number(self) -> u32 {
        match self {
            Self::Lane => 448,
            Self::Other => 128,
        }
    }

    pub(super) fn keep(self, options: MySqlConnectOptions) -> MySqlConnectOptions {
        options.statement_cache_capacity(self.number() as usize)
    }
}

/// Compares `kept`, the number of statements that this instance may keep prepared, with the server's limit for all of
/// its clients (`max_prepared_stmt_count`). Logs an error if the limit is too low.
///
/// # Errors
///
/// If the limit can't be read.
pub async fn check_kept_statements(options: &MySqlConnectOptions, kept: u32) -> Result<(), sqlx::Error> {
    let mut connection = MySqlConnection::connect_with(options).await?;
    let text = "SELECT CAST(@@GLOBAL.max_prepared_stmt_count AS UNSIGNED)";
    let allowed: u64 = sqlx::query_scalar(text).fetch_one(&mut connection).await?;
    connection.close().await?;
    if let Some(message) = shortage(allowed, kept.into()) {
        tracing::error!("{message}");
    }
    Ok(())
}

/// The message to an operator, if an instance may keep more statements than the server allows.
fn shortage(allowed: u64, kept: u64) -> Option<String> {
    (kept > allowed).then(|| {
        format!(
            "the database keeps {allowed} statements prepared for all of its clients, and this instance may need \
             {kept}: beyond the limit requests fail. Set max_prepared_stmt_count of the database to {kept} for each \
             instance, or lower DATABASE_MAX_CONNECTIONS"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default of MySQL and MariaDB.
    const DEFAULT_LIMIT: u64 = 16_382;

    #[test]
    fn too_low_a_limit_is_reported_with_the_remedies() {
        assert_eq!(shortage(DEFAULT_LIMIT, DEFAULT_LIMIT), None);
        let what = shortage(DEFAULT_LIMIT, 22_528).unwrap();
        for part in ["16382", "22528", "max_prepared_stmt_count", "DATABASE_MAX_CONNECTIONS"] {
            assert!(what.contains(part), "{what}");
        }
    }

    #[sqlx::test(migrations = false)]
    async fn the_servers_limit_is_read(_: sqlx::mysql::MySqlPoolOptions, options: MySqlConnectOptions) {
        check_kept_statements(&options, u32::MAX).await.unwrap();
    }
}
