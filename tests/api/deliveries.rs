//! Delivery of events to receivers, which are real servers here.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{http::StatusCode, response::IntoResponse};
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::{Client, Received, Receiver, Sale, TestApp};

/// Long enough for every expected delivery.
const TIMEOUT: Duration = Duration::from_mins(1);

fn start(options: MySqlConnectOptions, instances: usize, receiver: &Receiver, settings: &[(&str, &str)]) -> TestApp {
    let mut settings = settings.to_vec();
    settings.push(("DATA_PLATFORM_URL", &receiver.url));
    TestApp::start_with(options, instances, &settings)
}

/// Runs every server's relay until nothing is due.
async fn relay(app: &TestApp) {
    for instance in &app.instances {
        instance.relay.run_once().await.unwrap();
    }
}

async fn hold(buyer: &Client, sale: &Sale, seat: usize) -> String {
    buyer.hold(sale.performance_id, &sale.seats[seat..=seat]).await.expect(201).text("bookingId")
}

fn kinds<'a>(received: impl IntoIterator<Item = &'a Received>) -> Vec<String> {
    received.into_iter().map(|received| received.text("type")).collect()
}

/// The types of the events of each booking, in order of arrival.
fn by_booking(received: &[Received]) -> BTreeMap<String, Vec<String>> {
    let mut bookings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in received {
        if let Some(booking) = event.json()["data"]["bookingId"].as_str() {
            bookings.entry(booking.to_owned()).or_default().push(event.text("type"));
        }
    }
    bookings
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn events_of_a_booking_are_delivered_in_order(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::start().await;
    let app = start(options, 1, &receiver, &[]);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let refunded = hold(&buyer, &sale, 0).await;
    buyer.pay(&refunded, "key").await.expect(201);
    buyer.post(&format!("/api/v1/bookings/{refunded}/cancel"), json!({})).await.expect(200);
    let buyer = app.buyer(&sale).await;
    let cancelled = hold(&buyer, &sale, 1).await;
    buyer.post(&format!("/api/v1/bookings/{cancelled}/cancel"), json!({})).await.expect(200);
    let expired = hold(&buyer, &sale, 2).await;
    app.advance(301);
    app.tick().await;

    relay(&app).await;
    let received = receiver.drain();
    let bookings = by_booking(&received);
    let whole = ["booking.held", "booking.confirmed", "payment.completed", "booking.refunded", "payment.refunded"];
    assert_eq!(bookings[&refunded], whole);
    assert_eq!(bookings[&cancelled], ["booking.held", "booking.cancelled"]);
    assert_eq!(bookings[&expired], ["booking.held", "booking.expired"]);
    let kinds = kinds(&received);
    assert_eq!(kinds.iter().filter(|kind| *kind == "points.charged").count(), 1);
    // Held three times, sold, refunded, cancelled, expired.
    assert_eq!(kinds.iter().filter(|kind| *kind == "seats.changed").count(), 7);

    for event in &received {
        assert_eq!(event.header("content-type"), "application/cloudevents+json; charset=utf-8");
        assert_eq!(event.path, "/events");
        let body = event.json();
        assert_eq!((&body["specversion"], &body["datacontenttype"]), (&json!("1.0"), &json!("application/json")));
        assert!(body["data"].is_object(), "{body}");
        for attribute in ["id", "source", "subject", "time"] {
            assert!(body[attribute].as_str().is_some_and(|text| !text.is_empty()), "{attribute}: {body}");
        }
    }
    let held = received.iter().find(|event| event.text("subject") == refunded).unwrap().json();
    assert_eq!(held["data"]["seatIds"], json!([sale.seats[0]]));
    assert_eq!(held["data"]["userId"], json!(held["data"]["userId"].as_str().unwrap()));
    assert_eq!(held["time"], "2026-11-20T08:00:00.000Z");

    relay(&app).await;
    assert_eq!(receiver.drain().len(), 0, "nothing is sent twice");
}

/// The first attempts of every event fail: it is retried with the same id and body, in order, after growing delays.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_failed_delivery_is_retried_before_later_events_of_its_booking(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let fails = Arc::new(AtomicUsize::new(3));
    let left = Arc::clone(&fails);
    let mut receiver = Receiver::answering(move |received| {
        let failing = received.text("type") == "booking.held"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if failing { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }.into_response()
    })
    .await;
    let app = start(options, 2, &receiver, &[]);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = hold(&buyer, &sale, 0).await;
    relay(&app).await;
    let mut attempts: Vec<_> = receiver.drain().into_iter().filter(|it| it.text("type") == "booking.held").collect();
    assert_eq!(attempts.len(), 1);
    buyer.pay(&booking, "key").await.expect(201);
    relay(&app).await;
    assert_eq!(by_booking(&receiver.drain()), BTreeMap::new(), "the others wait for the first");

    let mut seconds = 0;
    while attempts.len() < 4 {
        app.advance(1);
        seconds += 1;
        relay(&app).await;
        let received = receiver.drain();
        let held: Vec<_> = received.iter().filter(|it| it.text("type") == "booking.held").cloned().collect();
        attempts.extend(held);
        if attempts.len() < 4 {
            assert!(!by_booking(&received).values().flatten().any(|kind| kind != "booking.held"));
        } else {
            let bookings = by_booking(&received);
            assert_eq!(bookings[&booking], ["booking.held", "booking.confirmed", "payment.completed"]);
        }
    }
    assert!(seconds <= 30, "three retries took {seconds} s");
    assert!(attempts.windows(2).all(|pair| pair[0].bytes == pair[1].bytes), "every attempt sends the same");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_delivery_out_of_attempts_is_parked_and_later_ones_continue(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let mut receiver = Receiver::answering(|received| {
        if received.text("type") == "booking.held" { StatusCode::BAD_GATEWAY } else { StatusCode::OK }.into_response()
    })
    .await;
    let app = start(options, 1, &receiver, &[("EVENT_ATTEMPTS", "3")]);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = hold(&buyer, &sale, 0).await;
    buyer.pay(&booking, "key").await.expect(201);
    for _ in 0..30 {
        relay(&app).await;
        app.advance(1);
    }
    let bookings = by_booking(&receiver.drain());
    assert_eq!(
        bookings[&booking],
        ["booking.held", "booking.held", "booking.held", "booking.confirmed", "payment.completed"]
    );
}

/// After some failures in a row a receiver gets two events at a time; after a success, all at full speed.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_receiver_that_is_down_gets_few_attempts_and_recovers(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    const CHARGES: usize = 90;
    let (asked, under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let desk = Arc::new((asked, under_way));
    let seen = Arc::clone(&most);
    let mut receiver = Receiver::with_behaviour(move |_| {
        let (desk, most) = (Arc::clone(&desk), Arc::clone(&seen));
        Box::pin(async move {
            let number = desk.0.fetch_add(1, Ordering::SeqCst);
            let at_once = desk.1.fetch_add(1, Ordering::SeqCst) + 1;
            // The events sent before the failures were noticed have arrived by then.
            if (50..CHARGES).contains(&number) {
                most.fetch_max(at_once, Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
            desk.1.fetch_sub(1, Ordering::SeqCst);
            if number < CHARGES { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }.into_response()
        })
    })
    .await;
    let app = start(options, 1, &receiver, &[]);
    let users = app.users(CHARGES).await;
    futures::future::join_all(users.iter().map(|user| user.charge("1"))).await;
    relay(&app).await;
    assert_eq!(receiver.drain().len(), CHARGES, "each was tried once");
    assert!(most.load(Ordering::SeqCst) <= 2, "{most:?} at once");
    app.advance(2);
    relay(&app).await;
    assert_eq!(receiver.drain().len(), CHARGES, "and each arrives");
}

/// Two servers with their relays running.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn two_servers_share_deliveries_and_send_none_twice(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    const CHARGES: usize = 400;
    let mut receiver = Receiver::start().await;
    let app = start(options, 2, &receiver, &[]);
    let users = app.users(CHARGES).await;
    let charges = futures::future::join_all(users.iter().map(|user| user.charge("1")));
    let stop = CancellationToken::new();
    let relays: Vec<_> = app.instances.iter().map(|it| run(Arc::clone(&it.relay).run(stop.clone()))).collect();
    charges.await;
    let mut ids = Vec::new();
    let all = async {
        while ids.len() < CHARGES {
            ids.push(receiver.next().await.text("id"));
        }
    };
    tokio::time::timeout(TIMEOUT, all).await.expect("every event arrives without a request");
    stop.cancel();
    for relay in relays {
        relay.await.unwrap();
    }
    ids.extend(receiver.drain().iter().map(|event| event.text("id")));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CHARGES);
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 0, "all was written down");
}

/// The first server dies with a delivery in flight; its lease ends, and the second server sends it.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn leases_of_a_killed_server_are_taken_over(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let mut receiver = Receiver::with_behaviour(move |_| {
        let gate = Arc::clone(&opened);
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            StatusCode::OK.into_response()
        })
    })
    .await;
    let app = start(options, 2, &receiver, &[]);
    app.user().await.charge("1").await;
    let killed = run(Arc::clone(&app.instances[0].relay).run(CancellationToken::new()));
    let first = receiver.next().await;
    drop(killed);
    gate.add_permits(10);
    app.advance(30);
    app.instances[1].relay.run_once().await.unwrap();
    assert_eq!(receiver.drain().len(), 0, "the lease holds");
    app.advance(31);
    app.instances[1].relay.run_once().await.unwrap();
    assert_eq!(receiver.next().await.bytes, first.bytes);
    app.advance(3_600);
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 0);
}

/// A stopping server releases unanswered deliveries, so another needn't wait for the lease to end.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_stopping_server_releases_its_leases(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let attempts = Arc::new(AtomicUsize::new(0));
    let mut receiver = Receiver::with_behaviour(move |_| {
        let first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if first {
                std::future::pending::<()>().await;
            }
            StatusCode::OK.into_response()
        })
    })
    .await;
    let app = start(options, 2, &receiver, &[]);
    app.user().await.charge("1").await;
    let stop = CancellationToken::new();
    let stopping = run(Arc::clone(&app.instances[0].relay).run(stop.clone()));
    let first = receiver.next().await;
    stop.cancel();
    stopping.await.unwrap();
    app.instances[1].relay.run_once().await.unwrap();
    assert_eq!(receiver.next().await.bytes, first.bytes);
}

#[expect(clippy::disallowed_methods, reason = "it ends with the test, which may want to end it sooner")]
fn run(future: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(future))
}
