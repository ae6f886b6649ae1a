//! Parses instants of bodies and queries.

use chrono::{DateTime, Utc};

use crate::domain::clock::Instant;

/// Parses an RFC 3339 instant of the years 1970 to 9998, truncated to microseconds, in UTC. A leap second is the second
/// after it, as the database can't store it.
pub(crate) fn parse_instant(text: &str) -> Result<Instant, &'static str> {
    let message = "must be an RFC 3339 date and time such as \"2026-11-20T08:00:00Z\"";
    let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| message)?;
    let instant = DateTime::<Utc>::from_timestamp_micros(parsed.timestamp_micros()).ok_or(message)?;
    let last = DateTime::<Utc>::from_timestamp(253_370_764_800, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    if instant >= DateTime::UNIX_EPOCH && instant < last { Ok(instant) } else { Err(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_any_time_zone_are_converted_to_utc() {
        let instant = parse_instant("2026-11-20T17:00:00.123+09:00").unwrap();
        assert_eq!(instant.to_rfc3339(), "2026-11-20T08:00:00.123+00:00");
        for text in ["", "2026-11-20", "2026-11-20T17:00:00", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z"] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        for text in ["2016-12-31T23:59:60Z", "2017-01-01T08:59:60.25+09:00"] {
            let instant = parse_instant(text).unwrap();
            assert_eq!(instant.format("%Y-%m-%dT%H:%M:%S").to_string(), "2017-01-01T00:00:00", "{text}");
        }
        assert_eq!(parse_instant("2026-11-20T08:00:00.1234567Z").unwrap().timestamp_subsec_nanos(), 123_456_000);
    }
}
