//! Migration of the schema.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, Executor, MySql,
    migrate::{MigrateError as Failure, Migrator},
    mysql::{MySqlConnectOptions, MySqlConnection},
};
use tokio::time::sleep;

use super::{
    MIGRATOR,
    error::{is_contention, lacks_table},
    migration_lease::{MigrationLease, repeat_refused},
};

/// Maximum wait for another instance that migrates.
const MIGRATION_LOCK_TIMEOUT_SECONDS: u32 = 60;

/// The retries of a migration whose table is in use, by a dump or another long transaction.
///
/// While a migration waits for its table, all later statements on the table wait behind it. So it waits briefly, pauses
/// until they have run, and tries again.
#[derive(Clone, Copy, Debug)]
struct TableLockRetries {
    /// The wait of each attempt. Other statements on the table wait meanwhile, too.
    lock_wait_seconds: u32,
    /// The time between attempts, in which the other statements run.
    pause: Duration,
    /// The most attempts. All together take less than [`MIGRATION_LOCK_TIMEOUT_SECONDS`].
    attempts: u32,
}

const TABLE_LOCK_RETRIES: TableLockRetries =
    TableLockRetries { lock_wait_seconds: 2, pause: Duration::from_secs(3), attempts: 11 };

/// The reason why the schema isn't current.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Another instance has been migrating for a minute.
    #[error("another instance has been migrating for a minute")]
    Busy,
    /// Another transaction used the migration's table during every attempt to lock it.
    #[error(
        "migration {version} can't lock its table: wait for the dump or the long transaction that uses it \
         (SHOW FULL PROCESSLIST), then migrate again; the migration wasn't applied"
    )]
    TableInUse {
        /// The migration's version, as in its file's name.
        version: i64,
    },
    /// The schema is older than this version of the server.
    #[error("the schema lacks migration {version}: run `concert-reservation migrate`")]
    Outdated {
        /// The first missing migration's version, as in its file's name.
        version: i64,
    },
    /// The database refused a statement, or couldn't be reached.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A migration failed, or differs from the one that ran under its version.
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Creates the database if it is missing, and migrates the schema. Several instances may call it at once: one migrates,
/// the others wait for it.
///
/// A named lock is local to one node. On a cluster each instance also takes a lease.
///
/// The lock is taken here, because sqlx's own has no effect on MariaDB: it requests an unlimited wait, for which
/// MariaDB returns NULL (<https://mariadb.com/kb/en/get_lock/>).
///
/// # Errors
///
/// - [`MigrateError::Busy`]: another instance still migrates after a minute.
/// - [`MigrateError::TableInUse`]: a long transaction uses a table; nothing of the migration was applied.
/// - [`MigrateError::Database`], [`MigrateError::Migrate`]: a statement or a migration failed.
pub async fn migrate(options: &MySqlConnectOptions) -> Result<(), MigrateError> {
    create_database(options).await?;
    let mut connection = MySqlConnection::connect_with(options).await?;
    let name: String =
        sqlx::query_scalar("SELECT CONCAT(LEFT(DATABASE(), 50), '.migrate')").fetch_one(&mut connection).await?;
    let locked: Option<i64> = sqlx::query_scalar("SELECT CAST(GET_LOCK(?, ?) AS SIGNED)")
        .bind(&name)
        .bind(MIGRATION_LOCK_TIMEOUT_SECONDS)
        .fetch_one(&mut connection)
        .await?;
    if locked != Some(1) {
        return Err(MigrateError::Busy);
    }
    let mut migrator = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
    migrator.set_locking(false);
    let lease = MigrationLease::acquire(&mut connection).await?.ok_or(MigrateError::Busy)?;
    let result = run(&migrator, &mut connection, &lease, TABLE_LOCK_RETRIES).await;
    lease.release(&mut connection).await?;
    // Closing the connection releases the lock, also after a failure.
    connection.close().await?;
    result
}

/// Checks that the schema has every migration of this version.
///
/// # Errors
///
/// - [`MigrateError::Outdated`]: a migration is missing.
/// - [`MigrateError::Database`]: the database couldn't be read.
pub async fn require_current_schema(options: &MySqlConnectOptions) -> Result<(), MigrateError> {
    let mut connection = MySqlConnection::connect_with(options).await?;
    let missing = first_missing(&mut connection).await?;
    connection.close().await?;
    missing.map_or(Ok(()), |version| Err(MigrateError::Outdated { version }))
}

/// The version of the first migration that the schema lacks. A schema of a newer version of the server lacks none.
pub(super) async fn first_missing(executor: impl Executor<'_, Database = MySql>) -> Result<Option<i64>, sqlx::Error> {
    let text = "SELECT MAX(version) FROM _sqlx_migrations WHERE success";
    let newest: Option<i64> = match sqlx::query_scalar(text).fetch_one(executor).await {
        // No migration has ever run here.
        Err(error) if lacks_table(&error) => None,
        newest => newest?,
    };
    Ok(MIGRATOR.iter().map(|migration| migration.version).find(|version| Some(*version) > newest))
}

/// Applies the missing migrations, one after the other.
async fn run(
    migrator: &Migrator,
    connection: &mut MySqlConnection,
    lease: &MigrationLease,
    retries: TableLockRetries,
) -> Result<(), MigrateError> {
    let statement = format!("SET SESSION lock_wait_timeout = {}", retries.lock_wait_seconds);
    connection.execute(AssertSqlSafe(statement)).await?;
    if !lease.is_on_cluster() {
        return run_to(migrator, connection, None, retries).await;
    }
    // Each call of sqlx also creates its own table if that is missing, which disturbs other nodes even without effect.
    let Some(first) = first_missing(&mut *connection).await? else {
        return run_to(migrator, connection, None, retries).await;
    };
    for migration in migrator.iter().filter(|migration| migration.version >= first) {
        if !lease.renew(connection).await? {
            return Err(MigrateError::Busy);
        }
        run_to(migrator, connection, Some(migration.version), retries).await?;
    }
    Ok(())
}

/// Applies the migrations up to a version, or all.
async fn run_to(
    migrator: &Migrator,
    connection: &mut MySqlConnection,
    target: Option<i64>,
    retries: TableLockRetries,
) -> Result<(), MigrateError> {
    if let Some(version) = unfinished(connection).await? {
        return Err(Failure::Dirty(version).into());
    }
    for attempt in 1.. {
        let error = match migrator.run_direct(target, connection, false).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match &error {
            Failure::ExecuteMigration(cause, version) if is_contention(cause) => {
                repeat_refused(async || forget_attempt(connection, *version).await).await?;
                if attempt >= retries.attempts {
                    return Err(MigrateError::TableInUse { version: *version });
                }
                tracing::warn!(version, attempt, "a migration's table is in use: it will be retried");
            }
            Failure::Execute(cause) if is_contention(cause) && attempt < retries.attempts => {
                repeat_refused(async || note_applied(connection).await).await?;
                tracing::warn!(attempt, "another node refused a migration's record: it will be retried");
            }
            _ => return Err(error.into()),
        }
        sleep(retries.pause).await;
    }
    Ok(())
}

/// The version of the migration that sqlx considers dirty, that is half applied.
async fn unfinished(connection: &mut MySqlConnection) -> Result<Option<i64>, sqlx::Error> {
    let text = "SELECT MIN(version) FROM _sqlx_migrations WHERE success = FALSE";
    match sqlx::query_scalar(text).fetch_one(connection).await {
        Err(error) if lacks_table(&error) => Ok(None),
        version => version,
    }
}

/// Marks a migration as applied whose record by sqlx was refused afterwards.
///
/// Before this run no migration was half applied, and this run's has succeeded: otherwise the failure would be the
/// migration's.
async fn note_applied(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let Some(version) = unfinished(connection).await? else { return Ok(()) };
    sqlx::query("UPDATE _sqlx_migrations SET success = TRUE WHERE version = ?")
        .bind(version)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Removes sqlx's record of a migration that was refused, which sqlx would consider dirty.
///
/// A file is one DDL statement, which both databases apply as a whole or not at all.
async fn forget_attempt(connection: &mut MySqlConnection, version: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = ? AND success = FALSE")
        .bind(version)
        .execute(connection)
        .await
        .map(|_| ())
}

async fn create_database(options: &MySqlConnectOptions) -> Result<(), sqlx::Error> {
    let Some(database) = options.get_database().map(str::to_owned) else { return Ok(()) };
    if MySqlConnection::connect_with(options).await.is_ok() {
        return Ok(());
    }
    let mut connection = MySqlConnection::connect_with(&options.clone().database("")).await?;
    let statement = format!(
        "CREATE DATABASE IF NOT EXISTS `{}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        database.replace('`', "``")
    );
    connection.execute(AssertSqlSafe(statement)).await?;
    connection.close().await
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use sqlx::{
        Row, SqlStr,
        migrate::{Migration, MigrationType},
        mysql::MySqlPoolOptions,
        query_scalar,
    };
    use tokio::time::timeout;

    use super::*;

    /// Far longer than any wait for a table.
    const TABLE_TIMEOUT: Duration = Duration::from_secs(20);

    #[sqlx::test(migrations = false)]
    async fn servers_that_start_at_once_migrate_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
        for result in join_all((0..6).map(|_| migrate(&options))).await {
            result.unwrap();
        }
        let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
        let text = "SELECT CAST(COUNT(*) AS SIGNED) FROM _sqlx_migrations WHERE success";
        let migrated: i64 = query_scalar(text).fetch_one(&mut connection).await.unwrap();
        assert_eq!(usize::try_from(migrated), Ok(MIGRATOR.iter().count()));
    }

    #[sqlx::test(migrations = false)]
    async fn an_outdated_schema_is_reported_with_its_first_missing_migration(
        _: MySqlPoolOptions,
        options: MySqlConnectOptions,
    ) {
        let first = MIGRATOR.iter().next().unwrap().version;
        let refused = require_current_schema(&options).await.unwrap_err();
        assert!(matches!(refused, MigrateError::Outdated { version } if version == first), "{refused}");
        migrate(&options).await.unwrap();
        require_current_schema(&options).await.unwrap();
        let last = MIGRATOR.iter().last().unwrap().version;
        let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
        sqlx::query("DELETE FROM _sqlx_migrations WHERE version = ?")
            .bind(last)
            .execute(&mut connection)
            .await
            .unwrap();
        let refused = require_current_schema(&options).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("the schema lacks migration {last}: run `concert-reservation migrate`")
        );
    }

    /// A connection with the session settings of the server's pools.
    async fn session(options: &MySqlConnectOptions) -> MySqlConnection {
        let mut connection = MySqlConnection::connect_with(options).await.unwrap();
        super::super::prepare(&mut connection).await.unwrap();
        connection
    }

    fn migrator(statement: &'static str) -> Migrator {
        let sql = SqlStr::from_static(statement);
        let mut migrator =
            Migrator::with_migrations(vec![Migration::new(1, "probe".into(), MigrationType::Simple, sql, false)]);
        migrator.set_locking(false);
        migrator
    }

    /// Returns once a statement with this beginning runs in this state; empty: in any.
    async fn until_running(connection: &mut MySqlConnection, statement: &str, state: &str) {
        loop {
            let rows = sqlx::raw_sql("SHOW FULL PROCESSLIST").fetch_all(&mut *connection).await.unwrap();
            let text = |row: &sqlx::mysql::MySqlRow, column: &str| {
                let bytes: Option<Vec<u8>> = row.get_unchecked(column);
                String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
            };
            let runs = |row: &sqlx::mysql::MySqlRow| {
                text(row, "Info").starts_with(statement) && text(row, "State").contains(state)
            };
            if rows.iter().any(runs) {
                return;
            }
        }
    }

    #[sqlx::test(migrations = false)]
    async fn a_migration_that_waits_for_a_dump_lets_the_sale_go_on(_: MySqlPoolOptions, options: MySqlConnectOptions) {
        let (mut dump, mut buyer, mut migrating) =
            (session(&options).await, session(&options).await, session(&options).await);
        buyer.execute("CREATE TABLE dumped (id INT PRIMARY KEY)").await.unwrap();
        dump.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.unwrap();
        dump.fetch_all("SELECT * FROM dumped").await.unwrap();

        let migrator = migrator("ALTER TABLE dumped ADD COLUMN note INT NULL");
        let retries = TableLockRetries { lock_wait_seconds: 1, pause: Duration::from_millis(50), attempts: 100 };
        let lease = MigrationLease::acquire(&mut buyer).await.unwrap().unwrap();
        let migrated = run(&migrator, &mut migrating, &lease, retries);
        let sold = async {
            until_running(&mut buyer, "ALTER TABLE dumped ADD COLUMN note", "metadata lock").await;
            timeout(TABLE_TIMEOUT, buyer.execute("INSERT INTO dumped (id) VALUES (1)"))
                .await
                .expect("it waits briefly")
                .unwrap();
            dump.execute("COMMIT").await.unwrap();
        };
        let (migrated, ()) = tokio::join!(migrated, sold);
        migrated.unwrap();
        buyer.execute("UPDATE dumped SET note = 1").await.unwrap();
    }

    #[sqlx::test(migrations = false)]
    async fn a_migration_whose_table_stays_in_use_is_refused_and_can_be_repeated(
        _: MySqlPoolOptions,
        options: MySqlConnectOptions,
    ) {
        let (mut dump, mut migrating) = (session(&options).await, session(&options).await);
        migrating.execute("CREATE TABLE dumped (id INT PRIMARY KEY)").await.unwrap();
        dump.execute("START TRANSACTION").await.unwrap();
        dump.fetch_all("SELECT * FROM dumped").await.unwrap();
        let migrator = migrator("ALTER TABLE dumped ADD COLUMN remark INT NULL");
        let retries = TableLockRetries { lock_wait_seconds: 1, pause: Duration::ZERO, attempts: 2 };
        let lease = MigrationLease::acquire(&mut migrating).await.unwrap().unwrap();
        let refused = run(&migrator, &mut migrating, &lease, retries).await.unwrap_err();
        assert!(matches!(refused, MigrateError::TableInUse { version: 1 }), "{refused}");
        dump.execute("COMMIT").await.unwrap();
        run(&migrator, &mut migrating, &lease, retries).await.unwrap();
    }

    /// Another node's change of the schema would refuse it; here another transaction locks the record.
    #[sqlx::test(migrations = false)]
    async fn a_migration_whose_record_is_refused_is_noted_as_applied(
        _: MySqlPoolOptions,
        options: MySqlConnectOptions,
    ) {
        let (mut dump, mut other, mut migrating) =
            (session(&options).await, session(&options).await, session(&options).await);
        migrating.execute("CREATE TABLE dumped (id INT PRIMARY KEY)").await.unwrap();
        migrating.execute("SET SESSION innodb_lock_wait_timeout = 1").await.unwrap();
        dump.execute("START TRANSACTION").await.unwrap();
        dump.fetch_all("SELECT * FROM dumped").await.unwrap();

        let migrator = migrator("ALTER TABLE dumped ADD COLUMN label INT NULL");
        let retries = TableLockRetries { lock_wait_seconds: 20, pause: Duration::ZERO, attempts: 2 };
        let lease = MigrationLease::acquire(&mut other).await.unwrap().unwrap();
        let migrated = run(&migrator, &mut migrating, &lease, retries);
        let refused = async {
            until_running(&mut other, "ALTER TABLE dumped ADD COLUMN label", "metadata lock").await;
            other.execute("START TRANSACTION").await.unwrap();
            other.fetch_all("SELECT * FROM _sqlx_migrations FOR UPDATE").await.unwrap();
            dump.execute("COMMIT").await.unwrap();
            // Only after the refusal. The text of sqlx's own statement has another beginning.
            until_running(&mut other, "UPDATE _sqlx_migrations SET success", "").await;
            other.execute("COMMIT").await.unwrap();
        };
        let (migrated, ()) = tokio::join!(migrated, refused);
        migrated.unwrap();
        let text = "SELECT CAST(COUNT(*) AS SIGNED) FROM _sqlx_migrations WHERE success";
        assert_eq!(query_scalar::<_, i64>(text).fetch_one(&mut migrating).await.unwrap(), 1);
        other.execute("INSERT INTO dumped (id, label) VALUES (1, 1)").await.unwrap();
    }

    #[sqlx::test(migrations = false)]
    async fn waits_for_a_locked_table_are_short(_: MySqlPoolOptions, options: MySqlConnectOptions) {
        let (mut other, mut buyer) = (session(&options).await, session(&options).await);
        other.execute("CREATE TABLE locked (id INT PRIMARY KEY)").await.unwrap();
        other.execute("LOCK TABLES locked WRITE").await.unwrap();
        let refused =
            timeout(TABLE_TIMEOUT, buyer.execute("INSERT INTO locked (id) VALUES (1)")).await.expect("not for long");
        assert!(refused.unwrap_err().to_string().contains("Lock wait timeout"));
    }
}
