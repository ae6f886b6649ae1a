//! What a database server is doing.

use sqlx::{MySqlExecutor, Row, mysql::MySqlRow};

/// A connection to a database, as the server sees it.
pub(crate) struct Process {
    pub(crate) id: u64,
    /// What it is doing; empty while it does nothing. Bytes that aren't text are replaced.
    pub(crate) statement: String,
    /// For how long it has been doing that.
    pub(crate) seconds: i64,
}

impl Process {
    /// The connections to a database.
    ///
    /// Not from `information_schema`: there MySQL refuses to show any when one statement has a binary value in it. As
    /// text: MariaDB 10.11 doesn't survive it prepared.
    pub(crate) async fn list(server: impl MySqlExecutor<'_>, database: &str) -> Vec<Self> {
        let text = |row: &MySqlRow, column| {
            let bytes: Option<Vec<u8>> = row.get_unchecked(column);
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        let rows = sqlx::raw_sql("SHOW FULL PROCESSLIST").fetch_all(server).await.unwrap();
        rows.iter()
            .filter(|row| text(row, "db") == database)
            .map(|row| Self {
                id: row.get_unchecked("Id"),
                statement: text(row, "Info"),
                seconds: row.get_unchecked("Time"),
            })
            .collect()
    }
}
