//! A server that runs unattended: ended rows are removed, and no table grows for ever.

use chrono::TimeDelta;
use concert_reservation::application::{
    event::{EventRetention, EventUpkeep},
    housekeeping::HousekeepingFacade,
};
use serde_json::json;
use sqlx::{
    MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::support::{SANDBOX, Sale, TestApp};

const CURRENT: &str = "/api/v1/queue/tokens/current";

fn housekeeping(app: &TestApp) -> HousekeepingFacade {
    let ports = app.ports().for_back_office();
    let retention = EventRetention { delivered: TimeDelta::days(7), parked: Some(TimeDelta::days(90)) };
    let upkeep = EventUpkeep::new(ports.clone(), retention);
    HousekeepingFacade::new(ports, upkeep).keeping_queue_tokens(TimeDelta::days(30))
}

/// Runs housekeeping until nothing is left to remove.
async fn clean(app: &TestApp) {
    let housekeeping = housekeeping(app);
    while housekeeping.clean().await.unwrap() {}
}

async fn count(pool: &MySqlPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// A sale in which tokens end in each way, and some don't until the concert is over.
async fn sell(app: &TestApp) -> Sale {
    let sale = app.sale(1, 6).await;
    let (payer, leaver) = (app.buyer_with_points(&sale, "100000").await, app.buyer(&sale).await);
    let booking =
        payer.hold_best_available(sale.performance_id, json!({"quantity": 1})).await.expect(201).text("bookingId");
    payer.pay(&booking, "pay").await.expect(201);
    leaver.hold(sale.performance_id, &sale.seats[4..5]).await.expect(201);
    leaver.delete(CURRENT).await.expect(204);
    app.buyer(&sale).await;
    sale.set_queue(app, json!({"mode": "PAUSED"})).await;
    for user in app.users(3).await {
        sale.join(user).await;
    }
    sale
}

/// A sale whose waiting users all leave, while it goes on.
async fn leave(app: &TestApp) -> Sale {
    let sale = app.sale(1, 1).await;
    sale.set_queue(app, json!({"mode": "PAUSED"})).await;
    for user in app.users(3).await {
        sale.join(user).await.delete(CURRENT).await.expect(204);
    }
    sale
}

/// No later token waits behind the departed ones: a tick moves the head past them.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn tokens_of_a_queue_that_all_users_left_are_removed(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    leave(&app).await;
    app.tick().await;
    app.advance(31 * 86_400);
    app.tick().await;
    clean(&app).await;
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM queue_tokens").await, 0);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_user_who_joins_after_all_others_left_is_the_first(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = leave(&app).await;
    for _ in 0..2 {
        let joined = sale.join(app.user().await).await;
        assert_eq!(joined.get(CURRENT).await.expect(200).json()["position"], 1);
        joined.delete(CURRENT).await.expect(204);
        app.tick().await;
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn queue_tables_do_not_grow_over_a_year_of_sales(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    for _ in 0..12 {
        sell(&app).await;
        leave(&app).await;
        app.tick().await;
        app.advance(31 * 86_400);
        // Some transactions a tick for each queue.
        for _ in 0..2 {
            app.tick().await;
        }
        clean(&app).await;
        assert_eq!(count(&pool, "SELECT COUNT(*) FROM queue_tokens WHERE live = 1").await, 0);
        assert_eq!(count(&pool, "SELECT COUNT(*) FROM queues WHERE occupied = 1").await, 0);
        assert!(count(&pool, "SELECT COUNT(*) FROM queue_tokens").await <= 6, "those that ended lately");
        assert!(count(&pool, "SELECT COUNT(*) FROM seat_choices").await <= 1, "that of the last performance");
        app.assert_invariants_hold().await;
    }
    app.advance(31 * 86_400);
    clean(&app).await;
    for table in ["queue_tokens", "queue_admissions", "seat_choices"] {
        let query = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(query).fetch_one(&pool).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM bookings WHERE status = 'CONFIRMED'").await, 12, "history stays");
    app.assert_invariants_hold().await;
}

/// The rows that housekeeping deletes: of each kind at least one.
const REMOVABLE: [&str; 5] = ["idempotency_keys", "queue_tokens", "seat_choices", "sessions", "mailed_codes"];

/// A sale, a login and a code, all of them past their retention.
async fn sell_long_ago(app: &TestApp) {
    sell(app).await;
    let user = app.user().await;
    user.post("/api/v1/users/me/email-verification", json!({})).await.expect(202);
    app.advance(31 * 86_400);
    for _ in 0..2 {
        app.tick().await;
    }
    app.advance(91 * 86_400);
}

/// As beside another instance that deletes the same rows at the same time.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn housekeeping_skips_rows_that_others_have_locked(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    sell_long_ago(&app).await;
    let mut other = pool.begin().await.unwrap();
    let mut rows = Vec::new();
    for table in REMOVABLE {
        let query = format!("SELECT 1 FROM {table} FOR UPDATE");
        let locked = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&mut *other).await.unwrap();
        assert!(!locked.is_empty(), "{table}");
        rows.push(locked.len());
    }
    clean(&app).await;
    let mut left = Vec::new();
    for table in REMOVABLE {
        let query = format!("SELECT 1 FROM {table}");
        left.push(sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&pool).await.unwrap().len());
    }
    assert_eq!(left, rows);
    other.rollback().await.unwrap();
    clean(&app).await;
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM queue_tokens").await, 0);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_failing_step_of_housekeeping_stops_no_other(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    sell_long_ago(&app).await;
    // The statements of two steps fail, one of them the first that deletes rows.
    for statement in ["RENAME TABLE top_ups TO hidden", "RENAME TABLE seat_choices TO hidden_choices"] {
        sqlx::raw_sql(statement).execute(&pool).await.unwrap();
    }
    housekeeping(&app).clean().await.unwrap_err();
    for table in ["idempotency_keys", "queue_tokens", "sessions", "mailed_codes", "outbox_events"] {
        let query = format!("SELECT 1 FROM {table}");
        let left = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&pool).await.unwrap();
        assert_eq!(left.len(), 0, "{table}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn mailed_codes_do_not_grow_over_a_year_of_requests(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let user = app.user().await;
    for _ in 0..12 {
        for email in ["user0@example.org", "unknown@example.org"] {
            let reset = json!({"email": email});
            app.anonymous().post("/api/v1/auth/password-reset", reset).await.expect(202);
        }
        user.post("/api/v1/users/me/email-verification", json!({})).await.expect(202);
        assert_eq!(count(&pool, "SELECT COUNT(*) FROM mailed_codes").await, 3);
        app.advance(31 * 86_400);
        clean(&app).await;
        assert_eq!(count(&pool, "SELECT COUNT(*) FROM mailed_codes").await, 0);
    }
}

/// Paid top-ups are history. The others end, and so do requests that no client repeats after a crash.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn top_ups_do_not_grow_over_a_year_of_unpaid_ones(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options.clone(), 1, &SANDBOX);
    let pool = MySqlPool::connect_lazy_with(options);
    let user = app.user().await;
    for month in 1..=12 {
        for outcome in ["success", "failure", "", ""] {
            let top_up = user.top_up("100").await;
            if !outcome.is_empty() {
                user.choose(&top_up, outcome).await;
            }
        }
        let unanswered = "UPDATE top_ups SET request_digest = CONCAT(id, id), request_fingerprint = CONCAT(id, id) \
                          WHERE status = 'PENDING' LIMIT 1";
        sqlx::query(unanswered).execute(&pool).await.unwrap();
        clean(&app).await;
        assert_eq!(count(&pool, "SELECT COUNT(*) FROM top_ups WHERE request_digest IS NOT NULL").await, 1);
        app.advance(31 * 86_400);
        app.tick().await;
        clean(&app).await;
        assert_eq!(count(&pool, "SELECT COUNT(*) FROM top_ups WHERE request_digest IS NOT NULL").await, 0);
        let of_two_months = 3 * month.min(2);
        assert_eq!(count(&pool, "SELECT COUNT(*) FROM top_ups WHERE status <> 'COMPLETED'").await, of_two_months);
    }
    app.advance(91 * 86_400);
    clean(&app).await;
    for table in ["top_ups", "sandbox_checkouts"] {
        let query = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(query).fetch_one(&pool).await.unwrap();
        assert_eq!(rows, 12, "{table}: history stays");
    }
    app.assert_invariants_hold().await;
}
