//! Every queue token ends: when its time is over, with its user, with its concert.

use std::time::Duration;

use axum::http::Method;
use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{
    MySql, MySqlPool, Transaction,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tokio::time::timeout;

use crate::support::{Client, Process, Sale, Tables, TestApp};

const TOKENS: &str = "/api/v1/queue/tokens";
const CURRENT: &str = "/api/v1/queue/tokens/current";
const EVENTS: &str = "/api/v1/queue/tokens/current/events";

async fn poll(client: &Client) -> Value {
    client.get(CURRENT).await.expect(200).json()
}

async fn status(client: &Client) -> String {
    poll(client).await["status"].as_str().unwrap().to_owned()
}

/// The remaining seconds of an active token.
async fn seconds_left(client: &Client) -> i64 {
    let place = poll(client).await;
    assert_eq!(place["status"], "ACTIVE", "{place}");
    place["secondsLeft"].as_i64().unwrap()
}

async fn hold(client: &Client, sale: &Sale, seat: usize) -> String {
    client.hold(sale.performance_id, &sale.seats[seat..=seat]).await.expect(201).text("bookingId")
}

/// Another transaction locks the row of a sale's queue.
async fn lock_queue(tables: &Tables, sale: &Sale) -> Transaction<'static, MySql> {
    let mut lock = tables.pool.begin().await.unwrap();
    let statement = "SELECT 1 FROM queues WHERE concert_id = ? FOR UPDATE";
    sqlx::query(statement).bind(sale.concert_id).execute(&mut *lock).await.unwrap();
    lock
}

async fn cancel(client: &Client, booking: &str) {
    client.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200);
}

async fn extend(client: &Client, booking: &str) {
    client.post(&format!("/api/v1/bookings/{booking}/extend"), json!({})).await.expect(200);
}

async fn count(pool: &MySqlPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn execute(pool: &MySqlPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.unwrap();
}

const LIVE: &str = "SELECT COUNT(*) FROM queue_tokens WHERE live = 1";

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_token_lives_as_long_as_its_holds_and_books_no_longer_than_its_time(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 6).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    app.advance(590);
    let first = hold(&buyer, &sale, 0).await;
    assert_eq!(seconds_left(&buyer).await, 300);
    app.advance(9);
    let second = hold(&buyer, &sale, 2).await;
    assert_eq!(seconds_left(&buyer).await, 300);
    app.advance(1);
    let late = buyer.hold(sale.performance_id, &sale.seats[4..5]).await;
    late.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    buyer
        .hold_best_available(sale.performance_id, json!({"quantity": 1}))
        .await
        .expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    buyer.get(&format!("/api/v1/performances/{}/seats", sale.performance_id)).await.expect(200);

    app.advance(200);
    extend(&buyer, &first).await;
    assert_eq!(seconds_left(&buyer).await, 210);
    app.advance(150);
    assert_eq!(buyer.booking(&second).await["status"], "EXPIRED");
    buyer.pay(&first, "pay").await.expect(201);
    assert_eq!(status(&buyer).await, "COMPLETED");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_token_falls_back_to_what_is_still_held(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 8).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    app.advance(500);
    let (first, second) = (hold(&buyer, &sale, 0).await, hold(&buyer, &sale, 2).await);
    extend(&buyer, &second).await;
    assert_eq!(seconds_left(&buyer).await, 420);
    cancel(&buyer, &second).await;
    assert_eq!(seconds_left(&buyer).await, 300, "the first is still held");
    cancel(&buyer, &first).await;
    assert_eq!(seconds_left(&buyer).await, 100, "its own time");

    let (third, fourth) = (hold(&buyer, &sale, 4).await, hold(&buyer, &sale, 6).await);
    extend(&buyer, &fourth).await;
    buyer.pay(&fourth, "pay").await.expect(201);
    assert_eq!(seconds_left(&buyer).await, 300, "the third is still held");
    app.advance(299);
    assert_eq!(seconds_left(&buyer).await, 1);
    cancel(&buyer, &third).await;
    assert_eq!(status(&buyer).await, "EXPIRED", "its own time was over");
    app.tick().await;
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_token_that_holds_again_and_again_ends_with_its_last_hold(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer(&sale).await;
    let mut held_for = 0;
    for _ in 0..20 {
        let reply = buyer.hold(sale.performance_id, &sale.seats[..1]).await;
        if !reply.status.is_success() {
            reply.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
            break;
        }
        app.advance(100);
        held_for += 100;
        cancel(&buyer, &reply.text("bookingId")).await;
    }
    assert_eq!(held_for, 600, "a token lived on by holding and cancelling");
    assert_eq!(status(&buyer).await, "EXPIRED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_cancelled_performance_gives_its_holders_tokens_their_own_time_back(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer(&sale).await;
    app.advance(500);
    hold(&buyer, &sale, 0).await;
    assert_eq!(seconds_left(&buyer).await, 300);
    let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    app.admin().await.post(&path, json!({})).await.expect(202);
    assert_eq!(seconds_left(&buyer).await, 100);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_token_with_another_users_row_is_refused_everywhere(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let sale = app.sale(1, 4).await;
    let (buyer, other) = (app.buyer_with_points(&sale, "100000").await, app.user().await);
    let booking = hold(&buyer, &sale, 0).await;
    // As after a restore: the number was issued again.
    sqlx::query("UPDATE queue_tokens SET user_id = ?").bind(other.user_id()).execute(&pool).await.unwrap();
    let before = count(&pool, "SELECT CAST(SUM(CRC32(CONCAT_WS(',', status, lapses_at))) AS SIGNED) FROM queue_tokens");

    let before = before.await;
    for _ in 0..2 {
        buyer.get(CURRENT).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        buyer.get(EVENTS).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        buyer.delete(CURRENT).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        let performance = format!("/api/v1/performances/{}", sale.performance_id);
        buyer.get(&format!("{performance}/seats")).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        buyer.get(&format!("{performance}/seats/events")).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        let held = buyer.hold(sale.performance_id, &sale.seats[1..2]).await;
        held.expect_problem(401, "QUEUE_TOKEN_INVALID");
        buyer.pay(&booking, "pay").await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        let extended = buyer.post(&format!("/api/v1/bookings/{booking}/extend"), json!({})).await;
        extended.expect_problem(401, "QUEUE_TOKEN_INVALID");
        // Whether the token was claimed makes no difference.
        execute(&pool, "UPDATE queue_tokens SET claimed_at = NULL").await;
    }
    let after = count(&pool, "SELECT CAST(SUM(CRC32(CONCAT_WS(',', status, lapses_at))) AS SIGNED) FROM queue_tokens");
    assert_eq!(after.await, before, "the row was changed");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn polling_with_another_users_row_records_no_presence(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let sale = app.sale(1, 4).await;
    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let (waiting, other) = (sale.join(app.user().await).await, app.user().await);
    sqlx::query("UPDATE queue_tokens SET user_id = ?, present_until = NULL")
        .bind(other.user_id())
        .execute(&pool)
        .await
        .unwrap();
    poll(&waiting).await;
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM queue_tokens WHERE present_until IS NOT NULL").await, 0);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_user_who_is_deleted_while_joining_is_in_no_queue(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let database = options.get_database().unwrap().to_owned();
    let pool = MySqlPool::connect_lazy_with(options);
    let sale = app.sale(1, 4).await;
    let user = app.user().await;
    let mut deletion = pool.begin().await.unwrap();
    sqlx::query(
        "UPDATE users SET deleted_at = NOW(6), email = NULL, email_key = NULL, password_hash = NULL WHERE id = ?",
    )
    .bind(user.user_id())
    .execute(&mut *deletion)
    .await
    .unwrap();
    let mut joining = Box::pin(user.post(TOKENS, json!({"concertId": sale.concert_id})));
    while Process::waiting(&pool, &database).await.is_empty() {
        assert!(futures::poll!(&mut joining).is_pending(), "joining didn't wait for the deletion");
        tokio::task::yield_now().await;
    }
    deletion.commit().await.unwrap();
    joining.await.expect_problem(401, "UNAUTHENTICATED");
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM queue_tokens").await, 0);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_token_ends_when_the_last_performance_has_begun(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let (mut sale, before_the_opening) = (app.sale(1, 4).await, app.sale(1, 1).await);
    let holder = app.buyer_with_points(&sale, "100000").await;
    let active = app.buyer(&sale).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "activeSeconds": 86_400, "claimSeconds": 3_600})).await;
    let opening = (app.now() + TimeDelta::days(60)).to_rfc3339();
    before_the_opening.set_queue(&app, json!({"salesOpenAt": opening})).await;
    let scheduled = before_the_opening.join(app.user().await).await;
    let mut waiting = Vec::new();
    for user in app.users(3).await {
        waiting.push(sale.join(user).await);
    }
    sale.set_queue(&app, json!({"mode": "PAUSED", "activeSeconds": 86_400})).await;
    app.clock.advance(TimeDelta::days(30) - TimeDelta::seconds(100));
    sale.set_queue(&app, json!({"mode": "OPEN", "activeSeconds": 86_400})).await;
    let (holder, active) = (sale.admit(holder).await, sale.admit(active).await);
    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let booking = hold(&holder, &sale, 0).await;
    app.tick().await;
    assert_eq!(count(&pool, LIVE).await, 6);

    app.advance(100);
    let ended: Vec<_> = waiting.iter().chain([&scheduled]).collect();
    for client in &ended {
        assert_eq!(status(client).await, "EXPIRED", "before any job has run");
    }
    app.tick().await;
    for client in ended.into_iter().chain([&active]) {
        assert_eq!(status(client).await, "EXPIRED");
    }
    assert_eq!(count(&pool, LIVE).await, 1, "what is held can be paid");
    holder.pay(&booking, "pay").await.expect(201);
    assert_eq!(count(&pool, LIVE).await, 0);
    let body = json!({"concertId": sale.concert_id});
    app.user().await.post(TOKENS, body).await.expect_problem(409, "SALES_CLOSED");
    app.tick().await;
    app.assert_invariants_hold().await;

    // The concert continues, and so does its queue.
    let starts_at = (app.now() + TimeDelta::days(30)).to_rfc3339();
    (sale.performance_id, sale.seats) = sale.add_performance(&app, &starts_at, 1, 4).await;
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    let again = sale.join(app.user().await).await;
    assert_eq!(poll(&again).await["position"], 1);
    app.tick().await;
    assert_eq!(status(&again).await, "ACTIVE");
    hold(&again, &sale, 1).await;
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_token_of_a_deleted_concert_ends(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let (sale, untouched) = (app.sale(1, 4).await, app.sale(1, 4).await);
    let active = app.buyer(&sale).await;
    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let waiting = join_all(app.users(4).await.into_iter().map(|user| sale.join(user))).await;
    let elsewhere = app.buyer(&untouched).await;
    let path = format!("/api/v1/admin/concerts/{}", sale.concert_id);
    app.admin().await.delete(&path).await.expect(204);
    app.tick().await;
    for client in waiting.iter().chain([&active]) {
        assert_eq!(status(client).await, "EXPIRED");
    }
    assert_eq!(status(&elsewhere).await, "ACTIVE");
    assert_eq!(count(&pool, LIVE).await, 1);
    app.assert_invariants_hold().await;
}

/// The run admits the users of the other queue before it waits for the locked one. It admits the locked one's once it
/// gets the lock, as it does beside joins, which lock a queue almost all the time.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_locked_queue_delays_no_other(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let (locked, free) = (app.sale(1, 4).await, app.sale(1, 4).await);
    let mut clients = Vec::new();
    for sale in [&locked, &free] {
        sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
        clients.push(sale.join(app.user().await).await);
    }
    let tables = Tables::of(&options).await;
    let lock = lock_queue(&tables, &locked).await;
    let admission = &app.instances[0].shared.queue.admission;
    let run = admission.admit_due();
    let released = async {
        tables.until_waiting(1).await;
        assert_eq!(status(&clients[1]).await, "ACTIVE");
        lock.rollback().await.unwrap();
    };
    let (admitted, ()) = tokio::join!(run, released);
    assert_eq!(admitted.unwrap(), 2);
    assert_eq!(status(&clients[0]).await, "ACTIVE");
}

/// However many queues stay locked, a run waits in vain for one of them, and once. The next run begins with another.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_run_waits_in_vain_for_one_locked_queue(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    /// Some lock waits, and fewer than there are locked queues.
    const LIMIT: Duration = Duration::from_secs(10);
    let app = TestApp::start(options.clone());
    let tables = Tables::of(&options).await;
    let (mut clients, mut locks) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let sale = app.sale(1, 4).await;
        sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
        clients.push(sale.join(app.user().await).await);
        locks.push(lock_queue(&tables, &sale).await);
    }
    let admission = &app.instances[0].shared.queue.admission;
    assert_eq!(timeout(LIMIT, admission.admit_due()).await.expect("one wait").unwrap(), 0);
    locks.remove(1).rollback().await.unwrap();
    assert_eq!(timeout(LIMIT, admission.admit_due()).await.expect("one wait").unwrap(), 1);
    assert_eq!(status(&clients[1]).await, "ACTIVE");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_failing_queue_delays_no_other(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let (broken, sound) = (app.sale(1, 4).await, app.sale(1, 4).await);
    let mut clients = Vec::new();
    for sale in [&broken, &sound] {
        sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
        clients.push(sale.join(app.user().await).await);
    }
    // No token can be admitted beyond the last place.
    sqlx::query("UPDATE queues SET last_place = 0 WHERE concert_id = ?")
        .bind(broken.concert_id)
        .execute(&pool)
        .await
        .unwrap();
    app.instances[0].shared.queue.admission.admit_due().await.unwrap();
    assert_eq!(status(&clients[1]).await, "ACTIVE");

    sqlx::query("UPDATE queues SET last_place = 1 WHERE concert_id = ?")
        .bind(broken.concert_id)
        .execute(&pool)
        .await
        .unwrap();
    for _ in 0..4 {
        app.instances[0].shared.queue.admission.admit_due().await.unwrap();
    }
    assert_eq!(status(&clients[0]).await, "ACTIVE", "it is tried again");
    let path = format!("/api/v1/admin/concerts/{}", sound.concert_id);
    app.admin().await.send(Method::DELETE, &path, &[], None).await.expect(204);
}
