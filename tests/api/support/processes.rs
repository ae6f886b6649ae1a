//! The connections of a database server.

use sqlx::{MySqlExecutor, MySqlPool, Row, mysql::MySqlRow};

/// A connection to a database, as the server sees it.
pub(crate) struct Process {
    pub(crate) id: u64,
    /// The running statement; empty while idle. Bytes that aren't text are replaced.
    pub(crate) statement: String,
}

impl Process {
    /// The connections to a database.
    ///
    /// Not from `information_schema`: MySQL fails there if one statement contains a binary value. As
    /// text: MariaDB 10.11 crashes when it is prepared.
    pub(crate) async fn list(server: impl MySqlExecutor<'_>, database: &str) -> Vec<Self> {
        let rows = sqlx::raw_sql("SHOW FULL PROCESSLIST").fetch_all(server).await.unwrap();
        rows.iter()
            .filter(|row| text(row, "db") == database)
            .map(|row| Self { id: row.get_unchecked("Id"), statement: text(row, "Info") })
            .collect()
    }

    /// The connections that wait for a lock: later requests for it queue behind them.
    ///
    /// Not from `information_schema` either: its contents aren't refreshed while queries keep coming.
    pub(crate) async fn waiting(server: &MySqlPool, database: &str) -> Vec<Self> {
        let mut processes = Self::list(server, database).await;
        let status = text(&sqlx::raw_sql("SHOW ENGINE INNODB STATUS").fetch_one(server).await.unwrap(), "Status");
        // The text before the first of these is about past deadlocks.
        let waiting: Vec<_> =
            status.split("---TRANSACTION").skip(1).filter(|transaction| transaction.contains("LOCK WAIT")).collect();
        processes.retain(|process| {
            let thread = format!(" thread id {},", process.id);
            waiting.iter().any(|transaction| transaction.contains(&thread))
        });
        processes
    }
}

fn text(row: &MySqlRow, column: &str) -> String {
    let bytes: Option<Vec<u8>> = row.get_unchecked(column);
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}
