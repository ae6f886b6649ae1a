//! The event stream of a queue token.

use std::time::Duration;

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tokio::time::timeout;

use crate::support::{Client, Events, Sale, TestApp};

const CURRENT: &str = "/api/v1/queue/tokens/current";
const EVENTS: &str = "/api/v1/queue/tokens/current/events";

async fn open_stream(client: &Client) -> Events {
    let events = client.open_stream(EVENTS, &[]).await;
    assert_eq!(events.status, 200);
    events
}

/// Waiting users, one of whom is admitted every ten seconds.
async fn waiting_clients(app: &TestApp, count: usize) -> (Sale, Vec<Client>) {
    let sale = app.sale(1, 1).await;
    sale.set_queue(app, json!({"mode": "QUEUE", "admitCount": 1})).await;
    let mut clients = Vec::with_capacity(count);
    for user in app.users(count).await {
        clients.push(sale.join(user).await);
    }
    (sale, clients)
}

fn waiting(position: u64) -> (String, Option<u64>) {
    ("WAITING".to_owned(), Some(position))
}

fn ended(status: &str) -> (String, Option<u64>) {
    (status.to_owned(), None)
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_first_event_is_the_body_of_a_poll(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, clients) = waiting_clients(&app, 2).await;
    let mut polled = clients[1].get(CURRENT).await.expect(200).json();
    for last_event_id in [None, Some("17"), Some("nonsense")] {
        let headers: Vec<_> = last_event_id.iter().map(|id| ("Last-Event-ID", *id)).collect();
        let accept = [("Accept-Encoding", "gzip"), ("X-Request-Id", "follow-1")];
        let mut events = clients[1].open_stream(EVENTS, &[&headers[..], &accept].concat()).await;
        let mut first = events.next().await.unwrap();
        for body in [&mut polled, &mut first] {
            // Random in each answer.
            body["pollAfterSeconds"] = Value::Null;
        }
        assert_eq!(first, polled, "{last_event_id:?}");
        let header = |name: &str| events.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("content-type"), Some("text/event-stream"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-request-id"), Some("follow-1"));
        assert_eq!(header("content-encoding"), None);
    }

    // Before the opening there is no place.
    sale.set_queue(&app, json!({"salesOpenAt": "2026-11-20T09:00:00Z"})).await;
    let early = sale.join(app.user().await).await;
    assert_eq!(open_stream(&early).await.next_status().await, ended("SCHEDULED"));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_stream_that_cannot_be_opened_is_a_problem(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let user = app.user().await;
    user.get(EVENTS).await.expect_problem(401, "QUEUE_TOKEN_REQUIRED");
    let access_token = user.token().to_owned();
    let with = |token: &str| app.anonymous().with_queue_token(token);
    with("forged").get(EVENTS).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
    with(&access_token).get(EVENTS).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
    let (_, clients) = waiting_clients(&app, 1).await;
    app.instances[0].shared.draining.cancel();
    clients[0].get(EVENTS).await.expect_problem(503, "DRAINING");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn waiting_tokens_get_every_change_on_any_server(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let (_, clients) = waiting_clients(&app, 3).await;
    let mut streams = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        for instance in 0..2 {
            let mut events = open_stream(&app.at_instance(client, instance)).await;
            assert_eq!(events.next_status().await, waiting(index as u64 + 1));
            streams.push((index, events));
        }
    }
    assert!(streams[5].1.is_silent(Duration::from_millis(1_200)).await, "time that goes by is no change");

    app.tick().await;
    for (index, events) in &mut streams {
        let expected = if *index == 0 { ("ACTIVE".to_owned(), Some(0)) } else { waiting(*index as u64) };
        assert_eq!(events.next_status().await, expected, "number {index}");
    }
    app.advance(61);
    assert_eq!(clients[0].get(CURRENT).await.expect(200).json()["status"], "ACTIVE", "its stream claimed it");

    // The second user leaves: the third moves up, and both streams of the second end.
    clients[1].delete(CURRENT).await.expect(204);
    for (index, events) in &mut streams {
        match index {
            1 => {
                assert_eq!(events.next_status().await, ended("LEFT"));
                assert!(events.next().await.is_none(), "it was the final status");
            }
            2 => assert_eq!(events.next_status().await, waiting(1)),
            _ => {}
        }
    }

    app.advance(600);
    for (_, events) in streams.iter_mut().filter(|(index, _)| *index == 0) {
        assert_eq!(events.next_status().await, ended("EXPIRED"), "no job is needed for it");
        assert!(events.next().await.is_none());
    }
    let mut late = open_stream(&clients[0]).await;
    assert_eq!(late.next_status().await, ended("EXPIRED"));
    assert!(late.next().await.is_none(), "one event, and it is over");
}

/// A pause moves no position, so the estimate tells it.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn waiting_tokens_get_an_event_when_the_queue_is_paused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, clients) = waiting_clients(&app, 1).await;
    let mut events = open_stream(&clients[0]).await;
    let before = events.next().await.unwrap();
    assert!(before["estimatedWait"]["p50Seconds"].is_number(), "{before}");
    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let paused = events.next().await.unwrap();
    assert!(paused["estimatedWait"]["p50Seconds"].is_null(), "{paused}");
    assert_eq!((&paused["status"], &paused["position"]), (&json!("WAITING"), &before["position"]), "{paused}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn paying_ends_the_stream(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer_with_points(&sale, "100000").await;
    let mut events = open_stream(&buyer).await;
    assert_eq!(events.next_status().await, ("ACTIVE".to_owned(), Some(0)));
    let booking = buyer.hold(sale.performance_id, &sale.seats).await.expect(201).text("bookingId");
    buyer.pay(&booking, "pay").await.expect(201);
    assert_eq!(events.next_status().await, ended("COMPLETED"));
    assert!(events.next().await.is_none());
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn scheduled_tokens_get_an_event_when_the_sale_opens(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "PAUSED", "salesOpenAt": "2026-11-20T09:00:00Z"})).await;
    let client = sale.join(app.user().await).await;
    let mut events = open_stream(&client).await;
    assert_eq!(events.next_status().await, ended("SCHEDULED"));
    app.advance(3_600);
    app.tick().await;
    assert_eq!(events.next_status().await, waiting(1));
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    app.tick().await;
    assert_eq!(events.next_status().await, ("ACTIVE".to_owned(), Some(0)));
}

/// The streams of a stopping server end by themselves and leave nothing for which closing would wait.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_stopping_server_does_not_wait_for_queue_streams(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (_, clients) = waiting_clients(&app, 2).await;
    let mut streams = join_all(clients.iter().map(open_stream)).await;
    for events in &mut streams {
        assert_eq!(events.next_status().await.0, "WAITING");
    }
    app.instances[0].shared.draining.cancel();
    for events in &mut streams {
        assert!(events.next().await.is_none());
    }
    drop((streams, clients));
    timeout(Duration::from_secs(5), app.close(Duration::from_secs(30))).await.expect("nothing is under way");
}

/// A thousand streams share one reading of the board, and all get the final event.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn many_queue_streams_are_served(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (_, clients) = waiting_clients(&app, 20).await;
    let mut streams: Vec<_> = join_all((0..1_000).map(|number| open_stream(&clients[number % 20]))).await;
    join_all(streams.iter_mut().map(Events::next_status)).await;
    for client in &clients {
        client.delete(CURRENT).await.expect(204);
    }
    let mut endings: FuturesUnordered<_> = streams
        .iter_mut()
        .map(|events| async move {
            loop {
                let (status, _) = events.next_status().await;
                if status != "WAITING" {
                    return status;
                }
            }
        })
        .collect();
    while let Some(status) = endings.next().await {
        assert_eq!(status, "LEFT");
    }
}
