//! The lease by which instances at different nodes of a cluster of databases migrate one after the other.
//!
//! `GET_LOCK` is local to one node. A lease is a row: two nodes that take it at once conflict at their commits.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor, mysql::MySqlConnection};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    cluster::cluster_of,
    error::{is_contention, lacks_table},
};

/// The lifetime of a lease that isn't renewed, in seconds. It is renewed before each migration.
const LEASE_SECONDS: u32 = 60;

/// The pause between two attempts to take the lease.
const PAUSE: Duration = Duration::from_millis(500);

/// The most attempts to take the lease. With their pauses they take longer than an abandoned lease lasts.
const ATTEMPTS: u32 = 140;

/// The most attempts of a statement that another node's schema change may refuse.
const REFUSED_ATTEMPTS: u32 = 20;

/// The pause between two attempts of such a statement.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// The table isn't part of the migrated schema, since it is needed before the first migration.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS _migration_leases (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, \
                      owner BINARY(16) NOT NULL, ends_at DATETIME(6) NOT NULL) ENGINE = InnoDB";

const INSERT: &str = "INSERT IGNORE INTO _migration_leases VALUES (1, REPEAT('\\0', 16), '2000-01-01')";

/// The right to migrate, with the id of its owner. `None` without a cluster, where the named lock suffices.
pub(super) struct MigrationLease(Option<Uuid>);

impl MigrationLease {
    /// Waits for the lease, at most about ten seconds longer than an abandoned one lasts. `None` if another instance
    /// still has it.
    pub(super) async fn acquire(connection: &mut MySqlConnection) -> Result<Option<Self>, sqlx::Error> {
        if cluster_of(connection).await?.is_none() {
            return Ok(Some(Self(None)));
        }
        let owner = Uuid::now_v7();
        for _ in 0..ATTEMPTS {
            match take(connection, owner).await {
                Ok(true) => return Ok(Some(Self(Some(owner)))),
                Ok(false) => {}
                Err(error) if is_contention(&error) => {}
                Err(error) => return Err(error),
            }
            sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// Whether the database is a cluster, where any statement may be refused because of another node's.
    pub(super) fn is_on_cluster(&self) -> bool {
        self.0.is_some()
    }

    /// Starts the lease's lifetime anew. `false` if it had ended and another instance has taken it.
    pub(super) async fn renew(&self, connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
        let Some(owner) = self.0 else { return Ok(true) };
        repeat_refused(async || set_end(connection, owner, LEASE_SECONDS).await).await
    }

    /// Ends the lease, so that the next instance needn't wait.
    pub(super) async fn release(self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        if let Some(owner) = self.0 {
            repeat_refused(async || set_end(connection, owner, 0).await).await?;
        }
        Ok(())
    }
}

async fn take(connection: &mut MySqlConnection, owner: Uuid) -> Result<bool, sqlx::Error> {
    // The table is created only if it is missing. Any schema change, even one without effect, rolls back transactions
    // at other nodes, such as another instance's migration.
    match connection.execute(INSERT).await {
        Err(error) if lacks_table(&error) => {
            connection.execute(CREATE).await?;
            connection.execute(INSERT).await?;
        }
        result => {
            result?;
        }
    }
    // The database's clock, since the instances' clocks may differ. No decision of the domain depends on this time.
    let text = format!(
        "UPDATE _migration_leases SET owner = ?, ends_at = UTC_TIMESTAMP(6) + INTERVAL {LEASE_SECONDS} SECOND \
         WHERE id = 1 AND ends_at <= UTC_TIMESTAMP(6)"
    );
    Ok(sqlx::query(AssertSqlSafe(text)).bind(owner).execute(connection).await?.rows_affected() == 1)
}

async fn set_end(connection: &mut MySqlConnection, owner: Uuid, seconds: u32) -> Result<bool, sqlx::Error> {
    let text = "UPDATE _migration_leases SET ends_at = UTC_TIMESTAMP(6) + INTERVAL ? SECOND WHERE id = 1 AND owner = ?";
    Ok(sqlx::query(text).bind(seconds).bind(owner).execute(connection).await?.rows_affected() == 1)
}

/// Repeats a statement that may be refused because of another node's schema change.
pub(super) async fn repeat_refused<T>(
    mut statement: impl AsyncFnMut() -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    for _ in 1..REFUSED_ATTEMPTS {
        match statement().await {
            Err(error) if is_contention(&error) => sleep(REFUSED_PAUSE).await,
            result => return result,
        }
    }
    statement().await
}
