//! The event stream of a seat map.

use std::{collections::BTreeMap, time::Duration};

use axum::http::Method;
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tokio::time::timeout;

use crate::support::{Client, Events, Sale, StreamEvent, TestApp};

/// Longer than a change takes to reach a stream.
const A_WHILE: Duration = Duration::from_millis(600);

fn map_path(sale: &Sale) -> String {
    format!("/api/v1/performances/{}/seats", sale.performance_id)
}

fn path(sale: &Sale) -> String {
    format!("{}/events", map_path(sale))
}

async fn open(client: &Client, sale: &Sale, headers: &[(&str, &str)]) -> Events {
    let events = client.open_stream(&path(sale), headers).await;
    assert_eq!(events.status, 200);
    events
}

/// A new stream, and its snapshot.
async fn open_stream(client: &Client, sale: &Sale) -> (Events, StreamEvent) {
    let mut events = open(client, sale, &[]).await;
    let snapshot = next(&mut events).await;
    assert_eq!(snapshot.name, "snapshot");
    (events, snapshot)
}

async fn resume(client: &Client, sale: &Sale, id: &str) -> Events {
    open(client, sale, &[("Last-Event-ID", id)]).await
}

async fn next(events: &mut Events) -> StreamEvent {
    let event = events.next_event().await.expect("the stream goes on");
    assert_eq!(event.id.as_deref(), Some(event.data["version"].to_string().as_str()), "{event:?}");
    event
}

/// The seats of an event with their status.
fn statuses(event: &StreamEvent) -> BTreeMap<u64, String> {
    let member = if event.name == "snapshot" { "seats" } else { "changed" };
    let status = |seat: &Value| (seat["seatId"].as_u64().unwrap(), seat["status"].as_str().unwrap().to_owned());
    event.data[member].as_array().unwrap().iter().map(status).collect()
}

/// The changes of the next event.
async fn changed(events: &mut Events) -> BTreeMap<u64, String> {
    let event = next(events).await;
    assert_eq!(event.name, "seats", "{event:?}");
    statuses(&event)
}

fn all(seats: &[u64], status: &str) -> BTreeMap<u64, String> {
    seats.iter().map(|seat| (*seat, status.to_owned())).collect()
}

async fn cancel(client: &Client, booking_id: &str) {
    client.send(Method::POST, &format!("/api/v1/bookings/{booking_id}/cancel"), &[], None).await.expect(200);
}

async fn hold(client: &Client, sale: &Sale, seats: &[u64]) -> String {
    client.hold(sale.performance_id, seats).await.expect(201).text("bookingId")
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_first_event_is_the_seat_map(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(2, 3).await;
    let buyer = app.buyer(&sale).await;
    for seats in [&sale.seats[..0], &sale.seats[..2]] {
        if !seats.is_empty() {
            hold(&buyer, &sale, seats).await;
        }
        let headers = [("Accept-Encoding", "gzip"), ("X-Request-Id", "watch-1")];
        let mut events = open(&buyer, &sale, &headers).await;
        let first = next(&mut events).await;
        assert_eq!(first.name, "snapshot");
        assert_eq!(first.data, buyer.get(&map_path(&sale)).await.expect(200).json());
        let header = |name: &str| events.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("content-type"), Some("text/event-stream"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-request-id"), Some("watch-1"));
        assert_eq!(header("content-encoding"), None);
    }
}

/// Two servers with a stream each, while a third user acts.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_change_reaches_the_streams_of_every_server(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "activeSeconds": 86_400})).await;
    let (buyer, leaver) = (app.buyer_with_points(&sale, "500000").await, app.buyer(&sale).await);
    let mut streams = Vec::new();
    for instance in 0..2 {
        let viewer = app.at_instance(&app.buyer(&sale).await, instance);
        streams.push(open_stream(&viewer, &sale).await.0);
    }
    let mut last = [String::new(), String::new()];
    let mut expect_change = async |after: &str, seats: &[u64], status: &str| {
        for (stream, last) in streams.iter_mut().zip(&mut last) {
            let event = next(stream).await;
            assert_eq!((event.name.as_str(), statuses(&event)), ("seats", all(seats, status)), "after {after}");
            let id = event.id.unwrap();
            assert!((last.len(), &*last) < (id.len(), &id), "ids grow: {id} after {last}");
            *last = id;
        }
    };
    let seats = &sale.seats;
    let paid = hold(&buyer, &sale, &seats[..2]).await;
    expect_change("a hold", &seats[..2], "HELD").await;
    buyer.pay(&paid, "pay").await.expect(201);
    expect_change("a payment", &seats[..2], "SOLD").await;
    let buyer = sale.admit(buyer.without_queue_token()).await;
    let given_up = hold(&buyer, &sale, &seats[2..3]).await;
    expect_change("another hold", &seats[2..3], "HELD").await;
    cancel(&buyer, &given_up).await;
    expect_change("a cancellation", &seats[2..3], "AVAILABLE").await;
    hold(&leaver, &sale, &seats[3..]).await;
    expect_change("another user's hold", &seats[3..], "HELD").await;
    leaver.delete("/api/v1/queue/tokens/current").await.expect(204);
    expect_change("that user's departure", &seats[3..], "AVAILABLE").await;
    let extended = hold(&buyer, &sale, &seats[2..3]).await;
    expect_change("a hold", &seats[2..3], "HELD").await;
    buyer.send(Method::POST, &format!("/api/v1/bookings/{extended}/extend"), &[], None).await.expect(200);
    app.advance(300);
    cancel(&buyer, &paid).await;
    expect_change("a refund, and no sooner the extended hold's end", &seats[..2], "AVAILABLE").await;
    app.advance(120);
    expect_change("the clock alone", &seats[2..3], "AVAILABLE").await;
    hold(&buyer, &sale, &seats[1..3]).await;
    expect_change("a hold of what had expired", &seats[1..3], "HELD").await;
    let cancel = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    app.admin().await.send(Method::POST, &cancel, &[], None).await.expect(202);
    expect_change("the performance's cancellation", &seats[1..3], "AVAILABLE").await;
    assert!(streams[0].is_silent(A_WHILE).await && streams[1].is_silent(A_WHILE).await);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_reconnecting_client_gets_the_missed_changes(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let (buyer, viewer) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let (mut events, snapshot) = open_stream(&viewer, &sale).await;
    let mut bookings = Vec::new();
    let mut ids = vec![snapshot.id.unwrap()];
    for seat in &sale.seats[..3] {
        bookings.push(hold(&buyer, &sale, &[*seat]).await);
        ids.push(next(&mut events).await.id.unwrap());
    }
    drop(events);
    for (missed_from, id) in ids.iter().enumerate().take(3) {
        assert_eq!(changed(&mut resume(&viewer, &sale, id).await).await, all(&sale.seats[missed_from..3], "HELD"));
    }
    // A client that missed nothing gets no event until the next change.
    let mut events = resume(&viewer, &sale, &ids[3]).await;
    assert!(events.is_silent(A_WHILE).await);
    cancel(&buyer, &bookings[0]).await;
    assert_eq!(changed(&mut events).await, all(&sale.seats[..1], "AVAILABLE"));
    // By the clock alone, without an open stream.
    drop(events);
    app.advance(300);
    let mut expected = all(&sale.seats[1..3], "AVAILABLE");
    assert_eq!(changed(&mut resume(&viewer, &sale, &ids[3]).await).await, {
        expected.extend(all(&sale.seats[..1], "AVAILABLE"));
        expected
    });
}

/// Two servers with different clocks; the client reconnects from one to the other and back.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn reconnecting_to_another_server_gives_the_current_map(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_skewed(options, &[0, 3], &[]);
    let sale = app.sale(1, 4).await;
    let (buyer, viewer) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let (mut events, snapshot) = open_stream(&app.at_instance(&viewer, 1), &sale).await;
    let mut seen = statuses(&snapshot);
    let mut id = snapshot.id.unwrap();
    for (round, seat) in sale.seats.iter().enumerate() {
        // Alternately by the faster and by the slower clock.
        hold(&app.at_instance(&buyer, round % 2), &sale, &[*seat]).await;
        let event = next(&mut events).await;
        seen.extend(statuses(&event));
        id = event.id.unwrap();
        assert_eq!(seen[seat], "HELD");
        events = resume(&app.at_instance(&viewer, round % 2), &sale, &id).await;
    }
    drop(events);
    app.advance(298);
    // By the other clock two of the four have expired.
    for instance in [1, 0] {
        let viewer = app.at_instance(&viewer, instance);
        let mut events = resume(&viewer, &sale, &id).await;
        let event = next(&mut events).await;
        seen.extend(statuses(&event));
        id = event.id.unwrap();
        let map = viewer.get(&map_path(&sale)).await.expect(200).json();
        let expected = StreamEvent { name: "snapshot".to_owned(), id: None, data: map };
        assert_eq!(seen, statuses(&expected), "instance {instance}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn reconnecting_with_an_unknown_version_gives_the_whole_map(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    hold(&buyer, &sale, &sale.seats[..1]).await;
    let long_ago = (app.now() - chrono::TimeDelta::minutes(11)).timestamp_micros().to_string();
    let to_come = (app.now() + chrono::TimeDelta::minutes(1)).timestamp_micros().to_string();
    for id in ["", "0", "1", "-1", "nonsense", "1.5", "99999999999999999999", "snapshot", &long_ago, &to_come] {
        let event = next(&mut resume(&buyer, &sale, id).await).await;
        assert_eq!((event.name.as_str(), statuses(&event).len()), ("snapshot", 2), "{id}");
    }
}

/// A client that doesn't read delays no other, and nothing is buffered for it: missed changes are computed when it
/// reads again.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_lagging_client_catches_up(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 3).await;
    let (buyer, viewer) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let (mut slow, snapshot) = open_stream(&viewer, &sale).await;
    let mut seen = statuses(&snapshot);
    // A request for the map updates the streams as well.
    let look = async || assert!(buyer.get(&map_path(&sale)).await.expect(200).bytes.len() > 100);
    for round in 0..70 {
        let booking = hold(&buyer, &sale, &sale.seats[round % 3..=round % 3]).await;
        look().await;
        if round < 69 {
            cancel(&buyer, &booking).await;
            look().await;
        }
    }
    let map = open_stream(&viewer, &sale).await.1;
    let mut changes = 0;
    loop {
        let event = next(&mut slow).await;
        seen.extend(statuses(&event));
        changes += 1;
        if event.id == map.id {
            break;
        }
    }
    assert!(changes < 70, "{changes} events are fewer than there were");
    assert_eq!(seen, statuses(&map));
    assert!(slow.is_silent(A_WHILE).await, "there are no further changes");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_stream_ends_with_its_token(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "activeSeconds": 3_600})).await;
    let (stays, leaves, logs_out) = (app.buyer(&sale).await, app.buyer(&sale).await, app.buyer(&sale).await);
    let (mut kept, _) = open_stream(&stays, &sale).await;
    let mut ended = Vec::new();
    for client in [&leaves, &logs_out] {
        ended.push(open_stream(&app.at_instance(client, 0), &sale).await.0);
    }
    // On the other server.
    app.at_instance(&leaves, 1).delete("/api/v1/queue/tokens/current").await.expect(204);
    app.at_instance(&logs_out, 1).send(Method::POST, "/api/v1/auth/logout", &[], None).await.expect(204);
    app.advance(1);
    for events in &mut ended {
        assert!(events.next_event().await.is_none());
    }
    assert!(kept.is_silent(A_WHILE).await);
    app.advance(3_600);
    assert!(kept.next_event().await.is_none(), "its token has expired");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_performance_without_a_map_has_no_event_stream(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, other) = (app.sale(1, 1).await, app.sale(1, 1).await);
    let buyer = app.buyer(&sale).await;
    for id in ["999999", "0", "-1", "x"] {
        let reply = buyer.get(&format!("/api/v1/performances/{id}/seats/events")).await;
        reply.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    }
    buyer.get(&path(&other)).await.expect_problem(403, "QUEUE_TOKEN_WRONG_CONCERT");
    let head = buyer.send(Method::HEAD, &path(&sale), &[], None).await.expect(200);
    assert_eq!((head.header("content-type"), head.bytes.len()), ("text/event-stream", 0));
    buyer.post(&path(&sale), json!({})).await.expect_problem(405, "METHOD_NOT_ALLOWED");
    app.instances[0].shared.draining.cancel();
    buyer.get(&path(&sale)).await.expect_problem(503, "DRAINING");
}

/// The streams of a stopping server end by themselves and leave nothing behind.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_stopping_server_does_not_wait_for_seat_streams(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let viewer = app.buyer(&sale).await;
    let mut streams = [open_stream(&viewer, &sale).await.0, open_stream(&viewer, &sale).await.0];
    app.instances[0].shared.draining.cancel();
    for events in &mut streams {
        assert!(events.next_event().await.is_none());
    }
    drop((streams, viewer));
    timeout(Duration::from_secs(5), app.close(Duration::from_secs(30))).await.expect("nothing is under way");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn many_clients_get_the_same_changes(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let unbounded = [("MAX_STREAMS_PER_TOKEN", "0"), ("MAX_STREAMS_PER_USER", "0")];
    let app = TestApp::start_with(options, 1, &unbounded);
    let sale = app.sale(10, 10).await;
    let (viewer, buyer) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let mut streams = join_all((0..1_000).map(|_| open_stream(&viewer, &sale))).await;
    hold(&buyer, &sale, &sale.seats[40..42]).await;
    for (events, _) in &mut streams {
        assert_eq!(changed(events).await, all(&sale.seats[40..42], "HELD"));
    }
}
