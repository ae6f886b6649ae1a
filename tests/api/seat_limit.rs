//! The seat limit and deadlines with different clocks and after lock waits.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{
    MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::support::{Client, Reply, Sale, Servers, Tables, TestApp};

const SKEWS: &[i64] = &[0, 3];

/// Two servers; the second one's clock is three seconds ahead.
fn two_clocks(options: &MySqlConnectOptions) -> TestApp {
    Servers { options: options.clone(), skews: SKEWS }.start()
}

async fn hold(client: &Client, sale: &Sale, seats: std::ops::Range<usize>) -> String {
    client.hold(sale.performance_id, &sale.seats[seats]).await.expect(201).text("bookingId")
}

async fn extend(client: &Client, booking: &str) -> Reply {
    client.post(&format!("/api/v1/bookings/{booking}/extend"), json!({})).await
}

/// A buyer with two holds of four seats: the first has expired by the faster clock alone, which allowed the second.
async fn buyer_with_two_holds(app: &TestApp, sale: &Sale) -> (Client, String, String) {
    let slow = app.at_instance(&app.buyer_with_points(sale, "400000").await, 0);
    let first = hold(&slow, sale, 0..4).await;
    app.advance(298);
    let fast = app.at_instance(&slow, 1);
    let second = hold(&fast, sale, 4..8).await;
    (slow, first, second)
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_expired_by_a_faster_clock_cannot_be_paid(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = two_clocks(&options);
    let sale = app.sale(1, 8).await;
    let (slow, first, second) = buyer_with_two_holds(&app, &sale).await;
    slow.pay(&first, "first").await.expect_problem(410, "HOLD_EXPIRED");
    slow.pay(&second, "second").await.expect(201);
    assert_eq!(slow.balance().await, "200000");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_expired_by_a_faster_clock_cannot_be_extended(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = two_clocks(&options);
    let sale = app.sale(1, 8).await;
    let (slow, first, second) = buyer_with_two_holds(&app, &sale).await;
    extend(&slow, &first).await.expect_problem(410, "HOLD_EXPIRED");
    extend(&slow, &second).await.expect(200);
    app.assert_invariants_hold().await;
}

/// A transaction that has locked some rows.
async fn lock(pool: &MySqlPool, statement: &'static str) -> sqlx::Transaction<'static, sqlx::MySql> {
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query(statement).fetch_all(&mut *transaction).await.unwrap();
    transaction
}

/// Sends a request that must wait for a lock, lets time pass, and releases the lock.
async fn after_a_wait(
    app: &TestApp,
    tables: &Tables,
    statement: &'static str,
    seconds: i64,
    request: impl Future<Output = Reply>,
) -> Reply {
    let locked = lock(&tables.pool, statement).await;
    let release = async {
        tables.until_waiting(1).await;
        app.advance(seconds);
        locked.rollback().await.unwrap();
    };
    tokio::join!(request, release).0
}

const LOCK_TOKENS: &str = "SELECT id FROM queue_tokens FOR UPDATE";
const LOCK_SEATS: &str = "SELECT id FROM seats FOR UPDATE";

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_payment_is_decided_by_the_time_after_its_lock_wait(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let tables = Tables::of(&options).await;
    let sale = app.sale(1, 8).await;
    for statement in [LOCK_TOKENS, LOCK_SEATS] {
        let buyer = app.buyer_with_points(&sale, "200000").await;
        let booking = hold(&buyer, &sale, 0..4).await;
        let paid = after_a_wait(&app, &tables, statement, 300, buyer.pay(&booking, "key")).await;
        paid.expect_problem(410, "HOLD_EXPIRED");
        assert_eq!(buyer.balance().await, "200000");
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_lasts_its_full_time_after_a_lock_wait(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let tables = Tables::of(&options).await;
    let sale = app.sale(1, 8).await;
    let (buyer, other) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let held = after_a_wait(&app, &tables, LOCK_TOKENS, 7, buyer.hold(sale.performance_id, &sale.seats[..4])).await;
    assert_eq!(held.expect(201).json()["secondsLeft"], 300);
    let best = json!({"quantity": 2});
    let held = after_a_wait(&app, &tables, LOCK_SEATS, 7, other.hold_best_available(sale.performance_id, best)).await;
    assert_eq!(held.expect(201).json()["secondsLeft"], 300);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_queue_place_is_issued_at_the_time_after_a_lock_wait(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let tables = Tables::of(&options).await;
    let sale = app.sale(1, 1).await;
    let (user, body) = (app.user().await, json!({"concertId": sale.concert_id}));
    let join = user.post("/api/v1/queue/tokens", body);
    let joined = after_a_wait(&app, &tables, "SELECT concert_id FROM queues FOR UPDATE", 7, join).await.expect(201);
    let issued: chrono::DateTime<chrono::Utc> = joined.text("issuedAt").parse().unwrap();
    assert_eq!(app.now() - issued, TimeDelta::zero());
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn seats_that_cannot_be_held_are_not_locked(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let sale = app.sale(1, 8).await;
    let buyer = app.buyer(&sale).await;
    hold(&buyer, &sale, 0..1).await;
    let starts_at = (app.now() + TimeDelta::days(20)).to_rfc3339();
    let (other_performance, other_seats) = sale.add_performance(&app, &starts_at, 1, 4).await;
    let locked = lock(&pool, LOCK_SEATS).await;
    let beyond = buyer.hold(sale.performance_id, &sale.seats[1..5]).await;
    beyond.expect_problem(409, "SEAT_LIMIT_EXCEEDED");
    for foreign in [&other_seats[..2], &other_seats, &[&sale.seats[1..5], &other_seats[..1]].concat()] {
        buyer.hold(sale.performance_id, foreign).await.expect_problem(404, "SEAT_NOT_FOUND");
    }
    buyer.hold(other_performance + 1, &other_seats[..2]).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    locked.rollback().await.unwrap();
    buyer.hold(other_performance, &other_seats).await.expect(201);
    app.assert_invariants_hold().await;
}

/// Fills the wallet to its limit with an old charge.
async fn fill_wallet(pool: &MySqlPool, user: &Client) {
    for statement in [
        "INSERT INTO point_transactions (id, user_id, version, type, amount, balance_after, created_at) \
         SELECT UNHEX('01020304050607080910111213141516'), user_id, version + 1, 'CHARGE', 999999999999.99 - balance, \
         999999999999.99, updated_at FROM point_wallets WHERE user_id = ?",
        "UPDATE point_wallets SET balance = 999999999999.99, version = version + 1 WHERE user_id = ?",
    ] {
        sqlx::query(statement).bind(user.user_id()).execute(pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_refund_may_exceed_the_wallet_limit_for_charges(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = hold(&buyer, &sale, 0..1).await;
    buyer.pay(&booking, "pay").await.expect(201);
    fill_wallet(&pool, &buyer).await;
    let cancelled = buyer.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200);
    assert_eq!(cancelled.json()["status"], Value::from("REFUNDED"));
    assert_eq!(buyer.balance().await, "1000000049999.99");
    let more = buyer.post_keyed("/api/v1/points/charges", "more", json!({"amount": "1"})).await;
    more.expect_problem(409, "BALANCE_LIMIT_EXCEEDED");
}
