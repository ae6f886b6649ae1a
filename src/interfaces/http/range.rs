//! Reads ranges of time in queries.

use utoipa::IntoParams;

use super::{body::parse_instant, query::Query};
use crate::domain::clock::Instant;

/// A range of the creation time, as the OpenAPI document shows it. [`read_range`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it stands in the document alone")]
pub struct RangeParameters {
    /// Only rows created at or after this time. A date means its midnight in UTC.
    #[param(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$", example = "2026-11-01")]
    from: Option<String>,
    /// Only rows created before this time.
    #[param(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$", example = "2026-12-01")]
    to: Option<String>,
}

/// Reads the parameters of [`RangeParameters`]: the start, and the end, which isn't included.
pub fn read_range(query: &mut Query) -> (Option<Instant>, Option<Instant>) {
    let from = query.parse("from", instant_or_date);
    let to = query.parse("to", |text| {
        let to = instant_or_date(text)?;
        if from.is_some_and(|from| to < from) { Err("must not be before from") } else { Ok(to) }
    });
    (from, to)
}

/// Parses an instant, or a date, which means its midnight in UTC. Returns the rule that the text breaks as the error.
pub fn instant_or_date(text: &str) -> Result<Instant, &'static str> {
    let midnight = || parse_instant(&format!("{text}T00:00:00Z")).ok();
    parse_instant(text)
        .ok()
        .or_else(midnight)
        .ok_or("must be an RFC 3339 date and time such as \"2026-11-20T08:00:00Z\", or a date such as \"2026-11-20\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_means_its_midnight_in_utc() {
        let midnight = parse_instant("2026-11-20T00:00:00Z").unwrap();
        assert_eq!(instant_or_date("2026-11-20"), Ok(midnight));
        assert_eq!(instant_or_date("2026-11-20T09:00:00+09:00"), Ok(midnight));
        for text in
            ["2026-11-31", "2026-1-20", "20261120", "+2026-1-20", "2026-11-20T", "1969-12-31", "9999-01-01", "today"]
        {
            assert!(instant_or_date(text).is_err(), "{text}");
        }
    }
}
