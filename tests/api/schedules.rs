//! Performances that get another start or an end of sales.

use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, Sale, Tables, TestApp};

async fn patch(admin: &Client, sale: &Sale, body: Value) -> Reply {
    let path = format!("/api/v1/admin/performances/{}", sale.performance_id);
    admin.send(Method::PATCH, &path, &[], Some(body)).await
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

async fn concert(client: &Client, sale: &Sale) -> Value {
    client.get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect(200).json()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_rescheduled_performance_shows_its_new_start_everywhere(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start_two(options);
    let (sale, admin) = (app.sale(1, 2).await, app.admin().await);
    let buyers = app.on_every_server(&app.buyer(&sale).await);
    let before = text(app.now() + TimeDelta::days(30));
    let start = text(app.now() + TimeDelta::days(40));
    app.advance(1);
    let answer = patch(&admin, &sale, json!({"startsAt": start, "reason": "The artist is ill."})).await.expect(200);
    assert_eq!((answer.text("startsAt"), answer.text("salesEndAt")), (start.clone(), start.clone()));
    let shown = admin.get(&format!("/api/v1/admin/performances/{}", sale.performance_id)).await.expect(200);
    assert_eq!(shown.json(), answer.json());
    for buyer in &buyers {
        let concert = concert(buyer, &sale).await;
        assert_eq!((&concert["firstPerformanceAt"], &concert["lastPerformanceAt"]), (&json!(start), &json!(start)));
        let list = buyer.get(&format!("/api/v1/concerts/{}/performances", sale.concert_id)).await.expect(200).json();
        assert_eq!((&list["items"][0]["startsAt"], &list["items"][0]["salesEndAt"]), (&json!(start), &json!(start)));
    }
    // Only another start is an event.
    for body in [json!({"startsAt": start}), json!({"salesEndAt": before})] {
        app.advance(1);
        patch(&admin, &sale, body).await.expect(200);
    }
    let events = "SELECT CONCAT(subject, ' ', data) FROM outbox_events WHERE type = 'performance.rescheduled'";
    let events: Vec<String> = sqlx::query_scalar(events).fetch_all(&tables.pool).await.unwrap();
    let id = sale.performance_id;
    let data = format!(
        r#"{id} {{"performanceId":{id},"concertId":{},"previousStartsAt":"{before}","startsAt":"{start}"}}"#,
        sale.concert_id
    );
    assert_eq!(events, [data]);
    let log = admin.get("/api/v1/admin/actions").await.expect(200).json();
    let logged: Vec<_> = log["items"].as_array().unwrap().iter().take(3).map(|entry| entry["reason"].clone()).collect();
    assert!(log["items"].as_array().unwrap()[..3].iter().all(|entry| entry["action"] == "performance.updated"));
    assert!(logged.contains(&json!("The artist is ill.")) && logged.contains(&Value::Null), "{logged:?}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn after_the_end_of_sales_holds_are_refused_and_paid(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let (sale, admin) = (app.sale(1, 4).await, app.admin().await);
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let other = app.buyer(&sale).await;
    let end = text(app.now() + TimeDelta::seconds(60));
    let answer = patch(&admin, &sale, json!({"salesEndAt": end})).await.expect(200);
    assert_eq!(answer.text("salesEndAt"), end);
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    app.advance(60);
    for client in app.on_every_server(&other) {
        client.hold(sale.performance_id, &sale.seats[1..2]).await.expect_problem(409, "SALES_CLOSED");
        let best = client.hold_best_available(sale.performance_id, json!({"quantity": 1})).await;
        best.expect_problem(409, "SALES_CLOSED");
        assert_eq!(sale.available(&client).await, 0);
        assert_eq!(concert(&client, &sale).await["soldOut"], true);
    }
    app.advance(239);
    buyer.pay(&booking, "key").await.expect(201);
    // Sales go on until the start once the end is removed.
    patch(&admin, &sale, json!({"salesEndAt": null})).await.expect(200);
    assert_eq!(concert(&other, &sale).await["soldOut"], false);
    other.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn refunds_close_before_the_new_start(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 2).await, app.admin().await);
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    buyer.pay(&booking, "key").await.expect(201);
    let path = format!("/api/v1/bookings/{booking}/cancel");
    patch(&admin, &sale, json!({"startsAt": text(app.now() + TimeDelta::hours(24))})).await.expect(200);
    buyer.post(&path, json!({})).await.expect_problem(409, "REFUND_WINDOW_CLOSED");
    patch(&admin, &sale, json!({"startsAt": text(app.now() + TimeDelta::hours(25))})).await.expect(200);
    let refunded = buyer.post(&path, json!({})).await.expect(200);
    assert_eq!(refunded.text("status"), "REFUNDED");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn queue_tokens_end_with_the_new_start(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let (sale, admin) = (app.sale(1, 2).await, app.admin().await);
    let buyer = app.buyer(&sale).await;
    let status = async || buyer.get("/api/v1/queue/tokens/current").await.expect(200).text("status");
    patch(&admin, &sale, json!({"startsAt": text(app.now() + TimeDelta::seconds(50))})).await.expect(200);
    patch(&admin, &sale, json!({"startsAt": text(app.now() + TimeDelta::seconds(90))})).await.expect(200);
    app.advance(89);
    app.tick().await;
    assert_eq!(status().await, "ACTIVE");
    app.advance(1);
    app.tick().await;
    assert_eq!(status().await, "EXPIRED");
    patch(&admin, &sale, json!({"startsAt": text(app.now() + TimeDelta::days(1))}))
        .await
        .expect_problem(409, "SALES_CLOSED");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_schedule_that_cannot_be_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 2).await, app.admin().await);
    let in_days = |days| text(app.now() + TimeDelta::days(days));
    patch(&admin, &sale, json!({"salesEndAt": in_days(20)})).await.expect(200);
    let before = tables.checksums().await;
    let refused = [
        (json!({}), ""),
        (json!({"reason": "none"}), ""),
        (json!({"startsAt": null}), "/startsAt"),
        (json!({"startsAt": "tomorrow"}), "/startsAt"),
        (json!({"startsAt": text(app.now())}), "/startsAt"),
        (json!({"salesEndAt": in_days(31)}), "/salesEndAt"),
        (json!({"startsAt": in_days(10)}), "/salesEndAt"),
        (json!({"startsAt": in_days(10), "salesEndAt": in_days(11)}), "/salesEndAt"),
        (json!({"salesEndAt": in_days(1), "reason": " "}), "/reason"),
    ];
    for (body, pointer) in refused {
        let problem = patch(&admin, &sale, body.clone()).await.expect_problem(422, "VALIDATION_FAILED").json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
        assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{problem}");
    }
    assert_eq!(tables.checksums().await, before);
    let nowhere = Sale { performance_id: 999, ..sale.clone() };
    patch(&admin, &nowhere, json!({"salesEndAt": null})).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    patch(&app.user().await, &sale, json!({"salesEndAt": null})).await.expect_problem(403, "FORBIDDEN");
    patch(&admin, &sale, json!({"startsAt": in_days(10), "salesEndAt": null})).await.expect(200);
    admin.post(&format!("/api/v1/admin/performances/{}/cancel", sale.performance_id), json!({})).await.expect(202);
    patch(&admin, &sale, json!({"salesEndAt": null})).await.expect_problem(409, "SALES_CLOSED");
}

/// On a cluster of databases, a tick at another node that ends tokens by the old start conflicts by the queue's row.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn rescheduling_writes_the_queue(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let writes = "SELECT CAST(SUM(write_count) AS SIGNED) FROM queues";
    let before = tables.count(writes).await;
    let starts_at = (app.now() + TimeDelta::days(7)).to_rfc3339();
    patch(&app.admin().await, &sale, json!({"startsAt": starts_at})).await.expect(200);
    assert_eq!(tables.count(writes).await, before + 1);
}
