//! Fields of the right type with an invalid value.

use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use super::{Endpoint, Scene};

/// Invalid amounts, as JSON.
const NO_AMOUNTS: &[&str] = &[
    "-1",
    "-0",
    "1.234",
    "1e3",
    "1E+2",
    "1e400",
    "10000000000000",
    r#""-1""#,
    r#""-0""#,
    r#""1.234""#,
    r#""1e3""#,
    r#""10000000000000""#,
    r#""""#,
    r#"" 1""#,
    r#""01""#,
    r#""+1""#,
    r#""1.""#,
    r#"".5""#,
    r#""NaN""#,
    r#""1\u0000""#,
];

/// Invalid values of a field by its name, as JSON.
fn bad_values(endpoint: &Endpoint, place: &str) -> Vec<String> {
    let name = match place.rsplit('/').next() {
        Some("0") => "seatId",
        name => name.unwrap_or(""),
    };
    let numbers = |high: u64| {
        let too_much = (high + 1).to_string();
        ["0", &too_much, "18446744073709551617", "1.0", "1e1"].map(str::to_owned).to_vec()
    };
    match name {
        "seatId" | "performanceId" | "concertId" | "venueId" => numbers(i64::MAX.unsigned_abs()),
        "rows" | "seatsPerRow" => numbers(1_000),
        "admitCount" => numbers(100_000),
        "maxActive" => numbers(1_000_000),
        "activeSeconds" => numbers(86_400),
        "admitIntervalSeconds" | "claimSeconds" => numbers(3_600),
        "amount" => {
            let beyond = &["0", r#""0""#, r#""0.00""#, "10000000.01", r#""10000000.01""#];
            [beyond, NO_AMOUNTS].concat().into_iter().map(str::to_owned).collect()
        }
        "price" => [&["10000000000"], NO_AMOUNTS].concat().into_iter().map(str::to_owned).collect(),
        "password" if !endpoint.path.ends_with("/users") => vec![],
        name => bad_texts(name).into_iter().map(|text| json!(text).to_string()).collect(),
    }
}

fn bad_texts(name: &str) -> Vec<String> {
    let (texts, long): (&[&str], _) = match name {
        "name" | "address" | "title" | "artist" | "category" | "grade" => {
            let texts = &["", "   ", "\u{a0}", "a\u{0}b", "a\nb", "a\u{7f}", "a\u{85}b", "\u{1b}[31m"];
            (texts, "가".repeat(201))
        }
        "description" => (&["a\u{0}b", "\u{1b}[31m"], "가".repeat(10_001)),
        "email" => {
            let texts = &[
                "",
                "jin",
                "@example.org",
                "jin@",
                "jin@host",
                "a b@example.org",
                "a\u{0}@example.org",
                "jin@example..org",
                "jin@mina@example.org",
                "jin@example.org\nBcc: x@example.org",
            ];
            (texts, format!("jin@{}.org", "x".repeat(250)))
        }
        "password" => (&["", "123456789", "아홉글자비밀번호요"], "x".repeat(129)),
        "paymentMethod" => (&[""], "x".repeat(51)),
        "startsAt" | "salesOpenAt" => {
            let texts = &[
                "",
                "tomorrow",
                "2026-12-24",
                "2026-12-24T18:00:00",
                "2026-13-24T18:00:00Z",
                "+10000-01-01T00:00:00Z",
                "9999-12-31T23:59:59Z",
                "1969-12-31T23:59:59Z",
            ];
            (texts, "2026-12-24T18:00:00Z\u{0}".to_owned())
        }
        "mode" => (&["", "open", "OPEN "], "OPEN\u{0}".to_owned()),
        "bookingId" => {
            let simple = "01939e6b0c5a7d029c417be1f0a2c3d4";
            (&["", "x", "1", "' OR 1=1 --", simple], "00000000-0000-0000-0000-00000000000g".to_owned())
        }
        _ => return vec![],
    };
    texts.iter().map(|text| (*text).to_owned()).chain([long]).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_field_with_an_invalid_value_is_named(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let mut tried = 0;
    for endpoint in scene.endpoints() {
        for place in endpoint.places() {
            for literal in bad_values(&endpoint, &place) {
                scene.assert_names(&endpoint, &endpoint.with_literal(&place, &literal), &[&place]).await;
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
}
