//! Pieces of SQL text that depend on how many values are bound.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::NaiveDateTime;

use crate::domain::clock::Instant;

/// `(?,?,?)`: a list for `IN`. Bind as many values as [`padded`] gives.
pub(super) fn list(len: usize) -> String {
    let mut text = String::from("(?");
    for _ in 1..len {
        text.push_str(",?");
    }
    text.push(')');
    text
}

/// The values, the last one repeated up to the next power of two: lists of a few sizes only, so that a statement
/// prepared once serves most calls. The values must not be empty.
pub(super) fn padded<T: Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    let len = values.len().next_power_of_two();
    if let Some(last) = values.last().cloned() {
        values.resize(len, last);
    }
    values
}

/// `(?,?),(?,?)`: `rows` rows of `columns` values each, for a multi-row insert.
pub(super) fn rows(columns: usize, rows: usize) -> String {
    let row = list(columns);
    let mut text = row.clone();
    for _ in 1..rows {
        let _ = write!(text, ",{row}");
    }
    text
}

/// Whether a connection to the database was encrypted.
static ENCRYPTED: AtomicBool = AtomicBool::new(false);

/// Takes note that connections are encrypted.
pub(super) fn note_encryption() {
    ENCRYPTED.store(true, Ordering::Relaxed);
}

/// How many rows that carry a text of some hundred bytes one statement stores: where connections are encrypted, as many
/// as fit into one record of TLS (16 KiB, RFC 8446, 5.1). sqlx leaves Nagle's algorithm on, so a second record waits for
/// the first to be acknowledged, which takes the other side 40 ms.
pub(super) fn rows_per_statement() -> usize {
    if ENCRYPTED.load(Ordering::Relaxed) { 16 } else { 128 }
}

/// An instant that a person chose, as it must be bound. sqlx binds a `DateTime<Utc>` as a TIMESTAMP, which ends in 2038
/// on MariaDB: a later one would be stored as NULL, and compared as such. Instants of the clock are far from that.
pub(super) fn datetime(instant: Instant) -> NaiveDateTime {
    instant.naive_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_padded_to_powers_of_two() {
        assert_eq!(padded([1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(padded([1]), [1]);
        assert_eq!(list(2), "(?,?)");
        assert_eq!(rows(2, 2), "(?,?),(?,?)");
    }
}
