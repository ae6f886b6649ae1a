//! Tables as CSV (RFC 4180) for spreadsheets, sent page by page.

use std::{future::ready, io};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use chrono::SecondsFormat;
use csv::{Terminator, WriterBuilder};
use futures::{Stream, StreamExt, stream::once};

use crate::{application::error::AppError, domain::clock::Instant};

/// Marks the text as UTF-8. A spreadsheet would otherwise decode it in the encoding of its locale.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The characters by which a spreadsheet recognises a formula, some of them also in their full-width form.
const FORMULA_STARTS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// A text that a spreadsheet shows as it is. One that looks like a formula begins with an apostrophe.
pub(super) fn text_cell(text: &str) -> String {
    if text.starts_with(FORMULA_STARTS) { format!("'{text}") } else { text.to_owned() }
}

/// An instant as RFC 3339, in UTC with milliseconds.
pub(super) fn time_cell(instant: Instant) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The cells of a table's rows.
type Rows = Vec<Vec<String>>;

/// Sends a table, and reads its pages at the speed at which the client receives them. A large table needs little
/// memory, and a slow client holds no connection to the database.
///
/// A page that can't be read aborts the transfer, so that the client can't mistake the rows so far for the whole table.
pub(super) fn csv_response(
    disposition: &'static str,
    columns: &[&str],
    pages: impl Stream<Item = Result<Rows, AppError>> + Send + 'static,
) -> Response {
    let head = write_rows(&[columns.iter().copied().map(str::to_owned).collect()]);
    let head = head.map(|rows| [BYTE_ORDER_MARK.as_bytes(), &rows].concat());
    let body = pages.map(|page| match page {
        Ok(rows) => write_rows(&rows),
        Err(error) => {
            tracing::warn!(%error, "an export was aborted");
            Err(io::Error::other(error))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from_stream(once(ready(head)).chain(body))).into_response()
}

fn write_rows(rows: &[Vec<String>]) -> io::Result<Vec<u8>> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_like_formulas_are_defused() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\u{ff1d}1"] {
            assert_eq!(text_cell(text), format!("'{text}"));
        }
        for text in ["", "Jin", "1-1", "'=1", "\u{d64d}\u{ae38}\u{b3d9}"] {
            assert_eq!(text_cell(text), text);
        }
    }

    #[test]
    fn cells_with_separators_and_quotes_are_quoted() {
        let row = ["a,b", "say \"hi\"", "two\nlines", "", "-5"].map(str::to_owned).to_vec();
        let text = write_rows(&[row, vec!["x".to_owned()]]);
        assert!(text.is_err(), "rows have as many cells as the first");
        let row = ["a,b", "say \"hi\"", "two\nlines", "", "-5"].map(str::to_owned).to_vec();
        let text = String::from_utf8(write_rows(&[row]).unwrap()).unwrap();
        assert_eq!(text, "\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",,-5\r\n");
    }
}
