//! Outages of the database: it hangs or disappears, and returns.

use concert_reservation::infrastructure::mysql;
use futures::future::join_all;
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tokio::task::yield_now;

use crate::support::{Client, DatabaseProxy, ProxyMode, Reply, TestApp};

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
