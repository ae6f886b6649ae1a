//! The database connections are divided into pools: an exhausted pool delays no other.

use std::{sync::Arc, task::Poll, time::Duration};

use axum::http::Method;
use chrono::TimeDelta;
use concert_reservation::{
    application::{
        error::AppError,
        event::{EventRetention, EventUpkeep},
        housekeeping::HousekeepingFacade,
    },
    config::{Config, DatabaseConnections},
    domain::unit_of_work::Database,
};
use futures::{
    future::{join_all, try_join_all},
    poll,
};
use serde_json::{Value, json};
use sqlx::{
    Connection,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::support::TestApp;

/// Few connections, so that they are soon all in use.
const CONNECTIONS: (&str, &str) = ("DATABASE_MAX_CONNECTIONS", "14");

fn shares() -> DatabaseConnections {
    let lookup = |name: &str| [("DEMO", "true"), CONNECTIONS].into_iter().find(|it| it.0 == name);
    Config::from_lookup(|name| lookup(name).map(|it| it.1.to_owned())).unwrap().database_connections()
}

/// Runs `work` while all connections of the pool are in use, and further tasks wait for one.
async fn while_none_is_left<T>(side: &Arc<dyn Database>, connections: u32, work: impl Future<Output = T>) -> T {
    let taken = try_join_all((0..connections).map(|_| side.begin())).await.unwrap();
    let mut next = side.begin();
    assert!(poll!(&mut next).is_pending());
    let output = work.await;
    assert!(!matches!(poll!(&mut next), Poll::Ready(Ok(_))), "one was left");
    drop(taken);
    output
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn sales_continue_while_the_back_office_pool_is_exhausted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[CONNECTIONS]);
    let sale = app.sale(1, 4).await;
    let users = app.users(20).await;
    while_none_is_left(&app.ports().back_office, shares().back_office, async {
        app.anonymous().get("/readyz").await.expect(200);
        app.anonymous().get("/api/v1/concerts").await.expect(200);
        assert_eq!(sale.available(&app.anonymous()).await, 4);
        let buyers = join_all(users.into_iter().map(|user| sale.admit(user))).await;
        let map = format!("/api/v1/performances/{}/seats", sale.performance_id);
        join_all(buyers.iter().map(async |buyer| buyer.get(&map).await.expect(200))).await;
        for (buyer, seat) in buyers.iter().zip(&sale.seats) {
            buyer.charge("50000").await;
            let booking = buyer.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId");
            buyer.pay(&booking, "pay").await.expect(201);
            assert_eq!(buyer.booking(&booking).await["status"], "CONFIRMED");
            assert_eq!(buyer.balance().await, "0");
        }
        buyers[4]
            .hold_best_available(sale.performance_id, json!({"quantity": 1}))
            .await
            .expect_problem(409, "SEATS_UNAVAILABLE");
        buyers[4].delete("/api/v1/queue/tokens/current").await.expect(204);
    })
    .await;
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_back_office_continues_while_the_sales_pools_are_exhausted(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start_with(options, 1, &[CONNECTIONS]);
    let sale = app.sale(1, 4).await;
    let admin = app.admin().await;
    let buyer = app.buyer(&sale).await;
    buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    app.advance(301);
    let queue = format!("/api/v1/admin/concerts/{}/queue", sale.concert_id);
    let performance = format!("/api/v1/admin/performances/{}", sale.performance_id);
    while_none_is_left(&app.ports().database, shares().requests, async {
        app.tick().await;
        app.instances[0].relay.run_once().await.unwrap();
        let ports = app.ports().for_back_office();
        let retention = EventRetention { delivered: TimeDelta::hours(1), parked: Some(TimeDelta::days(10)) };
        let upkeep = EventUpkeep::new(ports.clone(), retention);
        HousekeepingFacade::new(ports, upkeep).clean().await.unwrap();
        app.instances[0].shared.queue.admission.measure_queue_sizes().await.unwrap();

        let mut settings: Value = admin.get(&queue).await.expect(200).json();
        settings.as_object_mut().unwrap().retain(|name, _| name != "live" && name != "concertId");
        settings["mode"] = json!("PAUSED");
        admin.send(Method::PUT, &queue, &[], Some(settings)).await.expect(200);
        admin.post("/api/v1/admin/venues", json!({"name": "Hall", "address": "Busan"})).await.expect(201);
        for list in ["venues", "events", "webhooks"] {
            admin.get(&format!("/api/v1/admin/{list}")).await.expect(200);
        }
        let audit = admin.get("/api/v1/admin/audit").await.expect(200).json();
        assert_eq!(audit["ok"], true, "{audit}");
        admin.post(&format!("{performance}/cancel"), json!({})).await.expect(202);
        assert_eq!(admin.get(&performance).await.expect(200).json()["bookingsLeft"], 0);
    })
    .await;
    assert_eq!(buyer.get("/api/v1/bookings").await.expect(200).json()["items"][0]["status"], "EXPIRED");
    app.assert_invariants_hold().await;
}

/// A server with many lanes has few other connections. An audit or a long job that holds all of the back office's must
/// not keep requests from reading ended sessions.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn requests_are_authenticated_while_the_back_office_pool_is_exhausted(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let settings = [("DEMO", "true"), ("LANES", "8")];
    let lookup = |name: &str| settings.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
    let shares = Config::from_lookup(lookup).unwrap().database_connections();
    let app = TestApp::start_with(options, 1, &settings);
    let user = app.user().await;
    while_none_is_left(&app.ports().back_office, shares.back_office, async {
        // The last reading of ended sessions is too old by now.
        app.advance(2);
        user.get("/api/v1/users/me").await.expect(200);
    })
    .await;
}

/// An exclusive lock on a table keeps an audit waiting, as a slow database would. The next audit of the instance
/// doesn't take another connection, and ends within its time limit.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_instance_runs_one_audit_at_a_time_within_a_time_limit(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut other = sqlx::MySqlConnection::connect_with(&options).await.unwrap();
    let app = TestApp::start_with(options, 1, &[CONNECTIONS]);
    let audit = &app.instances[0].shared.audit;
    audit.check_within(Duration::from_secs(20)).await.unwrap();
    sqlx::raw_sql("LOCK TABLES bookings WRITE").execute(&mut other).await.unwrap();
    let limit = Duration::from_millis(100);
    let (one, next) = tokio::join!(audit.check_within(limit), audit.check_within(limit));
    assert!(matches!((one, next), (Err(AppError::TimedOut), Err(AppError::TimedOut))));
    // The abandoned audit still has its connection; the other one of two is free.
    app.ports().back_office.read().await.unwrap().users().find_by_email("x").await.unwrap();
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut other).await.unwrap();
    app.assert_invariants_hold().await;
}
