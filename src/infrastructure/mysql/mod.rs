//! The adapter of MySQL 8.4 and later, and MariaDB 10.11 and later. SQL stays in the subset that both understand.
//!
//! A file or folder per feature holds its SQL and its `impl …Repository for Session`. Values are bound, never part of a
//! statement's text. Only the health probe and the lease of migrations read the database's clock.

mod action_log;
mod audit;
mod booking;
mod cluster;
mod code;
mod concert;
mod connection_loss;
mod delivery;
mod delivery_rows;
mod error;
mod event;
mod export;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod fixtures_catalogue;
mod health_probe;
mod idempotency;
mod mail;
mod migration;
mod migration_lease;
mod payment;
mod point;
mod queue;
mod rows_by_id;
mod sandbox_checkout;
mod session;
mod sql;
mod statements;
mod ticket;
mod top_up;
mod unit_of_work;
mod user;
mod user_details;
mod user_rows;
mod webhook;

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, Executor, MySqlPool, Row,
    migrate::Migrator,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions},
};
use tokio::time::timeout;

pub use health_probe::HealthProbe;
pub use migration::{MigrateError, migrate, require_current_schema};
pub use statements::{KeptStatements, check_kept_statements};
pub use unit_of_work::MySqlDatabase;

/// The schema, one DDL statement a file.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// A connection that was idle for longer than this is pinged before use.
const MAX_IDLE_WITHOUT_PING: Duration = Duration::from_millis(500);

/// The time limit of a ping, and of the check that a released connection has no work left.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The time after which the database closes a session that sends nothing, and rolls its transaction back. A client that
/// has vanished without closing its connection keeps its locks no longer than this.
const WAIT_TIMEOUT_SECONDS: u32 = 60;

/// The time after which the pool closes an idle connection. sqlx looks for idle connections at this interval, and
/// restarts the idle time of those that it keeps. So one may idle three times as long, which is still less than
/// [`WAIT_TIMEOUT_SECONDS`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Maximum of open connections.
    pub max_connections: u32,
    /// The statements that each connection keeps prepared.
    pub statements: KeptStatements,
    /// Maximum wait of a caller for a free connection.
    pub acquire_timeout: Duration,
}

/// Parses a `mysql://` URL.
///
/// # Errors
///
/// If the text isn't such a URL.
pub fn parse_url(url: &str) -> Result<MySqlConnectOptions, sqlx::Error> {
    MySqlConnectOptions::from_str(url)
}

/// Creates a pool. It connects on demand, so creation succeeds while the database is unavailable.
///
/// A silent connection is dropped without an orderly close. Over TLS sqlx would wait for the peer's answer (its
/// `RustlsSocket::poll_flush` reads), and the connection would keep its slot until TCP times out.
pub fn pool(options: MySqlConnectOptions, settings: PoolSettings, health_probe: HealthProbe) -> MySqlPool {
    let options = settings.statements.keep(options);
    MySqlPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        // A ping before each use would cost a round trip. So only idle connections are pinged, and after a loss every
        // connection once. After a restart of the database few requests get a dead connection.
        .test_before_acquire(false)
        .before_acquire({
            let options = options.clone();
            move |connection, meta| {
                let options = options.clone();
                Box::pin(async move {
                    if meta.idle_for < MAX_IDLE_WITHOUT_PING && !connection_loss::lost_within(meta.idle_for) {
                        return Ok(true);
                    }
                    if !matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(()))) {
                        connection_loss::record();
                        // The assignment drops the silent connection.
                        *connection = MySqlConnection::connect_with(&options).await?;
                        prepare(connection).await?;
                    }
                    Ok(true)
                })
            }
        })
        .after_release(move |connection, _| {
            // A statement may still run on it whose caller has stopped waiting.
            let is_unavailable = health_probe.is_unavailable();
            Box::pin(async move {
                if is_unavailable || !is_drained(connection).await {
                    drop_released_connection();
                }
                cluster::end_guard(connection).await?;
                Ok(true)
            })
        })
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_lazy_with(options)
}

/// Waits at most [`PING_TIMEOUT`] until a released connection has no work left, such as an abandoned statement or a
/// rollback. On a silent connection the work never ends. Without work the check costs no round trip.
async fn is_drained(connection: &mut MySqlConnection) -> bool {
    let is_drained = matches!(timeout(PING_TIMEOUT, connection.flush()).await, Ok(Ok(())));
    if !is_drained {
        connection_loss::record();
    }
    is_drained
}

/// Drops the connection that is being released, and frees its slot.
///
/// The pool releases in a task of its own, and `after_release` can only keep a connection or close it. Unwinding ends
/// that task, which owns the connection and its slot; no panic hook runs.
fn drop_released_connection() -> ! {
    std::panic::resume_unwind(Box::new("a released connection is dropped"))
}

/// Sets the options that every session needs. Each statement sees the newest commit, lock waits are short, abandoned
/// transactions end, and invalid values are refused instead of converted. MariaDB is looser by default than MySQL.
async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    connection.execute("SET SESSION innodb_lock_wait_timeout = 3").await?;
    // Applies to a table that is altered or locked as a whole; the defaults are a day and a year.
    connection.execute("SET SESSION lock_wait_timeout = 3").await?;
    let wait_timeout = format!("SET SESSION wait_timeout = {WAIT_TIMEOUT_SECONDS}");
    connection.execute(AssertSqlSafe(wait_timeout)).await?;
    connection
        .execute(
            "SET SESSION sql_mode = CONCAT(@@sql_mode, \
             ',STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,NO_ZERO_IN_DATE')",
        )
        .await?;
    cluster::read_causally(connection).await?;
    // On an unencrypted connection the cipher's name is empty.
    let cipher = connection.fetch_one("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await?;
    if !cipher.try_get_unchecked::<String, _>(1)?.is_empty() {
        sql::record_encryption();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To the database, a client that has vanished is one that sends nothing.
    #[sqlx::test(migrations = false)]
    async fn the_database_ends_the_transaction_of_a_silent_client(_: MySqlPoolOptions, options: MySqlConnectOptions) {
        let settings = PoolSettings {
            max_connections: 2,
            statements: KeptStatements::Other,
            acquire_timeout: Duration::from_secs(9),
        };
        let pool = pool(options, settings, HealthProbe::default());
        let (mut silent, mut other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        other.execute("CREATE TABLE locked (id INT PRIMARY KEY)").await.unwrap();
        other.execute("INSERT INTO locked VALUES (1)").await.unwrap();
        let query = "SELECT CAST(@@SESSION.wait_timeout AS SIGNED)";
        let limit: i64 = sqlx::query_scalar(query).fetch_one(&mut *silent).await.unwrap();
        assert_eq!(limit, i64::from(WAIT_TIMEOUT_SECONDS));
        assert!(pool.options().get_idle_timeout().unwrap() * 3 < Duration::from_secs(u64::from(WAIT_TIMEOUT_SECONDS)));

        // The shortest limit, within the time for which the other session waits for the row.
        silent.execute("SET SESSION wait_timeout = 1").await.unwrap();
        silent.execute("BEGIN").await.unwrap();
        silent.execute("UPDATE locked SET id = 2").await.unwrap();
        let found: i32 = sqlx::query_scalar("SELECT id FROM locked FOR UPDATE").fetch_one(&mut *other).await.unwrap();
        assert_eq!(found, 1, "rolled back");
    }
}
