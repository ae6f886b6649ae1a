//! Complimentary bookings: seats that administrators give away.

use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Reply, Sale, Tables, TestApp};

const BOOKINGS: &str = "/api/v1/admin/bookings";

async fn give(admin: &Client, user: Uuid, sale: &Sale, seats: &[u64]) -> Reply {
    let performance = sale.performance_id;
    let body = json!({"userId": user, "performanceId": performance, "seatIds": seats, "reason": "a guest"});
    admin.post(BOOKINGS, body).await
}

/// The statuses of a performance's seats, in order.
async fn statuses(buyer: &Client, sale: &Sale) -> Vec<String> {
    let map = buyer.get(&format!("/api/v1/performances/{}/seats", sale.performance_id)).await.expect(200).json();
    map["seats"].as_array().unwrap().iter().map(|seat| seat["status"].as_str().unwrap().to_owned()).collect()
}

/// Six seats are more than the limit of four.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn seats_are_given_beyond_the_limit_confirmed_and_paid_with_nothing(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 12).await;
    let (admin, guest) = (app.admin().await, app.buyer_with_points(&sale, "200000").await);
    let given = give(&admin, guest.user_id(), &sale, &sale.seats[..6]).await.expect(201);
    let id = given.text("bookingId");
    assert_eq!(given.header("location"), format!("{BOOKINGS}/{id}"));
    let booking = given.json();
    assert_eq!((&booking["status"], &booking["totalPrice"]), (&json!("CONFIRMED"), &json!("0")));
    assert_eq!((&booking["complimentary"], &booking["seats"][5]["price"]), (&json!(true), &json!("0")));
    assert!(booking["email"].is_string() && booking["secondsLeft"].is_null());
    assert_eq!(guest.booking(&id).await["paymentId"], booking["paymentId"]);
    let payments = guest.get("/api/v1/payments").await.expect(200).json();
    assert_eq!((&payments["items"][0]["amount"], &payments["items"][0]["status"]), (&json!("0"), &json!("COMPLETED")));
    assert_eq!(statuses(&guest, &sale).await, [["SOLD"; 6], ["AVAILABLE"; 6]].concat());
    assert_eq!(sale.available(&guest).await, 6);
    for events in [
        "SELECT COUNT(*) FROM outbox_events WHERE type = 'booking.confirmed'",
        "SELECT COUNT(*) FROM outbox_events WHERE type = 'payment.completed'",
    ] {
        assert_eq!(tables.count(events).await, 1, "{events}");
    }
    assert_eq!(tables.count("SELECT COUNT(*) FROM outbox_events WHERE type = 'booking.held'").await, 0);

    // The limit leaves the gift out, for holds and for payments.
    let paid = guest.hold(sale.performance_id, &sale.seats[6..10]).await.expect(201).text("bookingId");
    let beyond = guest.hold(sale.performance_id, &sale.seats[10..11]).await.expect_problem(409, "SEAT_LIMIT_EXCEEDED");
    assert_eq!(beyond.json()["live"], 4);
    guest.pay(&paid, "pay").await.expect(201);
    app.assert_invariants_hold().await;

    let refunded = guest.post(&format!("/api/v1/bookings/{id}/cancel"), json!({})).await.expect(200).json();
    assert_eq!(refunded["status"], "REFUNDED");
    assert_eq!((guest.balance().await.as_str(), sale.available(&guest).await), ("0", 8));
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_gift_gets_all_seats_or_none(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 6).await;
    let (admin, guest) = (app.admin().await, app.user().await.user_id());
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let paid = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    buyer.pay(&paid, "pay").await.expect(201);
    app.buyer(&sale).await.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201);
    let refused = give(&admin, guest, &sale, &sale.seats[..4]).await.expect_problem(409, "SEATS_UNAVAILABLE").json();
    let conflict = |seat: usize, reason: &str| json!({"seatId": sale.seats[seat], "reason": reason});
    assert_eq!(refused["conflicts"], json!([conflict(0, "SOLD"), conflict(1, "HELD")]));
    assert_eq!(sale.available(&buyer).await, 4);
    // A hold that has expired is no obstacle, recorded or not.
    app.advance(300);
    for client in app.on_every_server(&admin) {
        client.get(BOOKINGS).await.expect(200);
    }
    give(&admin, guest, &sale, &sale.seats[1..4]).await.expect(201);
    give(&admin, guest, &sale, &sale.seats[1..2]).await.expect_problem(409, "SEATS_UNAVAILABLE");
    app.tick().await;
    assert_eq!(sale.available(&buyer).await, 2);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn what_cannot_be_given_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, other) = (app.sale(1, 4).await, app.sale(1, 4).await);
    let (admin, user) = (app.admin().await, app.user().await);
    let guest = user.user_id();
    give(&admin, Uuid::nil(), &sale, &sale.seats[..1]).await.expect_problem(404, "USER_NOT_FOUND");
    let gone = app.user().await;
    gone.delete("/api/v1/users/me").await.expect(204);
    give(&admin, gone.user_id(), &sale, &sale.seats[..1]).await.expect_problem(404, "USER_NOT_FOUND");
    let unknown = Sale { performance_id: 999, ..sale.clone() };
    give(&admin, guest, &unknown, &sale.seats[..1]).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    give(&admin, guest, &sale, &[sale.seats[0], other.seats[0]]).await.expect_problem(404, "SEAT_NOT_FOUND");
    give(&user, guest, &sale, &sale.seats[..1]).await.expect_problem(403, "FORBIDDEN");
    let bodies: [Value; 7] = [
        json!({"performanceId": 1, "seatIds": [1], "reason": "x"}),
        json!({"userId": "1", "performanceId": 1, "seatIds": [1], "reason": "x"}),
        json!({"userId": guest, "performanceId": 0, "seatIds": [1], "reason": "x"}),
        json!({"userId": guest, "performanceId": 1, "seatIds": [], "reason": "x"}),
        json!({"userId": guest, "performanceId": 1, "seatIds": [1, 1], "reason": "x"}),
        json!({"userId": guest, "performanceId": 1, "seatIds": [1]}),
        json!({"userId": guest, "performanceId": 1, "seatIds": [1], "reason": "x", "price": "0"}),
    ];
    for body in bodies {
        admin.post(BOOKINGS, body).await.expect_problem(422, "VALIDATION_FAILED");
    }
    let path = format!("/api/v1/admin/performances/{}/cancel", other.performance_id);
    admin.post(&path, json!({})).await.expect(202);
    app.advance(30 * 86_400);
    for (closed, foreign) in [(&other, &sale.seats[..1]), (&sale, &[sale.seats[0], other.seats[0]])] {
        give(&admin, guest, closed, &closed.seats[..1]).await.expect_problem(409, "SALES_CLOSED");
        give(&admin, guest, closed, foreign).await.expect_problem(404, "SEAT_NOT_FOUND");
    }
    let given = admin.get("/api/v1/admin/actions").await.expect(200).json();
    assert!(given["items"].as_array().unwrap().iter().all(|action| action["action"] != "booking.created"));
    app.assert_invariants_hold().await;
}
