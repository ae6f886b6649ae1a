//! Bringing the schema up to date.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, Executor,
    migrate::Migrator,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError},
};
use tokio::time::sleep;

use super::MIGRATOR;

/// How long another instance that migrates is waited for.
const INSTANCE_PATIENCE_SECONDS: u32 = 60;

/// Lock wait timeout: of a table as of a row.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// How a migration waits for a table that is in use, by a dump or another long transaction. While it waits, every
/// statement that comes for the table waits behind it: so it waits briefly, lets them pass, and tries again.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// How long it waits each time, and so for how long the sale may stand still.
    seconds: u32,
    /// How long the others have meanwhile.
    pause: Duration,
    /// How often it tries. All of it is shorter than [`INSTANCE_PATIENCE_SECONDS`].
    attempts: u32,
}

const PATIENCE: Patience = Patience { seconds: 2, pause: Duration::from_secs(3), attempts: 11 };

/// Why the schema isn't up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Another instance has been migrating for a minute.
    #[error("another instance has been migrating for a minute")]
    Busy,
    /// A table is in use by others all the time.
    #[error(
        "migration {version} can't change its table, which others use all the time: wait for the dump or the long \
         transaction that has it (SHOW FULL PROCESSLIST), then migrate again; nothing of it was done"
    )]
    TableInUse {
        /// Which migration.
        version: i64,
    },
    /// The database said no.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A migration failed, or isn't the one that was run.
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Creates the database if it is missing and brings the schema up to date. Several instances may do so at once: one
/// works, the others wait.
///
/// The lock is taken here, not by sqlx, whose own has no effect on MariaDB: it asks for an endless wait, which MariaDB
/// answers with NULL (<https://mariadb.com/kb/en/get_lock/>).
pub async fn migrate(options: &MySqlConnectOptions) -> Result<(), MigrateError> {
    create_database(options).await?;
    let mut connection = MySqlConnection::connect_with(options).await?;
    let name: String =
        sqlx::query_scalar("SELECT CONCAT(LEFT(DATABASE(), 50), '.migrate')").fetch_one(&mut connection).await?;
    let locked: Option<i64> = sqlx::query_scalar("SELECT CAST(GET_LOCK(?, ?) AS SIGNED)")
        .bind(&name)
        .bind(INSTANCE_PATIENCE_SECONDS)
        .fetch_one(&mut connection)
        .await?;
    if locked != Some(1) {
        return Err(MigrateError::Busy);
    }
    let mut migrator = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
    migrator.set_locking(false);
    let result = run(&migrator, &mut connection, PATIENCE).await;
    // Closing the connection gives the lock back, whatever became of the migration.
    connection.close().await?;
    result
}

async fn run(migrator: &Migrator, connection: &mut MySqlConnection, patience: Patience) -> Result<(), MigrateError> {
    let statement = format!("SET SESSION lock_wait_timeout = {}", patience.seconds);
    connection.execute(AssertSqlSafe(statement)).await?;
    for attempt in 1.. {
        let error = match migrator.run_direct(None, connection, false).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let Some(version) = waited_in_vain(&error) else { return Err(error.into()) };
        forget_attempt(connection, version).await?;
        if attempt >= patience.attempts {
            return Err(MigrateError::TableInUse { version });
        }
        tracing::warn!(version, attempt, "a migration's table is in use: it is tried again");
        sleep(patience.pause).await;
    }
    Ok(())
}

/// The migration that found its table in use, if that is what an error says.
fn waited_in_vain(error: &sqlx::migrate::MigrateError) -> Option<i64> {
    let sqlx::migrate::MigrateError::ExecuteMigration(sqlx::Error::Database(error), version) = error else {
        return None;
    };
    let number = error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number);
    (number == Some(LOCK_WAIT_TIMEOUT)).then_some(*version)
}

/// A file is one DDL statement, which both databases do as a whole or not at all: one that waited in vain has done
/// nothing. sqlx notes beforehand that it was begun, and would take it for half done.
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

    /// Far longer than anybody waits for a table.
    const LONGEST: Duration = Duration::from_secs(20);

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

    /// A connection as the server's pools have it.
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

    /// Returns once a statement that begins like this waits for its table.
    async fn until_waiting(connection: &mut MySqlConnection, statement: &str) {
        loop {
            let rows = sqlx::raw_sql("SHOW FULL PROCESSLIST").fetch_all(&mut *connection).await.unwrap();
            let text = |row: &sqlx::mysql::MySqlRow, column: &str| {
                let bytes: Option<Vec<u8>> = row.get_unchecked(column);
                String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
            };
            let waits = |row: &sqlx::mysql::MySqlRow| {
                text(row, "Info").starts_with(statement) && text(row, "State").contains("metadata lock")
            };
            if rows.iter().any(waits) {
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
        let patience = Patience { seconds: 1, pause: Duration::from_millis(50), attempts: 100 };
        let migrated = run(&migrator, &mut migrating, patience);
        let sold = async {
            until_waiting(&mut buyer, "ALTER TABLE dumped").await;
            timeout(LONGEST, buyer.execute("INSERT INTO dumped (id) VALUES (1)"))
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
    async fn a_migration_whose_table_is_never_free_says_so_and_can_be_repeated(
        _: MySqlPoolOptions,
        options: MySqlConnectOptions,
    ) {
        let (mut dump, mut migrating) = (session(&options).await, session(&options).await);
        migrating.execute("CREATE TABLE dumped (id INT PRIMARY KEY)").await.unwrap();
        dump.execute("START TRANSACTION").await.unwrap();
        dump.fetch_all("SELECT * FROM dumped").await.unwrap();
        let migrator = migrator("ALTER TABLE dumped ADD COLUMN remark INT NULL");
        let patience = Patience { seconds: 1, pause: Duration::ZERO, attempts: 2 };
        let refused = run(&migrator, &mut migrating, patience).await.unwrap_err();
        assert!(matches!(refused, MigrateError::TableInUse { version: 1 }), "{refused}");
        dump.execute("COMMIT").await.unwrap();
        run(&migrator, &mut migrating, patience).await.unwrap();
    }

    #[sqlx::test(migrations = false)]
    async fn a_table_that_somebody_has_locked_is_waited_for_briefly(_: MySqlPoolOptions, options: MySqlConnectOptions) {
        let (mut other, mut buyer) = (session(&options).await, session(&options).await);
        other.execute("CREATE TABLE locked (id INT PRIMARY KEY)").await.unwrap();
        other.execute("LOCK TABLES locked WRITE").await.unwrap();
        let refused =
            timeout(LONGEST, buyer.execute("INSERT INTO locked (id) VALUES (1)")).await.expect("not for long");
        assert!(refused.unwrap_err().to_string().contains("Lock wait timeout"));
    }
}
