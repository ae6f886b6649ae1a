//! A server whose clock differs too much from the database's refuses to decide until it is right again.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use concert_reservation::{app::system_clock, domain::clock::Clock};
use serde_json::json;
use sqlx::{
    MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::support::{Client, DatabaseProxy, ProxyMode, TestApp};

/// The machine's clock with an offset that a test sets.
#[derive(Default)]
struct AdjustableClock {
    ahead_seconds: AtomicI64,
}

impl AdjustableClock {
    fn set_ahead(&self, seconds: i64) {
        self.ahead_seconds.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for AdjustableClock {
    fn now(&self) -> DateTime<Utc> {
        system_clock().now() + TimeDelta::seconds(self.ahead_seconds.load(Ordering::SeqCst))
    }
}

/// Two servers, the first with an adjustable clock; each has compared its clock with the database's.
async fn two_servers(options: &MySqlConnectOptions) -> (TestApp, Arc<AdjustableClock>) {
    let clock = Arc::new(AdjustableClock::default());
    let clocks: [Arc<dyn Clock>; 2] = [Arc::clone(&clock) as _, system_clock()];
    let app = TestApp::start_with_clocks(options, clocks);
    for instance in &app.instances {
        instance.start_health_probe();
        while instance.shared.clock_check.lead().is_none() {
            tokio::task::yield_now().await;
        }
    }
    (app, clock)
}

/// Sends every request that is decided by a deadline.
async fn ask_for_everything(client: &Client, performance_id: u64, seat: u64) -> Vec<crate::support::Reply> {
    vec![
        client.post("/api/v1/queue/tokens", json!({"concertId": 1})).await,
        client.get("/api/v1/queue/tokens/current").await,
        client.get(&format!("/api/v1/performances/{performance_id}/seats")).await,
        client.hold(performance_id, &[seat]).await,
        client.post_keyed("/api/v1/points/charges", "key", json!({"amount": "1"})).await,
        client.get("/api/v1/points").await,
    ]
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_server_with_a_wrong_clock_refuses_every_decision(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (app, clock) = two_servers(&options).await;
    let sale = app.sale(1, 4).await;
    let here = app.at_instance(&app.buyer(&sale).await, 0);
    let there = app.at_instance(&here, 1);
    for ahead in [6, -6, 3_600] {
        clock.set_ahead(ahead);
        for reply in ask_for_everything(&here, sale.performance_id, sale.seats[0]).await {
            let reply = reply.expect_problem(503, "CLOCK_SKEWED");
            assert_eq!(reply.header("retry-after"), "1");
        }
        here.get("/readyz").await.expect_problem(503, "CLOCK_SKEWED");
        here.get("/livez").await.expect(200);
        assert!(app.instances[0].shared.bookings.expire_holds(9).await.is_err());
        there.get("/readyz").await.expect(200);
        there.get("/api/v1/queue/tokens/current").await.expect(200);
    }
    clock.set_ahead(0);
    here.get("/readyz").await.expect(200);
    here.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    app.assert_invariants_hold().await;
}

/// The first request comes right after the start.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_server_decides_nothing_before_it_has_compared_its_clock(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let clock = Arc::new(AdjustableClock::default());
    clock.set_ahead(3_600);
    let app = TestApp::start_with_clocks(&options, [Arc::clone(&clock) as _]);
    app.instances[0].start_jobs().await;
    app.anonymous().get("/api/v1/concerts").await.expect_problem(503, "CLOCK_SKEWED");
    assert!(app.instances[0].shared.bookings.expire_holds(9).await.is_err());
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_server_starts_while_the_database_is_away(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    for mode in [ProxyMode::Cut, ProxyMode::Blocked] {
        let proxy = DatabaseProxy::start(&options).await;
        proxy.set(mode);
        let app = TestApp::start_with_clocks(&proxy.options(), [system_clock()]);
        app.instances[0].start_jobs().await;
        app.anonymous().get("/api/v1/concerts").await.expect_problem(503, "DATABASE_UNAVAILABLE");
        proxy.set(ProxyMode::Open);
        while app.anonymous().get("/readyz").await.status != 200 {
            tokio::task::yield_now().await;
        }
        assert!(app.instances[0].shared.clock_check.has_reading());
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn clocks_within_the_tolerance_decide_as_before(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (app, clock) = two_servers(&options).await;
    clock.set_ahead(4);
    let sale = app.sale(1, 4).await;
    for client in app.on_every_server(&app.buyer(&sale).await) {
        client.get("/readyz").await.expect(200);
        client.hold(sale.performance_id, &sale.seats[..1]).await;
    }
    app.assert_invariants_hold().await;
}

/// A server whose clock was an hour ahead admitted a token and wrote its time: admission continues nevertheless.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn rows_written_by_a_wrong_clock_stop_no_admission(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let sale = app.sale(1, 4).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1, "admitIntervalSeconds": 60})).await;
    sqlx::query("UPDATE queues SET decided_at = decided_at + INTERVAL 1 HOUR").execute(&pool).await.unwrap();
    sqlx::query(
        "INSERT INTO queue_admissions (concert_id, admitted_at, admitted, active, mode, admit_count, \
         admit_interval_seconds, max_active) SELECT concert_id, decided_at, 1, 1, 'QUEUE', 1, 60, 9 FROM queues",
    )
    .execute(&pool)
    .await
    .unwrap();
    let user = sale.join(app.user().await).await;
    app.tick().await;
    let token = user.send(Method::GET, "/api/v1/queue/tokens/current", &[], None).await.expect(200).json();
    assert_eq!(token["status"], "ACTIVE", "{token}");
    let decided: DateTime<Utc> = sqlx::query_scalar("SELECT decided_at FROM queues").fetch_one(&pool).await.unwrap();
    assert!(decided <= app.now() + TimeDelta::seconds(20), "{decided}");
}
