//! Payments, over HTTP.

use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Sale, Tables, TestApp};

const PAYMENTS: &str = "/api/v1/payments";
const QUEUE: &str = "/api/v1/queue/tokens/current";

/// Holds one seat and gives the booking's id.
async fn hold(client: &Client, sale: &Sale, seat: usize) -> String {
    client.hold(sale.performance_id, &sale.seats[seat..=seat]).await.expect(201).text("bookingId")
}

async fn cancel(client: &Client, booking: &str) -> Value {
    client.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200).json()
}

async fn token_status(client: &Client) -> String {
    client.get(QUEUE).await.expect(200).text("status")
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn paying_takes_the_price_and_confirms_the_booking(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "150000.50").await;
    let held = buyer.hold(sale.performance_id, &sale.seats[1..3]).await.expect(201).json();
    let booking = held["bookingId"].as_str().unwrap();
    app.advance(299);
    let paid = buyer.pay(booking, "pay").await.expect(201);
    let payment = paid.text("paymentId");
    assert_eq!(payment.parse::<Uuid>().unwrap().get_version_num(), 7);
    let paid_at = "2026-11-20T08:04:59.000Z";
    let mut confirmed = held.clone();
    for (member, value) in [
        ("status", json!("CONFIRMED")),
        ("secondsLeft", Value::Null),
        ("confirmedAt", json!(paid_at)),
        ("paymentId", json!(payment)),
    ] {
        confirmed[member] = value;
    }
    assert_eq!(
        paid.json(),
        json!({
            "paymentId": payment, "bookingId": booking, "amount": "100000", "status": "COMPLETED",
            "balance": "50000.50", "paidAt": paid_at, "booking": confirmed,
        })
    );
    assert_eq!(paid.header("cache-control"), "no-store");
    assert_eq!(paid.header("idempotency-replayed"), "");
    assert_eq!(buyer.booking(booking).await, confirmed);
    assert_eq!(buyer.balance().await, "50000.50");
    assert_eq!(token_status(&buyer).await, "COMPLETED");
    let single = json!({
        "paymentId": payment, "bookingId": booking, "amount": "100000", "status": "COMPLETED", "paidAt": paid_at,
        "refundedAt": null,
    });
    assert_eq!(buyer.get(&format!("{PAYMENTS}/{payment}")).await.expect(200).json(), single);
    assert_eq!(buyer.get(PAYMENTS).await.expect(200).json(), json!({"items": [single], "nextCursor": null}));

    // The seats stay sold after the hold's deadline.
    app.advance(600);
    app.tick().await;
    assert_eq!(buyer.booking(booking).await, confirmed);
    let other = app.buyer(&sale).await;
    let map = other.get(&format!("/api/v1/performances/{}/seats", sale.performance_id)).await.expect(200).json();
    let statuses: Vec<_> = map["seats"].as_array().unwrap().iter().map(|seat| seat["status"].clone()).collect();
    assert_eq!(statuses, ["AVAILABLE", "SOLD", "SOLD", "AVAILABLE"]);
    for kind in [
        "SELECT COUNT(*) FROM outbox_events WHERE type = 'booking.confirmed'",
        "SELECT COUNT(*) FROM outbox_events WHERE type = 'payment.completed'",
    ] {
        assert_eq!(tables.count(kind).await, 1, "{kind}");
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_insufficient_balance_changes_neither_points_nor_hold(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let (penniless, short) = (app.buyer(&sale).await, app.buyer_with_points(&sale, "49999.99").await);
    for (seat, (buyer, balance)) in [(&penniless, "0"), (&short, "49999.99")].into_iter().enumerate() {
        let booking = hold(buyer, &sale, seat).await;
        let before = (tables.checksums().await, buyer.booking(&booking).await);
        let refused = buyer.pay(&booking, "pay").await.expect_problem(402, "INSUFFICIENT_POINTS").json();
        assert_eq!((&refused["balance"], &refused["required"]), (&json!(balance), &json!("50000")));
        // The refusal is recorded under its key, and nothing else is written.
        let mut after = tables.checksums().await;
        after.extend(
            before
                .0
                .iter()
                .filter(|(name, _)| name.ends_with("idempotency_keys"))
                .map(|(name, sum)| (name.clone(), *sum)),
        );
        assert_eq!((after, buyer.booking(&booking).await), before);
        assert_eq!((buyer.balance().await.as_str(), token_status(buyer).await.as_str()), (balance, "ACTIVE"));
        buyer.charge(if balance == "0" { "50000" } else { "0.01" }).await;
        let paid = buyer.pay(&booking, "again").await.expect(201).json();
        assert_eq!(paid["balance"], "0");
    }
    app.assert_invariants_hold().await;
}

/// A paid, a cancelled and a refunded booking. Each is offered for payment with an active token, the first even with a
/// second one of the same user.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn only_a_pending_booking_can_be_paid(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "500000").await;
    let paid = hold(&buyer, &sale, 0).await;
    buyer.pay(&paid, "1").await.expect(201);
    buyer.pay(&paid, "2").await.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    let buyer = sale.admit(buyer.without_queue_token()).await;
    buyer.pay(&paid, "2").await.expect_problem(409, "BOOKING_NOT_PAYABLE");

    let cancelled = hold(&buyer, &sale, 1).await;
    assert_eq!(cancel(&buyer, &cancelled).await["status"], "CANCELLED");
    buyer.pay(&cancelled, "3").await.expect_problem(409, "BOOKING_NOT_PAYABLE");
    assert_eq!(cancel(&buyer, &paid).await["status"], "REFUNDED");
    buyer.pay(&paid, "4").await.expect_problem(409, "BOOKING_NOT_PAYABLE");
    assert_eq!(buyer.balance().await, "500000");
    assert_eq!(buyer.get(PAYMENTS).await.expect(200).json()["items"].as_array().unwrap().len(), 1);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_cannot_be_paid_from_its_deadline_on(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "500000").await;
    let (late, extended) = (hold(&buyer, &sale, 0).await, hold(&buyer, &sale, 1).await);
    buyer.post(&format!("/api/v1/bookings/{extended}/extend"), json!({})).await.expect(200);
    app.advance(300);
    // No job has run.
    assert_eq!(token_status(&buyer).await, "ACTIVE");
    buyer.pay(&late, "1").await.expect_problem(410, "HOLD_EXPIRED");
    app.tick().await;
    buyer.pay(&late, "2").await.expect_problem(410, "HOLD_EXPIRED");
    app.advance(119);
    buyer.pay(&extended, "3").await.expect(201);
    assert_eq!(buyer.booking(&late).await["status"], "EXPIRED");
    assert_eq!(buyer.balance().await, "450000");
    app.assert_invariants_hold().await;
}

/// The token was issued 599 seconds ago, for 600; a hold made now can be paid for all of its five minutes.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_late_hold_can_be_paid_until_its_own_deadline(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    app.advance(599);
    let booking = hold(&buyer, &sale, 0).await;
    app.advance(299);
    app.tick().await;
    buyer.pay(&booking, "1").await.expect(201);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn bookings_and_payments_of_other_users_are_not_found(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let owner = app.buyer_with_points(&sale, "50000").await;
    let other = app.buyer_with_points(&sale, "50000").await;
    let booking = hold(&owner, &sale, 0).await;
    other.pay(&booking, "1").await.expect_problem(404, "BOOKING_NOT_FOUND");
    other.pay(&Uuid::now_v7().to_string(), "2").await.expect_problem(404, "BOOKING_NOT_FOUND");
    assert_eq!(other.balance().await, "50000");
    let paid = owner.pay(&booking, "1").await.expect(201);
    let path = format!("{PAYMENTS}/{}", paid.text("paymentId"));
    owner.get(&path).await.expect(200);
    let admin = app.admin().await;
    for stranger in [&other, &admin] {
        stranger.get(&path).await.expect_problem(404, "PAYMENT_NOT_FOUND");
        assert_eq!(stranger.get(PAYMENTS).await.expect(200).json(), json!({"items": [], "nextCursor": null}));
    }
    for path in [&path, PAYMENTS] {
        app.anonymous().get(path).await.expect_problem(401, "UNAUTHENTICATED");
    }
    let body = json!({"bookingId": booking});
    app.anonymous().post_keyed(PAYMENTS, "k", body.clone()).await.expect_problem(401, "UNAUTHENTICATED");
    owner.without_queue_token().post_keyed(PAYMENTS, "k", body).await.expect_problem(401, "QUEUE_TOKEN_REQUIRED");
    for id in ["x", &Uuid::now_v7().to_string(), &booking] {
        other.get(&format!("{PAYMENTS}/{id}")).await.expect_problem(404, "PAYMENT_NOT_FOUND");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_refund_returns_the_points_and_shows_in_the_payment(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "60000").await;
    let booking = hold(&buyer, &sale, 0).await;
    let payment = buyer.pay(&booking, "1").await.expect(201).text("paymentId");
    app.advance(60);
    let refunded = cancel(&buyer, &booking).await;
    assert_eq!((&refunded["status"], &refunded["paymentId"]), (&json!("REFUNDED"), &json!(payment)));
    let expected = json!({
        "paymentId": payment, "bookingId": booking, "amount": "50000", "status": "REFUNDED",
        "paidAt": "2026-11-20T08:00:00.000Z", "refundedAt": "2026-11-20T08:01:00.000Z",
    });
    assert_eq!(buyer.get(&format!("{PAYMENTS}/{payment}")).await.expect(200).json(), expected);
    assert_eq!(buyer.get(PAYMENTS).await.expect(200).json()["items"], json!([expected]));
    assert_eq!(buyer.balance().await, "60000");
    // Repeating it doesn't refund a second time.
    app.advance(60);
    assert_eq!(cancel(&buyer, &booking).await, refunded);
    assert_eq!(buyer.balance().await, "60000");
    let next = app.buyer_with_points(&sale, "50000").await;
    let again = hold(&next, &sale, 0).await;
    next.pay(&again, "1").await.expect(201);
    app.assert_invariants_hold().await;
}

/// A wallet is filled to its limit by SQL: there is no room for the refund.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_refund_beyond_the_wallet_limit_changes_nothing(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer_with_points(&sale, "60000").await;
    let booking = hold(&buyer, &sale, 0).await;
    let payment = buyer.pay(&booking, "1").await.expect(201).text("paymentId");
    sqlx::query("UPDATE point_wallets SET balance = 9999999999999.99").execute(&tables.pool).await.unwrap();
    let before = tables.checksums().await;
    let refused = buyer.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await;
    refused.expect_problem(409, "BALANCE_LIMIT_EXCEEDED");
    assert_eq!(tables.checksums().await, before);
    assert_eq!(buyer.booking(&booking).await["status"], "CONFIRMED");
    assert_eq!(buyer.get(&format!("{PAYMENTS}/{payment}")).await.expect(200).json()["status"], "COMPLETED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn payments_are_listed_newest_first_page_by_page(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let mut buyer = app.user().await;
    buyer.charge("200000").await;
    let mut newest_first = Vec::new();
    for seat in 0..4 {
        app.advance(1);
        buyer = sale.admit(buyer.without_queue_token()).await;
        let booking = hold(&buyer, &sale, seat).await;
        newest_first.insert(0, buyer.pay(&booking, &booking).await.expect(201).text("paymentId"));
    }
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["paymentId"].as_str().unwrap().to_owned()).collect()
    };
    let all = buyer.get(PAYMENTS).await.expect(200);
    assert_eq!(all.header("cache-control"), "no-store");
    assert_eq!(ids(&all.json()), newest_first);
    let first = buyer.get(&format!("{PAYMENTS}?limit=3")).await.expect(200);
    assert_eq!(ids(&first.json()), newest_first[..3]);
    let second = buyer.get(&format!("{PAYMENTS}?limit=3&cursor={}", first.text("nextCursor"))).await.expect(200).json();
    assert_eq!((ids(&second), &second["nextCursor"]), (newest_first[3..].to_vec(), &Value::Null));
    let exact = buyer.get(&format!("{PAYMENTS}?limit=4")).await.expect(200).json();
    assert_eq!((exact["items"].as_array().unwrap().len(), &exact["nextCursor"]), (4, &Value::Null));
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_free_booking_is_paid_without_points(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let section = json!({"name": "Lawn", "grade": "Free", "rows": 1, "seatsPerRow": 2, "price": "0"});
    let performance = json!({
        "venueId": sale.venue_id, "startsAt": "2026-12-24T18:00:00Z", "seating": {"sections": [section]},
    });
    let path = format!("/api/v1/admin/concerts/{}/performances", sale.concert_id);
    let performance =
        app.admin().await.post(&path, performance).await.expect(201).json()["performanceId"].as_u64().unwrap();
    // Without a wallet, and with one.
    for (number, points) in [None, Some("7")].into_iter().enumerate() {
        let buyer = app.buyer(&sale).await;
        if let Some(points) = points {
            buyer.charge(points).await;
        }
        let balance = points.unwrap_or("0");
        let map = buyer.get(&format!("/api/v1/performances/{performance}/seats")).await.expect(200).json();
        let seat = map["seats"][number]["seatId"].as_u64().unwrap();
        let held = buyer.hold(performance, &[seat]).await.expect(201);
        assert_eq!(held.json()["totalPrice"], "0");
        let booking = held.text("bookingId");
        let paid = buyer.pay(&booking, "1").await.expect(201).json();
        assert_eq!((&paid["amount"], &paid["balance"]), (&json!("0"), &json!(balance)));
        assert_eq!(buyer.booking(&booking).await["status"], "CONFIRMED");
        let newest = buyer.get("/api/v1/points/transactions").await.expect(200).json()["items"][0].clone();
        assert_eq!((&newest["type"], &newest["amount"]), (&json!("PAYMENT"), &json!("0")));
        assert_eq!(cancel(&buyer, &booking).await["status"], "REFUNDED");
        assert_eq!(buyer.balance().await, balance);
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_queue_token_is_completed_when_its_last_hold_is_paid(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let mut bookings = Vec::new();
    for seat in 0..3 {
        bookings.push(hold(&buyer, &sale, seat).await);
    }
    buyer.pay(&bookings[0], "1").await.expect(201);
    assert_eq!(token_status(&buyer).await, "ACTIVE");
    cancel(&buyer, &bookings[1]).await;
    assert_eq!(token_status(&buyer).await, "ACTIVE");
    buyer.pay(&bookings[2], "2").await.expect(201);
    assert_eq!(token_status(&buyer).await, "COMPLETED");
    app.assert_invariants_hold().await;
}
