//! Exports of bookings and of points for spreadsheets.

use std::collections::HashMap;

use axum::http::Method;
use chrono::TimeDelta;
use futures::StreamExt;
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Sale, Tables, TestApp};

const BOOKINGS: &str = "/api/v1/admin/exports/bookings";
const TRANSACTIONS: &str = "/api/v1/admin/exports/transactions";

/// A row of a table by the names of its columns.
type Row = HashMap<String, String>;

/// The rows of a table, as a spreadsheet reads them.
fn rows(bytes: &[u8]) -> Vec<Row> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").expect("a byte order mark");
    let mut reader = csv::Reader::from_reader(text);
    let rows = reader.deserialize().collect::<Result<Vec<Row>, _>>();
    rows.expect("every row has a cell for each column")
}

async fn export(admin: &Client, path: &str) -> Vec<Row> {
    rows(&admin.get(path).await.expect(200).bytes)
}

async fn rename(user: &Client, name: &str) {
    user.send(Method::PATCH, "/api/v1/users/me", &[], Some(json!({"name": name}))).await.expect(200);
}

/// Inserts 22,500 expired bookings, one each second from the start of the year 2026 on.
async fn insert_bookings(tables: &Tables, buyer: &Client, sale: &Sale) {
    let bookings = "INSERT INTO bookings (id, user_id, concert_id, performance_id, status, seat_count, total_price, \
                    held_until, extended, created_at) \
                    WITH RECURSIVE digits AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM digits WHERE n < 149) \
                    SELECT UNHEX(LPAD(HEX(a.n * 150 + b.n + 1), 32, '0')), ?, ?, ?, 'EXPIRED', 1, 50000, '2026-11-01', \
                    FALSE, TIMESTAMPADD(SECOND, a.n * 150 + b.n, '2026-01-01 00:00:00') \
                    FROM digits a CROSS JOIN digits b";
    let query = sqlx::query(bookings).bind(buyer.user_id()).bind(sale.concert_id).bind(sale.performance_id);
    assert_eq!(query.execute(&tables.pool).await.unwrap().rows_affected(), 22_500);
    let seats = "INSERT INTO booking_seats (booking_id, seat_id, price) SELECT id, ?, 50000 FROM bookings";
    sqlx::query(seats).bind(sale.seats[0]).execute(&tables.pool).await.unwrap();
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_export_shows_names_as_they_are_and_runs_no_formula(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 4).await, app.admin().await);
    let title = json!({"title": "@봄, \"노래\""});
    admin
        .send(Method::PATCH, &format!("/api/v1/admin/concerts/{}", sale.concert_id), &[], Some(title))
        .await
        .expect(200);
    let buyer = app.buyer_with_points(&sale, "50000").await;
    rename(&buyer, "=HYPERLINK(\"http://example.org\")").await;
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    buyer.pay(&booking, "key").await.expect(201);
    app.advance(1);
    let holder = app.buyer(&sale).await;
    rename(&holder, "홍길동").await;
    holder.hold(sale.performance_id, &sale.seats[1..3]).await.expect(201);
    app.advance(1);
    let leaving = app.user().await;
    leaving.charge("5").await;
    leaving.delete("/api/v1/users/me").await;

    let answer = admin.get(BOOKINGS).await.expect(200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"bookings.csv\"");
    assert_eq!(answer.header("cache-control"), "no-store");
    let found = rows(&answer.bytes);
    let [paid, held] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((paid["bookingId"].as_str(), paid["status"].as_str()), (booking.as_str(), "CONFIRMED"));
    assert_eq!(paid["name"], "'=HYPERLINK(\"http://example.org\")");
    assert_eq!((paid["title"].as_str(), paid["totalPrice"].as_str()), ("'@봄, \"노래\"", "50000"));
    assert_eq!((paid["seats"].as_str(), paid["createdAt"].as_str()), ("Floor A 1", "2026-11-20T08:00:00.000Z"));
    assert!(!paid["paymentId"].is_empty() && !paid["confirmedAt"].is_empty() && paid["cancelledAt"].is_empty());
    assert_eq!((held["name"].as_str(), held["seats"].as_str()), ("홍길동", "Floor A 2; Floor A 3"));
    assert_eq!((held["status"].as_str(), held["paymentId"].as_str()), ("PENDING", ""));
    app.advance(300);
    assert_eq!(export(&admin, BOOKINGS).await[1]["status"], "EXPIRED", "statuses follow the clock");

    let answer = admin.get(TRANSACTIONS).await.expect(200);
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"transactions.csv\"");
    let found = rows(&answer.bytes);
    let shown: Vec<_> = found.iter().map(|row| (row["type"].as_str(), row["amount"].as_str())).collect();
    assert_eq!(shown[2], ("CHARGE", "5"));
    // Both changes are of one instant.
    assert!(shown[..2].contains(&("CHARGE", "50000")) && shown[..2].contains(&("PAYMENT", "-50000")), "{shown:?}");
    let payment = found.iter().find(|row| row["type"] == "PAYMENT").unwrap();
    assert_eq!((payment["bookingId"].as_str(), payment["balanceAfter"].as_str()), (booking.as_str(), "0"));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_export_of_a_deleted_account_has_no_address(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 1).await, app.admin().await);
    let buyer = app.buyer(&sale).await;
    buyer.hold(sale.performance_id, &sale.seats).await.expect(201);
    app.advance(301);
    buyer.delete("/api/v1/users/me").await.expect(204);
    let found = export(&admin, BOOKINGS).await;
    assert_eq!(found[0]["userId"], buyer.user_id().to_string());
    assert_eq!((found[0]["email"].as_str(), found[0]["name"].as_str()), ("", ""));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_export_has_the_rows_of_its_time(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let user = app.user().await;
    let mut times = Vec::new();
    for amount in ["1", "2", "3"] {
        times.push(app.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
        user.charge(amount).await;
        app.clock.advance(TimeDelta::hours(13));
    }
    let amounts = async |query: &str| {
        let rows = export(&admin, &format!("{TRANSACTIONS}?{query}")).await;
        rows.into_iter().map(|row| row["amount"].clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(amounts("").await, "1 2 3");
    assert_eq!(amounts(&format!("from={}", times[1])).await, "2 3", "from is included");
    assert_eq!(amounts(&format!("to={}", times[1])).await, "1", "to is excluded");
    assert_eq!(amounts(&format!("from={}&to={}", times[1], times[2])).await, "2");
    assert_eq!(amounts(&format!("from={}&to={}", times[1], times[1])).await, "");
    assert_eq!(amounts("from=2026-11-21&to=2026-11-21T09:00:00%2B09:00").await, "");
    assert_eq!(amounts("from=2026-11-20&to=2026-11-21").await, "1 2");
    for (query, parameter) in [
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("from=2026-11-21&to=2026-11-20", "to"),
        ("from=2026-11-21&from=2026-11-20", "from"),
    ] {
        for path in [BOOKINGS, TRANSACTIONS] {
            let problem = admin.get(&format!("{path}?{query}")).await.expect_problem(422, "VALIDATION_FAILED").json();
            assert_eq!(problem["errors"][0]["parameter"], parameter, "{query}");
        }
    }
    user.get(TRANSACTIONS).await.expect_problem(403, "FORBIDDEN");
    app.anonymous().get(BOOKINGS).await.expect_problem(401, "UNAUTHENTICATED");
}

/// More rows than a page has: they arrive in pages of bounded size, each row once and in order.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_large_export_is_sent_in_pages(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 1).await, app.admin().await);
    insert_bookings(&tables, &app.buyer(&sale).await, &sale).await;
    let mut chunks = admin.download(BOOKINGS).await;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.unwrap();
        assert!(chunk.len() < 300_000, "a chunk of {} bytes", chunk.len());
        bytes.extend(chunk);
    }
    let found = rows(&bytes);
    assert_eq!(found.len(), 22_500);
    let is_in_order = found.iter().is_sorted_by(|one, next| one["createdAt"] < next["createdAt"]);
    assert!(is_in_order && found[22_499]["createdAt"] == "2026-01-01T06:14:59.000Z");
    let query = format!("{BOOKINGS}?from=2026-01-01T01:00:00Z&to=2026-01-01T02:00:00Z");
    assert_eq!(export(&admin, &query).await.len(), 3_600);
}

/// Many clients don't read on. They hold no connection, so the administration goes on.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_export_that_is_not_read_holds_no_connection(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 1).await, app.admin().await);
    insert_bookings(&tables, &app.buyer(&sale).await, &sale).await;
    let mut unread = Vec::new();
    for _ in 0..40 {
        let mut chunks = admin.download(BOOKINGS).await;
        for _ in 0..3 {
            chunks.next().await.unwrap().unwrap();
        }
        unread.push(chunks);
    }
    admin.get("/api/v1/admin/users").await.expect(200);
    let mut first = unread.swap_remove(0);
    let mut chunks = 3;
    while let Some(chunk) = first.next().await {
        chunk.unwrap();
        chunks += 1;
    }
    assert!(chunks > 45, "{chunks}");
}

/// A page can't be read: the transfer breaks off, so that the client doesn't take the rows so far for all.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_export_that_fails_is_broken_off(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 1).await, app.admin().await);
    insert_bookings(&tables, &app.buyer(&sale).await, &sale).await;
    let mut chunks = admin.download(BOOKINGS).await;
    for _ in 0..3 {
        chunks.next().await.unwrap().unwrap();
    }
    sqlx::query("RENAME TABLE booking_seats TO lost_seats").execute(&tables.pool).await.unwrap();
    assert!(chunks.next().await.unwrap().is_err());
    assert!(chunks.next().await.is_none());
    admin.get(BOOKINGS).await.expect_problem(500, "INTERNAL");
}
