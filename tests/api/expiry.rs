//! Deadlines apply at their instant, before jobs write them; and every change has its event.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{
    Connection, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::support::{Client, Sale, TestApp};

async fn seat_statuses(client: &Client, sale: &Sale) -> Vec<String> {
    let path = format!("/api/v1/performances/{}/seats", sale.performance_id);
    let map = client.get(&path).await.expect(200).json();
    let status = |seat: &Value| seat["status"].as_str().unwrap().to_owned();
    map["seats"].as_array().unwrap().iter().map(status).collect()
}

/// The types of the events about a subject, in order.
async fn events_about(options: &MySqlConnectOptions, subject: &str) -> Vec<String> {
    let mut connection = MySqlConnection::connect_with(options).await.unwrap();
    let kinds = sqlx::query_scalar("SELECT type FROM outbox_events WHERE subject = ? ORDER BY sequence, id")
        .bind(subject)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    kinds
}

/// The status in a booking's row.
async fn written_status(options: &MySqlConnectOptions, booking_id: &str) -> String {
    let id: uuid::Uuid = booking_id.parse().unwrap();
    let mut connection = MySqlConnection::connect_with(options).await.unwrap();
    let status =
        sqlx::query_scalar("SELECT status FROM bookings WHERE id = ?").bind(id).fetch_one(&mut connection).await;
    connection.close().await.unwrap();
    status.unwrap()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_ends_at_its_deadline_before_any_job_has_run(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options.clone());
    let sale = app.sale(1, 3).await;
    let (buyer, next) = (app.buyer_with_points(&sale, "100000").await, app.buyer(&sale).await);
    let booking = buyer.hold(sale.performance_id, &sale.seats[..2]).await.expect(201).text("bookingId");
    app.clock.advance(TimeDelta::milliseconds(299_999));
    let pending = buyer.booking(&booking).await;
    assert_eq!((&pending["status"], &pending["secondsLeft"]), (&json!("PENDING"), &json!(0)), "{pending}");
    assert_eq!(seat_statuses(&next, &sale).await, ["HELD", "HELD", "AVAILABLE"]);
    assert_eq!(sale.available(&next).await, 1);
    next.hold(sale.performance_id, &sale.seats[1..]).await.expect_problem(409, "SEATS_UNAVAILABLE");

    app.clock.advance(TimeDelta::milliseconds(1));
    for instance in 0..2 {
        let buyer = app.at_instance(&buyer, instance);
        let expired = buyer.booking(&booking).await;
        assert_eq!((&expired["status"], &expired["secondsLeft"]), (&json!("EXPIRED"), &Value::Null), "{expired}");
        assert_eq!(seat_statuses(&buyer, &sale).await, ["AVAILABLE"; 3]);
        assert_eq!(sale.available(&buyer).await, 3);
    }
    buyer.pay(&booking, "too-late").await.expect_problem(410, "HOLD_EXPIRED");
    assert_eq!(buyer.balance().await, "100000", "nothing is taken");
    assert_eq!(written_status(&options, &booking).await, "PENDING", "nothing has written anything yet");
    app.assert_invariants_hold().await;

    let taken = next.hold(sale.performance_id, &sale.seats[1..]).await.expect(201).text("bookingId");
    assert_eq!(seat_statuses(&next, &sale).await, ["AVAILABLE", "HELD", "HELD"]);
    app.assert_invariants_hold().await;
    app.tick().await;
    app.tick().await;
    assert_eq!(written_status(&options, &booking).await, "EXPIRED");
    assert_eq!(events_about(&options, &booking).await, ["booking.held", "booking.expired"]);
    assert_eq!(next.booking(&taken).await["status"], "PENDING", "the seats stay in the newer booking");
    assert_eq!(seat_statuses(&next, &sale).await, ["AVAILABLE", "HELD", "HELD"]);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn two_servers_write_an_expiry_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options.clone());
    let sale = app.sale(4, 10).await;
    let mut bookings = Vec::new();
    for (buyer, seats) in app.buyers(&sale, 10).await.iter().zip(sale.seats.chunks(4)) {
        bookings.push(buyer.hold(sale.performance_id, seats).await.expect(201).text("bookingId"));
    }
    app.advance(300);
    let (one, other) = (&app.instances[0].shared.bookings, &app.instances[1].shared.bookings);
    let (one, other) = tokio::join!(one.expire_holds(1_000), other.expire_holds(1_000));
    let written = one.unwrap() + other.unwrap();
    app.tick().await;
    assert!(written <= 10, "{written}");
    for booking in &bookings {
        assert_eq!(events_about(&options, booking).await, ["booking.held", "booking.expired"]);
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_change_has_one_event_of_its_kind(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer(&sale).await;
    let charged = buyer.charge("100000").await.text("transactionId");
    let hold = async |seat: usize| {
        buyer.hold(sale.performance_id, &sale.seats[seat..=seat]).await.expect(201).text("bookingId")
    };
    let cancel = async |id: &str| {
        for _ in 0..2 {
            buyer.post(&format!("/api/v1/bookings/{id}/cancel"), json!({})).await.expect(200);
        }
    };
    let (cancelled, refunded, confirmed, expired) = (hold(0).await, hold(1).await, hold(2).await, hold(3).await);
    cancel(&cancelled).await;
    let refunded_payment = buyer.pay(&refunded, "1").await.expect(201).text("paymentId");
    buyer.pay(&refunded, "1").await.expect(201);
    let payment = buyer.pay(&confirmed, "2").await.expect(201).text("paymentId");
    cancel(&refunded).await;
    app.advance(300);
    app.tick().await;
    app.tick().await;

    let expected: [(&str, &[&str]); 7] = [
        (&charged, &["points.charged"]),
        (&cancelled, &["booking.held", "booking.cancelled"]),
        (&refunded, &["booking.held", "booking.confirmed", "booking.refunded"]),
        (&refunded_payment, &["payment.completed", "payment.refunded"]),
        (&confirmed, &["booking.held", "booking.confirmed"]),
        (&payment, &["payment.completed"]),
        (&expired, &["booking.held", "booking.expired"]),
    ];
    for (subject, kinds) in expected {
        assert_eq!(events_about(&options, subject).await, kinds, "{subject}");
    }
    // Four holds, two confirmations, a cancellation, a refund and an expiry each change seats.
    let changes = events_about(&options, &sale.performance_id.to_string()).await;
    assert_eq!(changes, ["seats.changed"; 9]);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn refused_operations_record_no_event(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let sale = app.sale(1, 2).await;
    let (buyer, other) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    other.hold(sale.performance_id, &sale.seats).await.expect_problem(409, "SEATS_UNAVAILABLE");
    buyer.pay(&booking, "poor").await.expect_problem(402, "INSUFFICIENT_POINTS");
    let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
    let kinds: Vec<String> =
        sqlx::query_scalar("SELECT type FROM outbox_events ORDER BY type").fetch_all(&mut connection).await.unwrap();
    assert_eq!(kinds, ["booking.held", "seats.changed"]);
    connection.close().await.unwrap();
}
