//! Outages of the database: it hangs or disappears, and returns; or one connection to it falls silent.

use std::{sync::Arc, time::Duration};

use concert_reservation::{
    application::event::{EventRelay, EventSenders},
    domain::event::RetryPolicy,
    infrastructure::{event_sender::HttpEventSender, mysql},
};
use futures::future::join_all;
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use tokio::{task::yield_now, time::timeout};

use crate::support::{Client, DatabaseProxy, ProxyMode, Receiver, Reply, TestApp};

/// Longer than every time limit that ends work on a silent connection, and shorter than that of a request.
const HANGS: Duration = Duration::from_secs(25);

async fn charge(user: &Client, key: &str) -> Reply {
    user.post_keyed("/api/v1/points/charges", key, json!({"amount": "1000"})).await
}

/// Repeats a request until it succeeds; every other answer must be a 503.
async fn until_well(path: &str, client: &Client) {
    loop {
        let reply = client.get(path).await;
        if reply.status.is_success() {
            return;
        }
        reply.expect_problem(503, "DATABASE_UNAVAILABLE");
        // On a busy machine the refused requests would otherwise leave the health probe too little time to connect.
        yield_now().await;
    }
}

/// Waiting and new requests get 503; answers from memory are still served. Once the database is back,
/// the same keys have one effect each.
async fn requests_fail_fast_while_the_database_is(mode: ProxyMode, options: MySqlConnectOptions) {
    let proxy = DatabaseProxy::start(&options).await;
    let app = TestApp::start(proxy.options());
    app.instances[0].start_health_probe();
    let users = app.users(8).await;
    for user in &users {
        charge(user, "before").await.expect(201);
    }
    proxy.set(mode);
    let charges = || join_all(users.iter().map(|user| charge(user, "meanwhile")));
    let reads = || join_all(users.iter().map(|user| user.get("/api/v1/points")));
    // The second request is refused at once.
    for _ in 0..2 {
        let (charges, reads) = tokio::join!(charges(), reads());
        for reply in charges.into_iter().chain(reads) {
            reply.expect_problem(503, "DATABASE_UNAVAILABLE");
        }
        app.anonymous().get("/readyz").await.expect_problem(503, "DATABASE_UNAVAILABLE");
    }
    app.anonymous().get("/livez").await.expect(200);
    app.anonymous().get("/metrics").await.expect(200);

    proxy.set(ProxyMode::Open);
    until_well("/readyz", &app.anonymous()).await;
    until_well("/api/v1/points", &users[0]).await;
    for user in &users {
        while charge(user, "meanwhile").await.status != 201 {
            yield_now().await;
        }
        assert_eq!(user.balance().await, "2000");
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn requests_fail_fast_while_the_database_hangs(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    requests_fail_fast_while_the_database_is(ProxyMode::Blocked, options).await;
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn requests_fail_fast_while_the_database_is_gone(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    requests_fail_fast_while_the_database_is(ProxyMode::Cut, options).await;
}

/// The proxy recognizes a statement by its text.
fn unencrypted(proxy: &DatabaseProxy) -> MySqlConnectOptions {
    proxy.options().ssl_mode(MySqlSslMode::Disabled)
}

/// The health probe has a connection of its own, which still answers.
#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn polls_are_answered_when_the_connection_of_their_read_falls_silent(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let proxy = DatabaseProxy::start(&options).await;
    let app = TestApp::start(unencrypted(&proxy));
    app.instances[0].start_health_probe();
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let waiting = join_all(app.users(8).await.into_iter().map(|user| sale.join(user))).await;
    // The text by which the polls' shared read gets the queue.
    proxy.silence_statement("WHERE concert_id = ? AND (SELECT c.deleted_at");
    let polls = join_all(waiting.iter().map(|user| user.get("/api/v1/queue/tokens/current")));
    for reply in timeout(HANGS, polls).await.expect("the read ends") {
        assert_eq!(reply.expect(200).text("status"), "WAITING");
    }
    timeout(HANGS, proxy.until_closed(1)).await.expect("the silent connection is closed");
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn events_are_delivered_after_a_connection_of_the_relay_has_fallen_silent(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let mut receiver = Receiver::start().await;
    let proxy = DatabaseProxy::start(&options).await;
    let app = TestApp::start_with(unencrypted(&proxy), 1, &[("DATA_PLATFORM_URL", &receiver.url)]);
    app.user().await.charge("1000").await;
    let senders = EventSenders { http: Arc::new(HttpEventSender::new(true).unwrap()), kafka: None, mail: None };
    let retry = RetryPolicy { max_attempts: 1 };
    let relay = EventRelay::new(
        app.instances[0].ports.for_back_office(),
        Arc::new(senders),
        retry,
        // A little longer than the test of a connection.
        Duration::from_millis(1_500),
    );
    // The statements of a dispatch, of a claim and of a settlement.
    for part in ["dispatched_at IS NULL LIMIT", "ORDER BY next_attempt_at LIMIT", "SET status = 'DELIVERED'"] {
        proxy.silence_statement(part);
        timeout(HANGS, relay.run_once()).await.expect("the transaction ends").unwrap_err();
    }
    relay.run_once().await.unwrap();
    assert_eq!(receiver.drain().len(), 1);
}
