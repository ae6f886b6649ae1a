//! Receivers that fail, hang, end, or have a private address.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode, response::IntoResponse};
use futures::stream;
use serde_json::json;
use sqlx::{
    AssertSqlSafe,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use super::{ALLOWED, WEBHOOKS, list, register, relay};
use crate::support::{Receiver, TestApp};

/// Rows written by another version of the server, or by hand.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unreadable_webhook_delays_no_other(pool_options: MySqlPoolOptions, options: MySqlConnectOptions) {
    let pool = pool_options.connect_with(options.clone()).await.unwrap();
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    for change in ["types = 'ticket.sold seat.moved'", "url = 'http://'", "secret = 'short'"] {
        let changed = register(&admin, &receiver, &["points.charged"]).await;
        let id: Uuid = changed["webhookId"].as_str().unwrap().parse().unwrap();
        let text = AssertSqlSafe(format!("UPDATE webhooks SET {change} WHERE id = ?"));
        sqlx::query(text).bind(id).execute(&pool).await.unwrap();
    }
    register(&admin, &receiver, &["points.charged"]).await;
    app.user().await.charge("1").await;
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 1, "one receives it");
    let listed = admin.get(WEBHOOKS).await.expect(200).json();
    let types: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| &item["types"]).collect();
    assert!(types.contains(&&json!(["ticket.sold", "seat.moved"])), "{listed}");
}

/// Registered where private addresses are allowed, and delivered from a server that forbids them.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_private_address_is_refused_at_delivery(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::start().await;
    let allowing = TestApp::start_with(options.clone(), 1, &[ALLOWED]);
    register(&allowing.admin().await, &receiver, &["points.charged"]).await;
    let guarded = TestApp::start_with(options, 1, &[("EVENT_ATTEMPTS", "1")]);
    // Of another server, so that its address differs.
    allowing.user().await.charge("1").await;
    relay(&guarded).await;
    assert_eq!(receiver.drain().len(), 0);
    let parked = list(&allowing.admin().await, "status=PARKED").await;
    assert_eq!(parked[0]["lastError"], "the address is not on the public internet");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_receiver_that_answers_gone_gets_no_more_events(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::answering(|_| StatusCode::GONE.into_response()).await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    register(&admin, &receiver, &["points.charged"]).await;
    let user = app.user().await;
    user.charge("1").await;
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 1);
    user.charge("1").await;
    app.advance(3_600);
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 0);
    let webhooks = admin.get(WEBHOOKS).await.expect(200).json();
    assert_eq!(webhooks["items"][0]["disabledAt"], "2026-11-20T08:00:00.000Z", "{webhooks}");
    let listed = list(&admin, "").await;
    assert_eq!(listed.len(), 1, "what was written later isn't for it");
    assert_eq!((&listed[0]["status"], &listed[0]["attempts"]), (&json!("PARKED"), &json!(1)));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn misbehaving_receivers_count_as_failures(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut elsewhere = Receiver::start().await;
    let target = elsewhere.url.clone();
    let redirect =
        Receiver::answering(move |_| (StatusCode::FOUND, [("location", target.clone())]).into_response()).await;
    // Accepted by its status; its body would never end.
    let endless = Receiver::answering(|_| {
        Body::from_stream(stream::repeat(Ok::<_, Infallible>("all work and no play "))).into_response()
    })
    .await;
    let busy = Receiver::answering(|_| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "120")]).into_response()).await;
    let mut gone = Receiver::start().await;
    gone.url = "http://127.0.0.1:1/".to_owned();
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    let mut ids = Vec::new();
    for receiver in [&redirect, &endless, &busy, &gone] {
        ids.push(register(&admin, receiver, &["points.charged"]).await["webhookId"].clone());
    }
    app.user().await.charge("1").await;
    relay(&app).await;
    let listed = list(&admin, "").await;
    let of = |index: usize| listed.iter().find(|item| item["destination"] == ids[index]).unwrap();
    assert_eq!(of(0)["lastError"], "status 302: redirects are not followed");
    assert_eq!(of(1)["status"], "DELIVERED");
    assert_eq!(of(2)["lastError"], "status 429");
    assert_eq!(of(2)["nextAttemptAt"], "2026-11-20T08:02:00.000Z");
    assert!(of(3)["lastError"].as_str().unwrap().starts_with("no connection: "), "{}", of(3));
    assert_eq!(elsewhere.drain().len(), 0);
}

/// One receiver never answers; the other gets everything meanwhile.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_receiver_that_hangs_delays_no_other(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    const CHARGES: usize = 100;
    let mut hanging = Receiver::with_behaviour(|_| Box::pin(std::future::pending())).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 1, &[ALLOWED, ("DATA_PLATFORM_URL", &hanging.url)]);
    register(&app.admin().await, &receiver, &["points.charged"]).await;
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    let _relay =
        AbortOnDropHandle::new(tokio::spawn(Arc::clone(&app.instances[0].relay).run(CancellationToken::new())));
    let users = app.users(CHARGES).await;
    // First, all deliveries in flight of this receiver are stuck.
    users[0].charge("1").await;
    hanging.next().await;
    futures::future::join_all(users[1..].iter().map(|user| user.charge("1"))).await;
    let all = async {
        for _ in 0..CHARGES {
            receiver.next().await;
        }
    };
    // No attempt at the other has timed out by then.
    tokio::time::timeout(Duration::from_secs(9), all).await.expect("nothing waits for the receiver that hangs");
}
