//! Query parameters.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use super::{INVALID, MALFORMED, Scene, text};

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn invalid_query_values_are_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let concerts = format!("concerts/{}/performances", scene.sale.concert_id);
    let seats = format!("performances/{}/seats", scene.sale.performance_id);
    let lists = [
        "concerts",
        &concerts,
        "bookings",
        "points/transactions",
        "points/top-ups",
        "payments",
        "admin/venues",
        "admin/top-ups",
    ];
    let get = async |path: &str| {
        let sender = if path.starts_with("admin") { &scene.admin } else { &scene.buyer };
        sender.get(&format!("/api/v1/{path}")).await
    };
    let parts = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let uuid = Uuid::now_v7();
    let cursors = [
        "x".to_owned(),
        "!!!!".to_owned(),
        "%00".to_owned(),
        "%FF".to_owned(),
        "null".to_owned(),
        "=".to_owned(),
        "AAAA".to_owned(),
        parts(" "),
        parts("-1"),
        parts("1 2 3"),
        parts("-1 -1"),
        parts("x y"),
        parts("가"),
        parts("1.5 1"),
        parts("99999999999999999999"),
        parts(&format!("{uuid} {uuid}")),
        parts("9999999999999999999 1"),
        "A".repeat(10_000),
        parts(&"1".repeat(5_000)),
    ];
    for list in lists {
        for cursor in &cursors {
            let reply = get(&format!("{list}?cursor={cursor}")).await;
            scene.assert_refused(reply, MALFORMED, &format!("{list} {cursor:.60}")).await;
        }
        for limit in ["0", "101", "-1", "x", "1.5", "1e1", "%2B1", "%201", "4294967297", "99999999999999999999", "%00"]
        {
            let reply = get(&format!("{list}?limit={limit}")).await;
            let reply = scene.assert_refused(reply, INVALID, &format!("{list} {limit}")).await;
            assert_eq!(reply.json()["errors"][0]["parameter"], "limit", "{}", text(&reply));
        }
        for limit in ["1", "100"] {
            get(&format!("{list}?limit={limit}")).await.expect(200);
        }
    }
    let long = "x".repeat(201);
    for (path, parameter, values) in [
        ("bookings", "status", &["PAID", "pending", "PENDING,CONFIRMED", "%00", &long][..]),
        ("admin/top-ups", "status", &["PAID", "pending", "REFUNDED", "%00", &long]),
        ("admin/top-ups", "userId", &["1", "x", "%00", &long]),
        ("admin/top-ups", "from", &["today", "2026-13-01", "%00"]),
        ("admin/top-ups", "to", &["tomorrow", "1969-12-31"]),
        (&seats, "status", &["FREE", "available", "%00"]),
        (&concerts, "available", &["yes", "TRUE", "1"]),
        ("concerts", "from", &["today", "2026-13-01", "2026-11-20T08:00:00", "0000-00-00", "9999-12-31", "%00"]),
        ("concerts", "to", &["tomorrow", "20261120", "1969-12-31"]),
        ("concerts", "query", &[&long]),
        ("concerts", "category", &[&long]),
    ] {
        for value in values {
            let reply = get(&format!("{path}?{parameter}={value}")).await;
            let reply = scene.assert_refused(reply, INVALID, &format!("{path} {parameter} {value:.60}")).await;
            assert_eq!(reply.json()["errors"][0]["parameter"], parameter, "{}", text(&reply));
        }
    }
    let reply = get("bookings?status=PAID&limit=0").await;
    let reply = scene.assert_refused(reply, INVALID, "two at once").await;
    assert_eq!(reply.json()["errors"].as_array().unwrap().len(), 2, "{}", text(&reply));
    // Unusual but valid: nothing is found.
    for query in ["%00", "%25", "_", "%5C", "%27%20OR%201=1%20--", "%FF", "%F0%9F%8E%A4"] {
        let found = get(&format!("concerts?query={query}&unknown=1")).await.expect(200).json();
        assert_eq!(found, json!({"items": [], "nextCursor": null}), "{query}");
    }
}
