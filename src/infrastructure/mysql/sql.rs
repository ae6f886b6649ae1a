//! SQL text that depends on the number of bound values, and the sizes of statements.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::NaiveDateTime;

use super::error::corrupt;
use crate::domain::{clock::Instant, repository_error::RepositoryError};

/// `(?,?,?)`: a list for `IN`, to be bound to [`padded`] values.
pub(super) fn placeholder_list(len: usize) -> String {
    let mut text = String::from("(?");
    for _ in 1..len {
        text.push_str(",?");
    }
    text.push(')');
    text
}

/// The values, the last one repeated up to one of a few lengths. Without values it is empty.
pub(super) fn padded<T: Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    let len = padded_len(values.len());
    if let Some(last) = values.last().cloned() {
        values.resize(len, last);
    }
    values
}

/// Lists have a few lengths only, so that few statements are prepared: 1, 2, 4, 16, 64, 256, and whole thousands.
/// Padding alone never exceeds the 65,535 values of a statement.
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

/// Inserts of up to this many rows are prepared for each number of rows.
const EXACT_ROWS: usize = 32;

/// Inserts of more than [`EXACT_ROWS`] rows are prepared for multiples of this number only.
const ROW_STEP: usize = 16;

/// Divides rows into parts of at most `most` rows, each to be inserted by one statement.
///
/// Parts have a few lengths only, as lists do. Rows can't be repeated as padding, so the rest becomes a part of its
/// own.
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

/// Maximum of ids in one statement, which can bind 65,535 values: up to 16 for each id. A whole thousand needs no
/// padding.
pub(super) const IDS_PER_STATEMENT: usize = 4_000;

/// `(?,?),(?,?)`: the placeholders of a multi-row insert.
pub(super) fn placeholder_rows(columns: usize, rows: usize) -> String {
    let row = placeholder_list(columns);
    let mut text = row.clone();
    for _ in 1..rows {
        let _ = write!(text, ",{row}");
    }
    text
}

/// A count, which the database returns as a signed number.
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

pub(super) fn record_encryption() {
    ENCRYPTED.store(true, Ordering::Relaxed);
}

/// Maximum of rows in one statement where each has a text of some hundred bytes.
///
/// With encryption they fit into one TLS record (16 KiB, RFC 8446, 5.1). sqlx leaves Nagle's algorithm on, so a second
/// record waits for the acknowledgement of the first, which the peer delays by 40 ms.
pub(super) fn rows_per_statement() -> usize {
    if ENCRYPTED.load(Ordering::Relaxed) { 16 } else { ROWS_PER_STATEMENT }
}

/// Maximum of rows in one insert.
pub(super) const ROWS_PER_STATEMENT: usize = 128;

/// The value to bind for an instant that comes from a request, which may be far in the future.
///
/// sqlx binds a `DateTime<Utc>` as a TIMESTAMP, which ends in 2038 on MariaDB: a later instant would be stored and
/// compared as NULL. Instants of the clock may be bound as they are.
pub(super) fn datetime(instant: Instant) -> NaiveDateTime {
    instant.naive_utc()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lists_are_padded_to_a_few_lengths() {
        assert_eq!(padded([1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(padded([1]), [1]);
        assert_eq!(placeholder_list(2), "(?,?)");
        assert_eq!(placeholder_rows(2, 2), "(?,?),(?,?)");
        let sizes: BTreeSet<_> = (1..=512).map(padded_len).collect();
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [1, 2, 4, 16, 64, 256, 1_000]);
        assert!((1..=65_000).all(|len| padded_len(len) >= len && padded_len(len) <= 65_000));
    }

    #[test]
    fn inserts_have_a_few_lengths_and_contain_every_row() {
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
