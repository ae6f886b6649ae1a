//! Bookings of all users: search, and cancellation by administrators.

use chrono::TimeDelta;
use concert_reservation::demo;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Reply, Sale, TestApp};

const BOOKINGS: &str = "/api/v1/admin/bookings";
const ACTIONS: &str = "/api/v1/admin/actions";

async fn items(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).await.expect(200).json()["items"].as_array().unwrap().clone()
}

async fn cancel(admin: &Client, booking: &str) -> Reply {
    admin.post(&format!("{BOOKINGS}/{booking}/cancel"), json!({"reason": "fell ill"})).await
}

async fn hold(buyer: &Client, sale: &Sale, seat: usize) -> String {
    buyer.hold(sale.performance_id, &sale.seats[seat..=seat]).await.expect(201).text("bookingId")
}

/// The booking ids of a search.
async fn found(admin: &Client, query: &str) -> Vec<String> {
    let found = items(admin, &format!("{BOOKINGS}?{query}")).await;
    found.iter().map(|booking| booking["bookingId"].as_str().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn bookings_are_found_by_concert_performance_user_and_current_status(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let (sale, other) = (app.sale(1, 4).await, app.sale(1, 4).await);
    let buyer = app.buyer_with_points(&sale, "100000").await;
    // Ids of one instant have no order.
    let expired = hold(&buyer, &sale, 0).await;
    app.advance(1);
    let paid = hold(&buyer, &sale, 1).await;
    app.advance(1);
    let held = hold(&app.buyer(&other).await, &other, 0).await;
    buyer.pay(&paid, "pay").await.expect(201);
    let (user, concert, performance) = (buyer.user_id(), sale.concert_id, sale.performance_id);
    let both = vec![paid.clone(), expired.clone()];
    assert_eq!(found(&admin, "status=PENDING").await, [held.as_str(), expired.as_str()]);
    app.advance(150);
    let extended = app.buyer(&other).await;
    let later = hold(&extended, &other, 1).await;
    app.advance(151);
    for (query, expected) in [
        (String::new(), vec![later.clone(), held.clone(), paid.clone(), expired.clone()]),
        (format!("userId={user}"), both.clone()),
        (format!("userId={user}&performanceId={performance}&concertId={concert}"), both.clone()),
        (format!("userId={user}&concertId={}", other.concert_id), vec![]),
        (format!("userId={user}&performanceId={}", other.performance_id), vec![]),
        (format!("concertId={concert}"), both.clone()),
        (format!("performanceId={performance}"), both),
        (format!("performanceId={performance}&status=CONFIRMED"), vec![paid.clone()]),
        (format!("concertId={concert}&status=EXPIRED"), vec![expired.clone()]),
        (format!("concertId={}&performanceId={performance}", other.concert_id), vec![]),
        ("status=EXPIRED".to_owned(), vec![held.clone(), expired.clone()]),
        ("status=PENDING".to_owned(), vec![later.clone()]),
        ("status=REFUNDED".to_owned(), vec![]),
    ] {
        assert_eq!(found(&admin, &query).await, expected, "{query}");
    }
    let first = admin.get(&format!("{BOOKINGS}?limit=3")).await.expect(200).json();
    let cursor = first["nextCursor"].as_str().unwrap();
    assert_eq!(found(&admin, &format!("limit=3&cursor={cursor}")).await, [expired.as_str()]);
    let booking = admin.get(&format!("{BOOKINGS}/{expired}")).await.expect(200).json();
    assert_eq!((&booking["status"], &booking["userId"]), (&json!("EXPIRED"), &json!(user)));
    assert!(booking["email"].as_str().unwrap().contains('@') && booking["seats"][0]["price"] == "50000");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn what_cannot_be_a_search_for_bookings_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    for query in ["concertId=0", "performanceId=x", "userId=1", "status=pending", "limit=101", "userId=1&userId=2"] {
        admin.get(&format!("{BOOKINGS}?{query}")).await.expect_problem(422, "VALIDATION_FAILED");
    }
    admin.get(&format!("{BOOKINGS}?cursor=x")).await.expect_problem(400, "MALFORMED_REQUEST");
    for id in ["1", &Uuid::nil().to_string()] {
        admin.get(&format!("{BOOKINGS}/{id}")).await.expect_problem(404, "BOOKING_NOT_FOUND");
        cancel(&admin, id).await.expect_problem(404, "BOOKING_NOT_FOUND");
    }
    let user = app.user().await;
    for path in [BOOKINGS.to_owned(), format!("{BOOKINGS}/{}", Uuid::nil())] {
        user.get(&path).await.expect_problem(403, "FORBIDDEN");
    }
    cancel(&user, &Uuid::nil().to_string()).await.expect_problem(403, "FORBIDDEN");
    let path = format!("{BOOKINGS}/{}/cancel", Uuid::nil());
    admin.post(&path, json!({})).await.expect_problem(422, "VALIDATION_FAILED");
    assert!(items(&admin, ACTIONS).await.is_empty());
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_administrator_refunds_after_the_window_and_even_after_the_performance(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "100000").await;
    let (first, second) = (hold(&buyer, &sale, 0).await, hold(&buyer, &sale, 1).await);
    buyer.pay(&first, "first").await.expect(201);
    buyer.pay(&second, "second").await.expect(201);
    // One hour before the start, and a day after it: access tokens of tests last a year.
    app.advance(30 * 86_400 - 3_600);
    let closed = buyer.post(&format!("/api/v1/bookings/{first}/cancel"), json!({})).await;
    closed.expect_problem(409, "REFUND_WINDOW_CLOSED");
    for (booking, seconds) in [(&first, 90_000), (&second, 0)] {
        let refunded = cancel(&admin, booking).await.expect(200).json();
        assert_eq!(refunded["status"], "REFUNDED");
        assert_eq!(cancel(&admin, booking).await.expect(200).json(), refunded);
        app.advance(seconds);
    }
    assert_eq!(buyer.balance().await, "100000");
    let actions: Vec<_> =
        items(&admin, ACTIONS).await.into_iter().filter(|action| action["action"] == "booking.cancelled").collect();
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert_eq!((&actions[1]["targetId"], &actions[1]["reason"]), (&json!(first), &json!("fell ill")));
    assert_eq!(actions[1]["details"], format!("user {}: REFUNDED", buyer.user_id()));
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_administrator_cancels_a_hold_and_no_expired_one(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let admin = app.admin().await;
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer(&sale).await;
    let held = hold(&buyer, &sale, 0).await;
    let path = format!("{BOOKINGS}/{held}/cancel");
    let body = json!({"reason": "by phone"});
    let cancelled = admin.post_keyed(&path, "key", body.clone()).await.expect(200);
    assert_eq!(cancelled.json()["status"], "CANCELLED");
    for client in app.on_every_server(&admin) {
        let again = client.post_keyed(&path, "key", body.clone()).await.expect(200);
        assert_eq!((again.header("idempotency-replayed"), &again.bytes), ("true", &cancelled.bytes));
    }
    assert_eq!(sale.available(&buyer).await, 4);
    let late = hold(&buyer, &sale, 1).await;
    app.advance(301);
    cancel(&admin, &late).await.expect_problem(409, "BOOKING_NOT_CANCELLABLE");
    assert_eq!(found(&admin, "status=CANCELLED").await, [held.as_str()]);
    app.tick().await;
    app.assert_invariants_hold().await;
}

/// The account is deleted after the performance. The refund goes to its closed wallet: the books show it.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_deleted_users_booking_is_shown_without_address_and_refunded(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = hold(&buyer, &sale, 0).await;
    buyer.pay(&booking, "pay").await.expect(201);
    app.clock.advance(TimeDelta::days(31));
    buyer.delete("/api/v1/users/me").await.expect(204);
    let path = format!("{BOOKINGS}/{booking}");
    let shown = admin.get(&path).await.expect(200).json();
    assert_eq!((&shown["status"], &shown["email"]), (&json!("CONFIRMED"), &Value::Null));
    assert_eq!(shown["userId"], buyer.user_id().to_string());
    assert_eq!(cancel(&admin, &booking).await.expect(200).json()["status"], "REFUNDED");
    app.assert_invariants_hold().await;
}

/// The demo has a booking for the support to look at: of a concert that is over, beyond the window of refunds.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_demo_has_a_booking_of_a_concert_that_is_over(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    for _ in 0..2 {
        demo::seed(&app.instances[0].shared).await.unwrap();
    }
    app.assert_invariants_hold().await;
    let log_in = async |email: &str| {
        let credentials = json!({"email": email, "password": "demo-password-1"});
        let reply = app.anonymous().post("/api/v1/auth/login", credentials).await.expect(200);
        app.anonymous().with_token(reply.text("accessToken"), reply.text("userId").parse().unwrap())
    };
    let (admin, carol) = (log_in("admin@demo.example").await, log_in("carol@demo.example").await);
    let found = items(&admin, BOOKINGS).await;
    let [booking] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&booking["email"], &booking["status"]), (&json!("carol@demo.example"), &json!("CONFIRMED")));
    let id = booking["bookingId"].as_str().unwrap();
    assert_eq!(items(&carol, &format!("/api/v1/bookings/{id}/tickets")).await.len(), 2);
    carol.post(&format!("/api/v1/bookings/{id}/cancel"), json!({})).await.expect_problem(409, "REFUND_WINDOW_CLOSED");
    assert_eq!(cancel(&admin, id).await.expect(200).text("status"), "REFUNDED");
    assert_eq!(carol.balance().await, booking["totalPrice"].as_str().unwrap());
    app.assert_invariants_hold().await;
}
