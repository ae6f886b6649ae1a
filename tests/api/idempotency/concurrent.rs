//! Concurrent requests with one idempotency key.

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use super::{BOOKINGS, CHARGES, PAYMENTS, assert_replay, hold_body, keyed};
use crate::support::{Client, Reply, Tables, TestApp, race};

/// Sends the same request many times at once to both servers, and returns the one answer.
async fn at_once(app: &TestApp, client: &Client, path: &str, key: &str, body: &str) -> Reply {
    let runners = (0..6).map(|number| {
        let client = app.at_instance(client, number % 2);
        let (path, key, body) = (path.to_owned(), key.to_owned(), body.to_owned());
        async move { keyed(&client, &path, &key, &body).await }
    });
    let (mut replayed, mut first): (Vec<_>, Vec<_>) =
        race(runners).await.into_iter().partition(|reply| reply.header("idempotency-replayed") == "true");
    assert_eq!((first.len(), replayed.len()), (1, 5), "{path}: {first:?} {replayed:?}");
    let first = first.remove(0);
    for again in replayed.drain(..) {
        assert_replay(&again, &first);
    }
    first
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concurrent_requests_with_one_key_have_one_effect_and_one_answer(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer(&sale).await;
    for round in 0..5 {
        at_once(&app, &buyer, CHARGES, &format!("k{round}"), r#"{"amount":"20000"}"#).await.expect(201);
    }
    assert_eq!(buyer.balance().await, "100000");
    let booking = at_once(&app, &buyer, BOOKINGS, "k", &hold_body(&sale, 0)).await.expect(201).text("bookingId");
    at_once(&app, &buyer, &format!("{BOOKINGS}/{booking}/extend"), "k", "{}").await.expect(200);
    at_once(&app, &buyer, PAYMENTS, "k", &json!({"bookingId": booking}).to_string()).await.expect(201);
    at_once(&app, &buyer, &format!("{BOOKINGS}/{booking}/cancel"), "k", "{}").await.expect(200);
    let unknown = json!({"bookingId": Uuid::now_v7()}).to_string();
    let buyer = sale.admit(buyer.without_queue_token()).await;
    at_once(&app, &buyer, PAYMENTS, "404", &unknown).await.expect_problem(404, "BOOKING_NOT_FOUND");
    assert_eq!(buyer.balance().await, "100000");
    let list = buyer.get("/api/v1/points/transactions").await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 7, "five charges, a payment, a refund: {list}");
    app.assert_invariants_hold().await;
}

/// Concurrent requests of different lanes and tables under one key: one succeeds, the others are refused.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concurrent_bodies_under_one_key_have_one_effect(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    let starts_at = "2026-12-24T18:00:00Z";
    let (second, seats) = sale.add_performance(&app, starts_at, 1, 2).await;
    let buyer = app.buyer(&sale).await;
    let bodies = [
        hold_body(&sale, 0),
        hold_body(&sale, 1),
        json!({"performanceId": second, "seatIds": [seats[0]]}).to_string(),
        json!({"performanceId": second, "seatIds": [seats[1]]}).to_string(),
    ];
    for round in 0..4 {
        let runners = bodies.iter().cloned().enumerate().map(|(number, body)| {
            let client = app.at_instance(&buyer, number % 2);
            async move { keyed(&client, BOOKINGS, &format!("k{round}"), &body).await }
        });
        let mut granted = Vec::new();
        for reply in race(runners).await {
            if reply.status == 201 {
                granted.push(reply.text("bookingId"));
            } else {
                reply.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
            }
        }
        assert_eq!(granted.len(), 1);
        let booking = &granted[0];
        buyer.post(&format!("{BOOKINGS}/{booking}/cancel"), json!({})).await.expect(200);
    }
    let list = buyer.get(BOOKINGS).await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 4, "{list}");
    app.assert_invariants_hold().await;
}

/// A lock on its wallet keeps the first request from finishing. The second request stops waiting after five
/// seconds; once the first is through, the key has its answer.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn waiting_too_long_for_the_first_request_is_a_conflict(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let user = app.user().await;
    user.charge("1").await;
    let mut lock = tables.pool.begin().await.unwrap();
    sqlx::query("SELECT user_id FROM point_wallets FOR UPDATE").fetch_one(&mut *lock).await.unwrap();

    let body = r#"{"amount":"10"}"#;
    let mut both: FuturesUnordered<_> = (0..2).map(|_| keyed(&user, CHARGES, "k", body)).collect();
    let early = both.next().await.unwrap().expect_problem(409, "IDEMPOTENCY_IN_PROGRESS");
    assert!(early.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{early:?}");
    lock.rollback().await.unwrap();
    let first = both.next().await.unwrap().expect(201);
    assert_eq!(first.json()["balance"], Value::from("11"));
    assert_replay(&keyed(&user, CHARGES, "k", body).await, &first);
    assert_eq!(user.balance().await, "11");
    app.assert_invariants_hold().await;
}
