//! Event streams end within a second of their token or session, and clients don't reconnect for ever.

use std::time::Duration;

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::json;
use sqlx::{
    Connection,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions},
};
use tokio::time::timeout;

use crate::support::{Client, Events, Sale, TestApp};

const CURRENT: &str = "/api/v1/queue/tokens/current";
const QUEUE_EVENTS: &str = "/api/v1/queue/tokens/current/events";

/// The documented time limit.
const SECOND: Duration = Duration::from_secs(1);

async fn follow_seats(client: &Client, sale: &Sale) -> Events {
    let mut events =
        client.open_stream(&format!("/api/v1/performances/{}/seats/events", sale.performance_id), &[]).await;
    assert_eq!(events.status, 200);
    assert_eq!(events.next_event().await.expect("a snapshot").name, "snapshot");
    events
}

async fn follow_token(client: &Client) -> Events {
    let mut events = client.open_stream(QUEUE_EVENTS, &[]).await;
    assert_eq!(events.status, 200);
    events.next_event().await.expect("the first event");
    events
}

/// Two servers: the stream is open on one, its token or session is ended on the other.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_seat_stream_ends_within_a_second_of_its_token(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 2).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "activeSeconds": 3_600})).await;
    for (name, method, path) in [
        ("leaving", Method::DELETE, CURRENT),
        ("logging out", Method::POST, "/api/v1/auth/logout"),
        ("deleting the account", Method::DELETE, "/api/v1/users/me"),
    ] {
        for instance in 0..2 {
            let client = app.buyer(&sale).await;
            let mut events = follow_seats(&app.at_instance(&client, 0), &sale).await;
            app.at_instance(&client, instance).send(method.clone(), path, &[], None).await.expect(204);
            // The time in which another server reads ended sessions.
            app.clock.advance(TimeDelta::milliseconds(500));
            let ended = timeout(SECOND, events.next_event()).await;
            assert!(ended.expect("within a second").is_none(), "{name} at server {instance}");
        }
    }
    let client = app.buyer(&sale).await;
    let mut events = follow_seats(&app.at_instance(&client, 0), &sale).await;
    app.advance(3_600);
    assert!(timeout(SECOND, events.next_event()).await.expect("within a second").is_none(), "its token has expired");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_queue_stream_reports_the_tokens_end_within_a_second(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    for (status, settings) in [
        ("SCHEDULED", json!({"salesOpenAt": "2026-11-20T09:00:00Z"})),
        ("WAITING", json!({"mode": "PAUSED"})),
        ("ACTIVE", json!({"mode": "OPEN"})),
    ] {
        let sale = app.sale(1, 1).await;
        sale.set_queue(&app, settings).await;
        for (path, instance) in [(CURRENT, 0), (CURRENT, 1), ("/api/v1/users/me", 1)] {
            let client = sale.join(app.user().await).await;
            let mut events = follow_token(&app.at_instance(&client, 0)).await;
            app.at_instance(&client, instance).delete(path).await.expect(204);
            let last = timeout(SECOND, events.next_event()).await.expect("within a second").expect("the final status");
            assert_eq!(last.data["status"], "LEFT", "of a {status} token, {path} at server {instance}");
            assert!(timeout(SECOND, events.next_event()).await.expect("at once").is_none());
        }
    }
}

/// An `EventSource` reconnects with the id of the last event; a 204 makes it stop.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_finished_stream_is_not_opened_again(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let client = app.buyer(&sale).await;
    let mut events = client.open_stream(QUEUE_EVENTS, &[]).await;
    assert_eq!(events.next_event().await.unwrap().data["status"], "ACTIVE");
    assert!(events.has_retry(), "it says when to come back");
    client.delete(CURRENT).await.expect(204);
    let last = events.next_event().await.unwrap();
    let id = last.id.expect("the final status has an id");
    assert!(events.next_event().await.is_none());
    let reopened = client.send(Method::GET, QUEUE_EVENTS, &[("Last-Event-ID", &id)], None).await.expect(204);
    assert!(reopened.bytes.is_empty());
    // A client that hasn't received the final event gets it once.
    for last_event_id in [None, Some("17"), Some("")] {
        let headers: Vec<_> = last_event_id.iter().map(|id| ("Last-Event-ID", *id)).collect();
        let mut events = client.open_stream(QUEUE_EVENTS, &headers).await;
        assert_eq!(events.status, 200);
        assert_eq!(events.next_event().await.unwrap().data["status"], "LEFT");
        assert!(events.next_event().await.is_none());
    }
    // The id doesn't apply to another token.
    let other = app.buyer(&sale).await;
    let mut events = other.open_stream(QUEUE_EVENTS, &[("Last-Event-ID", &id)]).await;
    assert_eq!(events.next_event().await.unwrap().data["status"], "ACTIVE");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn streams_are_limited_per_token_and_per_user(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings = [("MAX_STREAMS_PER_TOKEN", "2"), ("MAX_STREAMS_PER_USER", "3")];
    let app = TestApp::start_with(options, 1, &settings);
    let (sale, other) = (app.sale(1, 1).await, app.sale(1, 1).await);
    let client = app.buyer(&sale).await;
    let elsewhere = other.admit(client.clone().without_queue_token()).await;
    let mut open = vec![follow_token(&client).await, follow_seats(&client, &sale).await];
    let seats = format!("/api/v1/performances/{}/seats/events", sale.performance_id);
    for path in [QUEUE_EVENTS, &seats] {
        let refused = client.get(path).await.expect_problem(429, "RATE_LIMITED");
        assert_eq!(refused.json()["limit"], "streams-per-token");
        assert!(!refused.header("retry-after").is_empty());
    }
    open.push(follow_token(&elsewhere).await);
    let refused = elsewhere.get(QUEUE_EVENTS).await.expect_problem(429, "RATE_LIMITED");
    assert_eq!(refused.json()["limit"], "streams-per-user");
    follow_token(&app.buyer(&sale).await).await;
    open.truncate(2);
    open.push(follow_token(&elsewhere).await);
}

/// Every read of seats would wait for the lock of their table.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_token_that_may_not_book_loads_no_seats(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let (sale, other) = (app.sale(1, 4).await, app.sale(1, 4).await);
    let stranger = app.buyer(&other).await;
    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let waiting = sale.join(app.user().await).await;
    let mut locker = MySqlConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("LOCK TABLES seats WRITE").execute(&mut locker).await.unwrap();
    let map = format!("/api/v1/performances/{}/seats", sale.performance_id);
    let events = format!("{map}/events");
    let hold = json!({"performanceId": sale.performance_id, "bestAvailable": {"quantity": 2}});
    let patience = Duration::from_secs(5);
    for (client, code) in [(&waiting, "QUEUE_TOKEN_NOT_ACTIVE"), (&stranger, "QUEUE_TOKEN_WRONG_CONCERT")] {
        let ask = async {
            client.get(&map).await.expect_problem(403, code);
            client.get(&events).await.expect_problem(403, code);
            client.post("/api/v1/bookings", hold.clone()).await.expect_problem(403, code);
            client.post_keyed("/api/v1/bookings", "key", hold.clone()).await.expect_problem(403, code);
        };
        timeout(patience, ask).await.expect("no seat is read");
    }
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut locker).await.unwrap();
}
