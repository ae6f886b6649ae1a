//! Pieces of SQL text that depend on how many values are bound.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::NaiveDateTime;

use super::error::corrupt;
use crate::domain::{clock::Instant, repository_error::RepositoryError};

/// `(?,?,?)`: a list for `IN`. Bind as many values as [`padded`] gives.
pub(super) fn placeholder_list(len: usize) -> String {
    let mut text = String::from("(?");
    for _ in 1..len {
        text.push_str(",?");
    }
    text.push(')');
    text
}

/// The values, the last one repeated until they are as many as [`padded_len`] says. The values must not be empty.
pub(super) fn padded<T: Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    let len = padded_len(values.len());
    if let Some(last) = values.last().cloned() {
        values.resize(len, last);
    }
    values
}

/// Lists have a few sizes only, so that a statement prepared once serves most calls: 1, 2, 4, 16, 64, 256, and whole
/// thousands. So a list never outgrows the 65,535 values of a statement by its padding alone.
fn padded_len(len: usize) -> usize {
    match len {
        0..=2 => len,
        3..=4 => 4,
        5..=16 => 16,
        17..=64 => 64,
        65..=256 => 256,
        _ => len.next_multiple_of(1_000),
    }
}

/// How many rows an insert has that is prepared for its very number of rows …
const EXACT_ROWS: usize = 32;

/// … and the step between the numbers beyond it.
const ROW_STEP: usize = 16;

/// The rows in parts, each to be inserted by one statement. Parts have a few sizes only, as lists do; rows can't be
/// repeated, so many rows are two parts: as many as fill a size, and the rest.
pub(super) fn parts<T>(rows: &[T], most: usize) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let len = match rest.len().min(most) {
            0 => return None,
            len if len <= EXACT_ROWS || len == most => len,
            len => len - len % ROW_STEP,
        };
        let (part, others) = rest.split_at(len);
        rest = others;
        Some(part)
    })
}

/// How many ids one statement names at most. A statement can carry 65,535 values: up to 16 for each of these. Whole thousands,
/// so that padding adds none to as many.
pub(super) const IDS_PER_STATEMENT: usize = 4_000;

/// `(?,?),(?,?)`: `rows` rows of `columns` values each, for a multi-row insert.
pub(super) fn placeholder_rows(columns: usize, rows: usize) -> String {
    let row = placeholder_list(columns);
    let mut text = row.clone();
    for _ in 1..rows {
        let _ = write!(text, ",{row}");
    }
    text
}

/// A count as the database gives it.
pub(super) fn to_row_count(value: i64) -> Result<u32, RepositoryError> {
    u32::try_from(value).map_err(|_| corrupt("a count", value))
}

/// A `LIKE` pattern, to be used with `ESCAPE '!'`, for texts that contain `part`. The escape character is not the
/// backslash, whose meaning depends on the server's SQL mode.
pub(super) fn containing(part: &str) -> String {
    let mut pattern = String::from("%");
    for character in part.chars() {
        if matches!(character, '!' | '%' | '_') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// Whether a connection to the database was encrypted.
static ENCRYPTED: AtomicBool = AtomicBool::new(false);

/// Takes note that connections are encrypted.
pub(super) fn record_encryption() {
    ENCRYPTED.store(true, Ordering::Relaxed);
}

/// How many rows that carry a text of some hundred bytes one statement stores: where connections are encrypted, as many
/// as fit into one record of TLS (16 KiB, RFC 8446, 5.1). sqlx leaves Nagle's algorithm on, so a second record waits for
/// the first to be acknowledged, which takes the other side 40 ms.
pub(super) fn rows_per_statement() -> usize {
    if ENCRYPTED.load(Ordering::Relaxed) { 16 } else { ROWS_PER_STATEMENT }
}

/// How many rows one statement stores at most.
pub(super) const ROWS_PER_STATEMENT: usize = 128;

/// An instant that a person chose, as it must be bound. sqlx binds a `DateTime<Utc>` as a TIMESTAMP, which ends in 2038
/// on MariaDB: a later one would be stored as NULL, and compared as such. Instants of the clock are far from that.
pub(super) fn datetime(instant: Instant) -> NaiveDateTime {
    instant.naive_utc()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lists_are_padded_to_a_few_sizes() {
        assert_eq!(padded([1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(padded([1]), [1]);
        assert_eq!(placeholder_list(2), "(?,?)");
        assert_eq!(placeholder_rows(2, 2), "(?,?),(?,?)");
        let sizes: BTreeSet<_> = (1..=512).map(padded_len).collect();
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [1, 2, 4, 16, 64, 256, 1_000]);
        assert!((1..=65_000).all(|len| padded_len(len) >= len && padded_len(len) <= 65_000));
    }

    #[test]
    fn inserts_have_a_few_sizes_and_leave_no_row_out() {
        let mut sizes = BTreeSet::new();
        for len in 0..=512 {
            let rows: Vec<_> = (0..len).collect();
            let parts: Vec<_> = parts(&rows, ROWS_PER_STATEMENT).collect();
            assert_eq!(parts.concat(), rows);
            assert!(parts.len() <= len / ROWS_PER_STATEMENT + 2, "{len}");
            sizes.extend(parts.iter().map(|part| part.len()));
        }
        assert_eq!(sizes.len(), 38);
        assert_eq!(parts(&[1, 2, 3], 2).collect::<Vec<_>>(), [&[1, 2][..], &[3]]);
    }
}
