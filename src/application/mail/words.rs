//! Values formatted for readers of mails.

use chrono::{Datelike, FixedOffset, Weekday};

use crate::domain::{clock::Instant, language::Language, points::Points};

/// The offset of Korea's time from UTC in seconds. Korea has no daylight saving time.
const KOREA_OFFSET: i32 = 9 * 3_600;

/// An instant in UTC and in Korea's time, with the names of the zones.
pub(super) fn instant(at: Instant, language: Language) -> String {
    let in_korea = FixedOffset::east_opt(KOREA_OFFSET).map(|zone| at.with_timezone(&zone));
    match (language, in_korea) {
        (Language::English, Some(in_korea)) => {
            let korea = in_korea.format("%-d %B, %H:%M");
            format!("{} UTC ({korea} in Korea)", at.format("%A, %-d %B %Y, %H:%M"))
        }
        (Language::Korean, Some(in_korea)) => {
            let weekday = korean(in_korea.weekday());
            let date = in_korea.format("%Y년 %-m월 %-d일");
            format!("{date}({weekday}) {} 한국 시간 ({} UTC)", in_korea.format("%H:%M"), at.format("%Y-%m-%d %H:%M"))
        }
        (_, None) => at.format("%Y-%m-%d %H:%M UTC").to_string(),
    }
}

fn korean(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "월",
        Weekday::Tue => "화",
        Weekday::Wed => "수",
        Weekday::Thu => "목",
        Weekday::Fri => "금",
        Weekday::Sat => "토",
        Weekday::Sun => "일",
    }
}

/// An amount of points, with commas between thousands.
pub(super) fn points(amount: Points, language: Language) -> String {
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let mut number = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            number.push(',');
        }
        number.push(digit);
    }
    if !fraction.is_empty() {
        number = format!("{number}.{fraction}");
    }
    match language {
        Language::English => format!("{number} points"),
        Language::Korean => format!("{number} 포인트"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_name_their_zones() {
        let at = "2026-12-20T17:30:00Z".parse().unwrap();
        assert_eq!(instant(at, Language::English), "Sunday, 20 December 2026, 17:30 UTC (21 December, 02:30 in Korea)");
        assert_eq!(instant(at, Language::Korean), "2026년 12월 21일(월) 02:30 한국 시간 (2026-12-20 17:30 UTC)");
    }

    #[test]
    fn thousands_have_commas() {
        for (amount, expected) in
            [("0", "0"), ("999", "999"), ("1000", "1,000"), ("150000.50", "150,000.50"), ("1234567", "1,234,567")]
        {
            assert_eq!(points(amount.parse().unwrap(), Language::English), format!("{expected} points"));
        }
        assert_eq!(points("50000".parse().unwrap(), Language::Korean), "50,000 포인트");
    }
}
