//! The bounded cost of anonymous reads of the catalogue, and the order of concerts.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, TestApp};

const LIST: &str = "/api/v1/concerts";

/// A concert with performances after these numbers of seconds.
async fn concert(app: &TestApp, promoter: &Client, venue_id: u64, title: &str, seconds: &[i64]) {
    let body = json!({"title": title, "artist": "x", "category": "x", "description": ""});
    let concert = promoter.post("/api/v1/admin/concerts", body).await.expect(201).json();
    for seconds in seconds {
        let starts_at = app.now() + TimeDelta::seconds(*seconds);
        let sections = json!([{"name": "A", "grade": "R", "rows": 1, "seatsPerRow": 1, "price": "1"}]);
        let body = json!({"venueId": venue_id, "startsAt": starts_at.to_rfc3339(), "seating": {"sections": sections}});
        let path = format!("/api/v1/admin/concerts/{}/performances", concert["concertId"]);
        promoter.post(&path, body).await.expect(201);
    }
}

/// The titles of all pages of a list, two a page.
async fn titles(app: &TestApp, query: &str) -> Vec<String> {
    let (mut titles, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.anonymous().get(&format!("{LIST}?limit=2{query}{cursor}")).await.expect(200).json();
        for item in page["items"].as_array().unwrap() {
            titles.push(item["title"].as_str().unwrap().to_owned());
        }
        match &page["nextCursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return titles,
        }
    }
}

fn text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concerts_are_listed_by_the_next_performance_and_past_ones_only_for_dates(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let promoter = app.admin().await;
    let venue = promoter.post("/api/v1/admin/venues", json!({"name": "Hall", "address": "x"})).await.expect(201).json();
    let venue_id = venue["venueId"].as_u64().unwrap();
    let day = 86_400;
    for (title, seconds) in [
        ("over", vec![-3 * day, -2 * day]),
        ("beginning", vec![0]),
        ("running", vec![-day, 2 * day, 9 * day]),
        ("tomorrow", vec![day]),
        ("in three days", vec![3 * day]),
        ("running on", vec![-5 * day, 8 * day]),
        ("unannounced", vec![]),
    ] {
        concert(&app, &promoter, venue_id, title, &seconds).await;
    }
    let upcoming = ["tomorrow", "running", "in three days", "running on", "unannounced"];
    assert_eq!(titles(&app, "").await, upcoming);
    let at = |seconds| text(app.now() + TimeDelta::seconds(seconds));
    let from = format!("&from={}", at(-4 * day));
    let expected = ["running on", "over", "running", "beginning", "tomorrow", "in three days"];
    assert_eq!(titles(&app, &from).await, expected);
    let to = format!("&to={}", at(1));
    assert_eq!(titles(&app, &to).await, ["running on", "over", "running", "beginning"]);
    let both = format!("&from={}&to={}", at(1), at(3 * day));
    assert_eq!(titles(&app, &both).await, ["running", "tomorrow"]);
    app.advance(2 * day);
    assert_eq!(titles(&app, "").await, ["in three days", "running on", "running", "unannounced"]);
}

/// The bounds compare in milliseconds: also with the start as it was sent, in microseconds.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn dates_compare_with_the_millisecond_of_a_start(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let promoter = app.admin().await;
    let venue = promoter.post("/api/v1/admin/venues", json!({"name": "Hall", "address": "x"})).await.expect(201).json();
    app.clock.advance(TimeDelta::microseconds(500_900));
    concert(&app, &promoter, venue["venueId"].as_u64().unwrap(), "half past", &[60]).await;
    for (bound, is_at_or_before_start) in [
        ("08:01:00Z", true),
        ("08:01:00.499Z", true),
        ("08:01:00.499001Z", true),
        ("08:01:00.500Z", true),
        ("08:01:00.500900Z", true),
        ("08:01:00.501Z", false),
        ("08:01:01Z", false),
    ] {
        let listed = async |query: String| !titles(&app, &query).await.is_empty();
        let from = format!("&from=2026-11-20T{bound}");
        let to = format!("&to=2026-11-20T{bound}");
        assert_eq!(listed(from.clone()).await, is_at_or_before_start, "{from}");
        assert_eq!(listed(from.clone() + "&to=2027-01-01").await, is_at_or_before_start, "{from}");
        assert_eq!(listed(to.clone()).await, !is_at_or_before_start, "{to}");
        assert_eq!(listed(to.clone() + "&from=2026-01-01").await, !is_at_or_before_start, "{to}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn seats_are_counted_once_a_second_for_any_dates(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("CATALOGUE_CACHE_MILLISECONDS", "1000")]);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    let sold_out = async |query: &str| {
        let list = app.anonymous().get(&format!("{LIST}?{query}")).await.expect(200);
        let age = list.headers.get("age").is_some();
        (list.json()["items"][0]["soldOut"].clone(), age)
    };
    let path = format!("/api/v1/concerts/{}/performances", sale.concert_id);
    assert_eq!(sold_out("").await, (json!(false), false));
    buyer.hold(sale.performance_id, &sale.seats).await.expect(201);
    app.clock.advance(TimeDelta::milliseconds(600));
    for microseconds in [1, 2, 999_999] {
        let query = format!("from=2026-11-20T00:00:00.{microseconds:06}Z");
        assert_eq!(sold_out(&query).await, (json!(false), true), "a list of its own, by the same count");
    }
    assert_eq!(app.anonymous().get(&path).await.expect(200).json()["items"][0]["availableSeats"], 2);
    // No list shows a number of seats that is older than a second, from whichever cache.
    app.clock.advance(TimeDelta::milliseconds(400));
    for query in ["", "from=2026-11-20T00:00:00.000001Z", "from=2026-11-20T00:00:01Z"] {
        assert_eq!(sold_out(query).await.0, json!(true), "{query}");
    }
    assert_eq!(app.anonymous().get(&path).await.expect(200).json()["items"][0]["availableSeats"], 0);
}
