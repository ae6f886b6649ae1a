//! The contents of a test's database.

use std::{collections::BTreeMap, time::Duration};

use concert_reservation::infrastructure::mysql::{self, HealthProbe, KeptStatements, PoolSettings};
use sqlx::{AssertSqlSafe, MySqlPool, Row, mysql::MySqlConnectOptions};

use super::Process;

/// Every table of a test's database.
pub(crate) struct Tables {
    pub(crate) pool: MySqlPool,
    database: String,
    names: Vec<String>,
}

impl Tables {
    pub(crate) async fn of(options: &MySqlConnectOptions) -> Self {
        let settings = PoolSettings {
            max_connections: 10,
            statements: KeptStatements::Other,
            acquire_timeout: Duration::from_secs(30),
        };
        // With the session settings of a server: on a cluster, reads see the commits of all nodes.
        let pool = mysql::pool(options.clone(), settings, HealthProbe::default());
        let names = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE()";
        let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&pool).await.unwrap();
        assert!(names.len() > 15, "{names:?}");
        let database = options.get_database().unwrap().to_owned();
        Self { pool, database, names }
    }

    /// A checksum of each table's rows: equal as long as nothing is written.
    pub(crate) async fn checksums(&self) -> BTreeMap<String, Option<i64>> {
        let names: Vec<_> = self.names.iter().map(|name| format!("`{name}`")).collect();
        let statement = format!("CHECKSUM TABLE {}", names.join(", "));
        let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&self.pool).await.unwrap();
        rows.iter().map(|row| (row.get_unchecked(0), row.get_unchecked(1))).collect()
    }

    /// The result of a query that counts rows.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// Whether any column of any row contains this text, as text or as bytes.
    pub(crate) async fn contain(&self, text: &str) -> bool {
        let columns = "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.columns \
                       WHERE table_schema = DATABASE()";
        let columns: Vec<(String, String)> = sqlx::query_as(columns).fetch_all(&self.pool).await.unwrap();
        for (table, column) in columns {
            let query = format!("SELECT COUNT(*) FROM `{table}` WHERE INSTR(CAST(`{column}` AS BINARY), ?) > 0");
            let found: i64 = sqlx::query_scalar(AssertSqlSafe(query)).bind(text).fetch_one(&self.pool).await.unwrap();
            if found > 0 {
                return true;
            }
        }
        false
    }

    /// Waits until this number of transactions of this database wait for the lock of a seat.
    pub(crate) async fn until_waiting_for_seats(&self, transactions: usize) {
        let locks_seats =
            |process: &Process| process.statement.contains("FROM seats ") && process.statement.ends_with("FOR UPDATE");
        while Process::waiting(&self.pool, &self.database).await.into_iter().filter(locks_seats).count() < transactions
        {
        }
    }

    /// Waits until this number of transactions of this database wait for a lock.
    pub(crate) async fn until_waiting(&self, transactions: usize) {
        while Process::waiting(&self.pool, &self.database).await.len() < transactions {}
    }
}
