//! The end of tokens: paid, left, expired.

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use super::{join_all, leave, poll, position, status};
use crate::support::TestApp;

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn paying_the_last_hold_completes_the_token_and_frees_its_slot(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 3).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "maxActive": 1})).await;
    let clients = join_all(&app, &sale, 2).await;
    app.tick().await;
    let buyer = &clients[0];
    buyer.charge("100000").await;
    let first = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    let second = buyer.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201).text("bookingId");
    buyer.pay(&first, "first").await.expect(201);
    assert_eq!(status(buyer).await, "ACTIVE", "another hold is unpaid");
    app.tick().await;
    assert_eq!(position(&clients[1]).await, 1);
    buyer.pay(&second, "second").await.expect(201);
    assert_eq!(status(buyer).await, "COMPLETED");
    buyer.hold(sale.performance_id, &sale.seats[2..]).await.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    app.tick().await;
    assert_eq!(status(&clients[1]).await, "ACTIVE");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn leaving_releases_place_slot_and_holds_at_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "maxActive": 1})).await;
    let clients = join_all(&app, &sale, 3).await;
    app.tick().await;
    let buyer = &clients[0];
    let mut bookings = Vec::new();
    for seats in [&sale.seats[..2], &sale.seats[2..3]] {
        bookings.push(buyer.hold(sale.performance_id, seats).await.expect(201).text("bookingId"));
    }
    assert_eq!(sale.available(buyer).await, 1);

    // While waiting.
    leave(&clients[1]).await;
    leave(&clients[1]).await;
    assert_eq!(status(&clients[1]).await, "LEFT");
    assert_eq!(position(&clients[2]).await, 1);
    // Admitted, with two holds, on another server than the one that admits the next token.
    leave(&app.at_instance(buyer, 1)).await;
    for instance in 0..2 {
        assert_eq!(status(&app.at_instance(buyer, instance)).await, "LEFT");
    }
    for booking in &bookings {
        assert_eq!(buyer.booking(booking).await["status"], "CANCELLED");
    }
    assert_eq!(sale.available(buyer).await, 4);
    buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    app.tick().await;
    clients[2].hold(sale.performance_id, &sale.seats).await.expect(201);
    leave(buyer).await;
    assert_eq!(sale.available(buyer).await, 0, "leaving again changes nothing");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn leaving_one_queue_keeps_the_holds_of_another(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, other) = (app.sale(1, 1).await, app.sale(1, 1).await);
    let user = app.user().await;
    let here = sale.admit(user.clone()).await;
    let there = other.admit(user).await;
    let kept = there.hold(other.performance_id, &other.seats).await.expect(201).text("bookingId");
    let gone = here.hold(sale.performance_id, &sale.seats).await.expect(201).text("bookingId");
    leave(&here).await;
    assert_eq!(here.booking(&gone).await["status"], "CANCELLED");
    assert_eq!(here.booking(&kept).await["status"], "PENDING");
    assert_eq!(status(&there).await, "ACTIVE");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_can_be_paid_after_its_tokens_own_time(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "activeSeconds": 10, "claimSeconds": 5})).await;
    let buyer = app.buyer_with_points(&sale, "100000").await;
    let extender = app.buyer_with_points(&sale, "100000").await;
    app.advance(9);
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    let extended = extender.hold(sale.performance_id, &sale.seats[1..]).await.expect(201).text("bookingId");
    let place = poll(&buyer).await;
    assert_eq!(
        (&place["expiresAt"], &place["secondsLeft"]),
        (&json!(booking.text("heldUntil")), &json!(300)),
        "{place}"
    );

    app.clock.advance(TimeDelta::milliseconds(299_999));
    app.tick().await;
    extender.send(Method::POST, &format!("/api/v1/bookings/{extended}/extend"), &[], None).await.expect(200);
    buyer.pay(&booking.text("bookingId"), "last-moment").await.expect(201);
    app.advance(120);
    app.tick().await;
    extender.pay(&extended, "even-later").await.expect(201);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_ended_token_still_shows_its_end_after_ten_minutes(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "activeSeconds": 30})).await;
    let (expired, left) = (app.buyer(&sale).await, app.buyer(&sale).await);
    app.advance(29);
    leave(&left).await;
    let completed = app.buyer_with_points(&sale, "50000").await;
    let booking = completed.hold(sale.performance_id, &sale.seats).await.expect(201).text("bookingId");
    completed.pay(&booking, "pay").await.expect(201);
    app.advance(1);
    for _ in 0..=10 {
        app.tick().await;
        for (client, expected) in [(&expired, "EXPIRED"), (&left, "LEFT"), (&completed, "COMPLETED")] {
            let place = poll(client).await;
            assert_eq!(place["status"], expected, "{place}");
            assert_eq!(place["queueToken"], client.queue_token(), "{place}");
        }
        app.advance(60);
    }
}
