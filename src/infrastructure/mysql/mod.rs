//! MySQL 8.4 and later, and MariaDB 10.11 and later: SQL stays in the subset that both understand.
//!
//! One file per feature holds its SQL and its `impl …Repository for Session`. Values are bound, never spliced; SQL
//! never asks the time.

mod action_log;
mod audit;
mod booking;
mod concert;
mod connection_loss;
mod delivery;
mod error;
mod event;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod fixtures_catalogue;
mod health_probe;
mod idempotency;
mod migration;
mod payment;
mod point;
mod queue;
mod rows_by_id;
mod session;
mod sql;
mod statements;
mod unit_of_work;
mod user;
mod user_details;
mod user_rows;
mod webhook;

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection, Executor, MySqlPool, Row,
    migrate::Migrator,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions},
};
use tokio::time::timeout;

pub use health_probe::HealthProbe;
pub use migration::{MigrateError, migrate};
pub use statements::{KeptStatements, check_kept_statements};
pub use unit_of_work::MySqlDatabase;

/// The schema, one DDL statement a file.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// A connection that was idle for longer is pinged before it is used.
const MAX_IDLE_WITHOUT_PING: Duration = Duration::from_millis(500);

/// How long such a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// How the pool behaves.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// The most connections at once.
    pub max_connections: u32,
    /// How many statements each of them keeps prepared.
    pub statements: KeptStatements,
    /// How long a caller waits for a free one.
    pub acquire_timeout: Duration,
}

/// Reads a `mysql://` URL.
pub fn parse_url(url: &str) -> Result<MySqlConnectOptions, sqlx::Error> {
    MySqlConnectOptions::from_str(url)
}

/// Makes a pool. Connections are made when they are needed, so this doesn't fail while the database is away.
///
/// A connection that has fallen silent is dropped, never closed in the orderly way: over TLS sqlx would wait for the
/// peer's answer (its `RustlsSocket::poll_flush` reads), and the connection would keep its slot until TCP gives up.
pub fn pool(options: MySqlConnectOptions, settings: PoolSettings, health_probe: HealthProbe) -> MySqlPool {
    let options = settings.statements.keep(options);
    MySqlPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        // A ping before each use would cost a round trip. Connections that lay idle are pinged, and all of them once
        // one was lost, so that after a restart of the database hardly a request meets a dead one.
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
                        // Replacing drops it.
                        *connection = MySqlConnection::connect_with(&options).await?;
                        prepare(connection).await?;
                    }
                    Ok(true)
                })
            }
        })
        .after_release(move |connection, _| {
            // Something may still be under way on it that nobody waits for any more.
            let is_unavailable = health_probe.is_unavailable();
            Box::pin(async move {
                if is_unavailable || !is_drained(connection).await {
                    drop_released_connection();
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_lazy_with(options)
}

/// Waits briefly for what is still under way on a connection that is given back: the answer to a statement that was given
/// up, a rollback. On a connection that has fallen silent it never comes. Costs nothing where nothing is under way.
async fn is_drained(connection: &mut MySqlConnection) -> bool {
    let is_drained = matches!(timeout(PING_TIMEOUT, connection.flush()).await, Ok(Ok(())));
    if !is_drained {
        connection_loss::record();
    }
    is_drained
}

/// Drops the connection that is being given back, and frees its slot.
///
/// The pool gives back in a task of its own and offers `after_release` nothing but closing. Unwinding ends that task,
/// which owns the connection and its slot; no panic hook runs.
fn drop_released_connection() -> ! {
    std::panic::resume_unwind(Box::new("a released connection is dropped"))
}

/// Sets what every session relies on: each statement sees the newest commit, a lock is waited for briefly, and bad
/// values are refused rather than bent (MariaDB's default mode is looser than MySQL's).
async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    connection.execute("SET SESSION innodb_lock_wait_timeout = 3").await?;
    // For a table that is being changed, or locked as a whole: the defaults are a day and a year.
    connection.execute("SET SESSION lock_wait_timeout = 3").await?;
    connection
        .execute(
            "SET SESSION sql_mode = CONCAT(@@sql_mode, \
             ',STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,NO_ZERO_IN_DATE')",
        )
        .await?;
    // MySQL and MariaDB name no cipher where there is none.
    let cipher = connection.fetch_one("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await?;
    if !cipher.try_get_unchecked::<String, _>(1)?.is_empty() {
        sql::record_encryption();
    }
    Ok(())
}
