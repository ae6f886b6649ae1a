//! Concurrent changes of one balance.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::json;

use crate::support::{Client, Reply, Servers, TestApp, one_and_two_servers, race, tally};

one_and_two_servers!(
    five_charges_of_one_wallet_all_count,
    a_thousand_charges_of_one_wallet_all_count,
    one_charge_wins_a_version,
    one_key_charges_once,
);

async fn charge_at_once(app: &TestApp, user: &Client, count: usize, amount: &str) -> Vec<Reply> {
    let clients = app.on_every_server(user);
    let charges = (0..count).map(|number| {
        let (client, body) = (clients[number % clients.len()].clone(), json!({"amount": amount}));
        async move { client.post_keyed("/api/v1/points/charges", &format!("race-{number}"), body).await }
    });
    race(charges).await
}

/// Asserts that every charge counted once, each with another version.
fn assert_all_count(replies: &[Reply]) {
    assert_eq!(tally(replies), BTreeMap::from([((201, String::new()), replies.len())]));
    let versions: BTreeSet<_> = replies.iter().map(|reply| reply.json()["version"].as_u64().unwrap()).collect();
    assert_eq!(versions.len(), replies.len());
}

async fn five_charges_of_one_wallet_all_count(servers: Servers) {
    let app = servers.start();
    for user in app.users(10).await {
        user.charge("50000").await;
        assert_all_count(&charge_at_once(&app, &user, 5, "30000").await);
        assert_eq!(user.balance().await, "200000");
    }
    app.assert_invariants_hold().await;
}

async fn a_thousand_charges_of_one_wallet_all_count(servers: Servers) {
    let app = servers.start();
    let user = app.user().await;
    // The wallet doesn't exist yet: its creation is a race, too.
    assert_all_count(&charge_at_once(&app, &user, 1_000, "1000").await);
    assert_eq!(user.balance().await, "1000000");
    app.assert_invariants_hold().await;
}

async fn one_charge_wins_a_version(servers: Servers) {
    let app = servers.start();
    let user = app.user().await;
    let clients = app.on_every_server(&user);
    for round in 0..10 {
        let etag = user.get("/api/v1/points").await.expect(200).header("etag").to_owned();
        let charges = (0..10).map(|number| {
            let (client, etag) = (clients[number % clients.len()].clone(), etag.clone());
            async move {
                let key = format!("round-{round}-{number}");
                let headers = [("Idempotency-Key", key.as_str()), ("If-Match", etag.as_str())];
                let body = json!({"amount": "1000"});
                client.send(Method::POST, "/api/v1/points/charges", &headers, Some(body)).await
            }
        });
        let replies = race(charges).await;
        let expected = [((201, String::new()), 1), ((412, "PRECONDITION_FAILED".to_owned()), 9)];
        assert_eq!(tally(&replies), BTreeMap::from(expected));
    }
    assert_eq!(user.balance().await, "10000");
    app.assert_invariants_hold().await;
}

async fn one_key_charges_once(servers: Servers) {
    let app = servers.start();
    for user in app.users(10).await {
        let clients = app.on_every_server(&user);
        // Replays must succeed although the condition holds only once.
        let charges = (0..10).map(|number| {
            let client = clients[number % clients.len()].clone();
            async move {
                let headers = [("Idempotency-Key", "once"), ("If-Match", "\"0\"")];
                let body = json!({"amount": "1000"});
                client.send(Method::POST, "/api/v1/points/charges", &headers, Some(body)).await
            }
        });
        let replies = race(charges).await;
        assert_eq!(tally(&replies), BTreeMap::from([((201, String::new()), 10)]));
        assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes), "answers differ");
        assert_eq!(user.balance().await, "1000");
    }
    app.assert_invariants_hold().await;
}
