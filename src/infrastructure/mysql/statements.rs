//! How many statements stay prepared: on each connection, and so on the server, whose number is limited.

use sqlx::{
    Connection,
    mysql::{MySqlConnectOptions, MySqlConnection},
};

/// How many statements a connection keeps prepared; beyond it the one that was used longest ago is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptStatements {
    /// Those of the lanes: each in a few sizes, by the number of commands in a batch.
    Lane,
    /// Those of single requests and of jobs.
    Other,
}

impl KeptStatements {
    /// How many.
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

/// Compares what the connections of an instance keep with what the server allows all of its clients together
/// (`max_prepared_stmt_count`), and says so in the log where it isn't enough.
pub async fn check_kept_statements(options: &MySqlConnectOptions, kept: u32) -> Result<(), sqlx::Error> {
    let mut connection = MySqlConnection::connect_with(options).await?;
    let text = "SELECT CAST(@@GLOBAL.max_prepared_stmt_count AS UNSIGNED)";
    let allowed: u64 = sqlx::query_scalar(text).fetch_one(&mut connection).await?;
    connection.close().await?;
    if let Some(what) = shortage(allowed, kept.into()) {
        tracing::error!("{what}");
    }
    Ok(())
}

/// What is wrong, if an instance may keep more statements than the server allows.
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

    /// Of both servers.
    const DEFAULT_LIMIT: u64 = 16_382;

    #[test]
    fn a_server_that_keeps_too_few_statements_is_named_with_what_to_do() {
        assert_eq!(shortage(DEFAULT_LIMIT, DEFAULT_LIMIT), None);
        let what = shortage(DEFAULT_LIMIT, 22_528).unwrap();
        for part in ["16382", "22528", "max_prepared_stmt_count", "DATABASE_MAX_CONNECTIONS"] {
            assert!(what.contains(part), "{what}");
        }
    }

    #[sqlx::test(migrations = false)]
    async fn the_limit_of_the_server_is_read(_: sqlx::mysql::MySqlPoolOptions, options: MySqlConnectOptions) {
        check_kept_statements(&options, u32::MAX).await.unwrap();
    }
}
