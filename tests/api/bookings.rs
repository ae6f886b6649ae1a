//! Holds, and the life of a booking.

use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, TestApp};

const BOOKINGS: &str = "/api/v1/bookings";

async fn act(client: &Client, booking_id: &str, action: &str) -> Reply {
    client.send(Method::POST, &format!("{BOOKINGS}/{booking_id}/{action}"), &[], None).await
}

async fn cancel(client: &Client, booking_id: &str) -> Reply {
    act(client, booking_id, "cancel").await
}

async fn extend(client: &Client, booking_id: &str) -> Reply {
    act(client, booking_id, "extend").await
}

async fn held(client: &Client, performance_id: u64, seats: &[u64]) -> String {
    client.hold(performance_id, seats).await.expect(201).text("bookingId")
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[track_caller]
fn assert_contains(body: &Value, expected: &Value) {
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(body.get(member), Some(value), "{member} of {body}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_reserves_all_its_seats_for_five_minutes(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(2, 3).await;
    let buyer = app.buyer(&sale).await;
    app.clock.advance(TimeDelta::milliseconds(123));
    let requested = [sale.seats[3], sale.seats[2]];
    let booking = buyer.hold(sale.performance_id, &requested).await.expect(201).json();
    assert!(booking["bookingId"].as_str().is_some_and(|id| id.len() == 36), "{booking}");
    let seat = |id: u64, row: &str, number: u64| json!({"seatId": id, "section": "Floor", "row": row, "number": number, "grade": "R", "price": "50000"});
    let expected = json!({
        "userId": buyer.user_id(), "concertId": sale.concert_id, "performanceId": sale.performance_id,
        "status": "PENDING", "seats": [seat(sale.seats[2], "A", 3), seat(sale.seats[3], "B", 1)],
        "totalPrice": "100000", "heldUntil": text(app.now() + TimeDelta::seconds(300)), "secondsLeft": 300,
        "extended": false, "createdAt": text(app.now()), "confirmedAt": null, "cancelledAt": null, "paymentId": null,
    });
    assert_contains(&booking, &expected);

    app.clock.advance(TimeDelta::milliseconds(1));
    let id = booking["bookingId"].as_str().unwrap();
    let mut later = booking.clone();
    later["secondsLeft"] = json!(299);
    for instance in 0..2 {
        assert_eq!(app.at_instance(&buyer, instance).booking(id).await, later);
    }
    assert_eq!(sale.available(&buyer).await, 4);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_partly_taken_hold_gets_no_seat_and_names_the_taken_ones(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 5).await;
    let first = app.buyer_with_points(&sale, "50000").await;
    let (second, third) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let [a, b, c, d, _] = sale.seats[..] else { panic!() };
    let booking = held(&first, sale.performance_id, &[a]).await;
    let refused = second.hold(sale.performance_id, &[b, a]).await.expect_problem(409, "SEATS_UNAVAILABLE");
    assert_eq!(refused.json()["conflicts"], json!([{"seatId": a, "reason": "HELD"}]));
    held(&third, sale.performance_id, &[b]).await;
    first.pay(&booking, "pay").await.expect(201);
    let refused = second.hold(sale.performance_id, &[d, b, c, a]).await.expect_problem(409, "SEATS_UNAVAILABLE").json();
    let mut conflicts = refused["conflicts"].as_array().unwrap().clone();
    conflicts.sort_by_key(|conflict| conflict["seatId"].as_u64());
    assert_eq!(json!(conflicts), json!([{"seatId": a, "reason": "SOLD"}, {"seatId": b, "reason": "HELD"}]));
    assert_eq!(sale.available(&second).await, 3, "nothing was taken");
    // A user can't hold the same seats twice either.
    let own = third.hold(sale.performance_id, &[b]).await.expect_problem(409, "SEATS_UNAVAILABLE").json();
    assert_eq!(own["conflicts"], json!([{"seatId": b, "reason": "HELD"}]));
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_user_has_at_most_four_seats_of_a_performance(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 10).await;
    let starts_at = (app.now() + TimeDelta::days(40)).to_rfc3339();
    let (other_performance, other_seats) = sale.add_performance(&app, &starts_at, 1, 5).await;
    let buyer = app.buyer_with_points(&sale, "1000000").await;
    let refuse = async |seats: &[u64]| {
        buyer.hold(sale.performance_id, seats).await.expect_problem(409, "SEAT_LIMIT_EXCEEDED");
    };
    refuse(&sale.seats[..5]).await;
    let first = held(&buyer, sale.performance_id, &sale.seats[..2]).await;
    let second = held(&buyer, sale.performance_id, &sale.seats[2..3]).await;
    refuse(&sale.seats[3..5]).await;
    let third = held(&buyer, sale.performance_id, &sale.seats[3..4]).await;
    refuse(&sale.seats[4..5]).await;
    held(&buyer, other_performance, &other_seats[..4]).await;

    buyer.pay(&first, "pay").await.expect(201);
    refuse(&sale.seats[4..5]).await;
    cancel(&buyer, &second).await.expect(200);
    let fourth = held(&buyer, sale.performance_id, &sale.seats[4..5]).await;
    refuse(&sale.seats[2..3]).await;
    // The holds expire; the paid seats still count. The token lives six hundred seconds.
    app.advance(300);
    assert_eq!(buyer.booking(&third).await["status"], "EXPIRED");
    assert_eq!(buyer.booking(&fourth).await["status"], "EXPIRED");
    refuse(&sale.seats[2..5]).await;
    held(&buyer, sale.performance_id, &sale.seats[2..4]).await;
    cancel(&buyer, &first).await.expect(200);
    held(&buyer, sale.performance_id, &sale.seats[..2]).await;
    app.tick().await;
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn no_seat_is_sold_after_a_performance_begins_or_is_cancelled(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let starts_at = app.now() + TimeDelta::seconds(100);
    let (soon, seats) = sale.add_performance(&app, &starts_at.to_rfc3339(), 1, 2).await;
    let buyer = app.buyer(&sale).await;
    app.clock.advance(TimeDelta::milliseconds(99_999));
    held(&buyer, soon, &seats[..1]).await;
    app.clock.advance(TimeDelta::milliseconds(1));
    buyer.hold(soon, &seats[1..]).await.expect_problem(409, "SALES_CLOSED");
    buyer.hold(soon, &[seats[1], sale.seats[0]]).await.expect_problem(404, "SEAT_NOT_FOUND");

    let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    app.admin().await.send(Method::POST, &path, &[], None).await.expect(202);
    buyer.hold(sale.performance_id, &sale.seats).await.expect_problem(409, "SALES_CLOSED");
    buyer.hold(sale.performance_id, &seats[1..]).await.expect_problem(404, "SEAT_NOT_FOUND");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn seats_of_another_performance_are_not_found(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let starts_at = (app.now() + TimeDelta::days(40)).to_rfc3339();
    let (_, other_seats) = sale.add_performance(&app, &starts_at, 1, 2).await;
    let buyer = app.buyer(&sale).await;
    for seats in [vec![other_seats[0]], vec![sale.seats[0], other_seats[1]], vec![sale.seats[0], 999_999]] {
        buyer.hold(sale.performance_id, &seats).await.expect_problem(404, "SEAT_NOT_FOUND");
    }
    buyer.hold(999_999, &sale.seats).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    assert_eq!(sale.available(&buyer).await, 2);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_invalid_field_of_a_hold_is_named(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    let performance_id = sale.performance_id;
    for (body, pointers) in [
        (json!({}), vec!["/performanceId"]),
        (json!({"performanceId": performance_id, "seatIds": []}), vec!["/seatIds"]),
        (json!({"performanceId": performance_id, "seatIds": [1, 2, 1]}), vec!["/seatIds/2"]),
        (json!({"performanceId": "x", "seatIds": [0, 1, -1]}), vec!["/performanceId", "/seatIds/0", "/seatIds/2"]),
        (json!({"performanceId": performance_id, "seatIds": sale.seats, "price": "1"}), vec!["/price"]),
    ] {
        let refused = buyer.post(BOOKINGS, body.clone()).await.expect_problem(422, "VALIDATION_FAILED").json();
        let errors = refused["errors"].as_array().unwrap();
        for pointer in pointers {
            assert!(errors.iter().any(|error| error["pointer"] == pointer), "{pointer}: {body}: {refused}");
        }
    }
    assert_eq!(sale.available(&buyer).await, 2);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn bookings_are_listed_newest_first_with_their_current_status(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 10).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let stranger = app.buyer(&sale).await;
    held(&stranger, sale.performance_id, &sale.seats[9..]).await;
    let hold = async |seat: usize| {
        let id = held(&buyer, sale.performance_id, &sale.seats[seat..=seat]).await;
        app.clock.advance(TimeDelta::milliseconds(1));
        id
    };
    let (expired, confirmed, refunded) = (hold(0).await, hold(1).await, hold(2).await);
    buyer.pay(&confirmed, "1").await.expect(201);
    buyer.pay(&refunded, "2").await.expect(201);
    cancel(&buyer, &refunded).await.expect(200);
    app.advance(299);
    let cancelled = hold(3).await;
    cancel(&buyer, &cancelled).await.expect(200);
    app.advance(1);
    assert_eq!(buyer.booking(&expired).await["status"], "EXPIRED");
    let pending = hold(4).await;

    let expected = [
        (&pending, "PENDING"),
        (&cancelled, "CANCELLED"),
        (&refunded, "REFUNDED"),
        (&confirmed, "CONFIRMED"),
        (&expired, "EXPIRED"),
    ];
    let listed = |list: &Value| -> Vec<(String, String)> {
        let member = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| (member(item, "bookingId"), member(item, "status"))).collect()
    };
    let expected: Vec<_> = expected.map(|(id, status)| (id.clone(), status.to_owned())).into();
    let list = buyer.get(BOOKINGS).await.expect(200).json();
    assert_eq!((listed(&list), &list["nextCursor"]), (expected.clone(), &Value::Null));
    assert_eq!(list["items"][0], buyer.booking(&pending).await);
    for (id, status) in &expected {
        let list = buyer.get(&format!("{BOOKINGS}?status={status}")).await.expect(200).json();
        assert_eq!(listed(&list), [(id.clone(), status.clone())], "before any tick");
    }
    app.tick().await;
    let list = buyer.get(&format!("{BOOKINGS}?status=EXPIRED")).await.expect(200).json();
    assert_eq!(listed(&list).len(), 1, "{list}");

    // Page by page; bookings made meanwhile move nothing.
    let mut seen = Vec::new();
    let mut path = format!("{BOOKINGS}?limit=2");
    loop {
        let page = buyer.get(&path).await.expect(200).json();
        seen.extend(listed(&page));
        if seen.len() == 2 {
            hold(5).await;
        }
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("{BOOKINGS}?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, expected);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn invalid_list_parameters_are_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let user = app.user().await;
    assert_eq!(user.get(BOOKINGS).await.expect(200).json(), json!({"items": [], "nextCursor": null}));
    for (query, parameter) in
        [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("status=HELD", "status")]
    {
        let refused = user.get(&format!("{BOOKINGS}?{query}")).await.expect_problem(422, "VALIDATION_FAILED").json();
        assert_eq!(refused["errors"][0]["parameter"], parameter, "{refused}");
    }
    for cursor in ["x", "0193a0f0-0000-7000-8000-000000000000", "%00"] {
        user.get(&format!("{BOOKINGS}?cursor={cursor}")).await.expect_problem(400, "MALFORMED_REQUEST");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn bookings_of_other_users_are_not_found(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let (owner, stranger) = (app.buyer(&sale).await, app.buyer_with_points(&sale, "50000").await);
    let booking = held(&owner, sale.performance_id, &sale.seats[..1]).await;
    for id in [booking.as_str(), "0193a0f0-0000-7000-8000-000000000000", "17", "nothing"] {
        stranger.get(&format!("{BOOKINGS}/{id}")).await.expect_problem(404, "BOOKING_NOT_FOUND");
        cancel(&stranger, id).await.expect_problem(404, "BOOKING_NOT_FOUND");
        extend(&stranger, id).await.expect_problem(404, "BOOKING_NOT_FOUND");
    }
    stranger.pay(&booking, "pay").await.expect_problem(404, "BOOKING_NOT_FOUND");
    let admin = app.admin().await;
    admin.get(&format!("{BOOKINGS}/{booking}")).await.expect_problem(404, "BOOKING_NOT_FOUND");
    assert_eq!(owner.booking(&booking).await["status"], "PENDING");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_cancelled_hold_frees_its_seats_and_stays_cancelled(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let (buyer, next) = (app.buyer(&sale).await, app.buyer_with_points(&sale, "100000").await);
    let id = held(&buyer, sale.performance_id, &sale.seats).await;
    app.advance(7);
    let cancelled = cancel(&buyer, &id).await.expect(200).json();
    let expected = json!({
        "status": "CANCELLED", "cancelledAt": text(app.now()), "secondsLeft": null, "confirmedAt": null,
        "paymentId": null, "totalPrice": "100000",
    });
    assert_contains(&cancelled, &expected);
    assert_eq!(cancelled["seats"].as_array().unwrap().len(), 2, "history stays: {cancelled}");
    assert_eq!(sale.available(&buyer).await, 2);
    let theirs = held(&next, sale.performance_id, &sale.seats).await;
    app.advance(1);
    assert_eq!(cancel(&buyer, &id).await.expect(200).json(), cancelled, "the same booking again");
    assert_eq!(next.booking(&theirs).await["status"], "PENDING", "the newer booking has the seats");
    extend(&buyer, &id).await.expect_problem(409, "BOOKING_NOT_PAYABLE");
    buyer.pay(&id, "pay").await.expect_problem(409, "BOOKING_NOT_PAYABLE");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_expired_hold_cannot_be_cancelled(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    let id = held(&buyer, sale.performance_id, &sale.seats).await;
    app.advance(300);
    cancel(&buyer, &id).await.expect_problem(409, "BOOKING_NOT_CANCELLABLE");
    app.tick().await;
    cancel(&buyer, &id).await.expect_problem(409, "BOOKING_NOT_CANCELLABLE");
    assert_eq!(buyer.booking(&id).await["status"], "EXPIRED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn paid_bookings_are_refunded_up_to_the_cut_off_exactly(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let starts_at = app.now() + TimeDelta::seconds(24 * 3_600 + 100);
    let (performance, seats) = sale.add_performance(&app, &starts_at.to_rfc3339(), 1, 2).await;
    let buyer = app.buyer_with_points(&sale, "100000.50").await;
    let (first, second) = (held(&buyer, performance, &seats[..1]).await, held(&buyer, performance, &seats[1..]).await);
    let paid = buyer.pay(&first, "1").await.expect(201).json();
    buyer.pay(&second, "2").await.expect(201);
    assert_eq!(buyer.balance().await, "0.50");
    let confirmed_at = text(app.now());

    app.clock.advance(TimeDelta::milliseconds(99_999));
    let refunded = cancel(&buyer, &first).await.expect(200).json();
    let expected = json!({
        "status": "REFUNDED", "confirmedAt": confirmed_at, "cancelledAt": text(app.now()),
        "paymentId": paid["paymentId"], "secondsLeft": null,
    });
    assert_contains(&refunded, &expected);
    assert_eq!(buyer.balance().await, "50000.50");
    app.clock.advance(TimeDelta::milliseconds(1));
    cancel(&buyer, &second).await.expect_problem(409, "REFUND_WINDOW_CLOSED");
    assert_eq!(cancel(&buyer, &first).await.expect(200).json(), refunded, "repeating it gives nothing more");
    assert_eq!(buyer.balance().await, "50000.50");
    assert_eq!(buyer.booking(&second).await["status"], "CONFIRMED");

    let next = app.buyer(&sale).await;
    next.hold(performance, &seats[1..]).await.expect_problem(409, "SEATS_UNAVAILABLE");
    held(&next, performance, &seats[..1]).await;
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_is_extended_by_two_minutes_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let (buyer, next) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let id = held(&buyer, sale.performance_id, &sale.seats[..1]).await;
    let created = app.now();
    app.advance(299);
    let extended = extend(&buyer, &id).await.expect(200).json();
    let expected = json!({
        "status": "PENDING", "extended": true, "heldUntil": text(created + TimeDelta::seconds(420)),
        "secondsLeft": 121,
    });
    assert_contains(&extended, &expected);
    extend(&buyer, &id).await.expect_problem(409, "HOLD_ALREADY_EXTENDED");
    app.advance(120);
    app.tick().await;
    assert_eq!(buyer.booking(&id).await["status"], "PENDING");
    next.hold(sale.performance_id, &sale.seats[..1]).await.expect_problem(409, "SEATS_UNAVAILABLE");
    app.advance(1);
    assert_eq!(buyer.booking(&id).await["status"], "EXPIRED");
    extend(&buyer, &id).await.expect_problem(410, "HOLD_EXPIRED");
    held(&next, sale.performance_id, &sale.seats[..1]).await;
    app.tick().await;
    extend(&buyer, &id).await.expect_problem(410, "HOLD_EXPIRED");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn only_a_pending_booking_is_extended(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 3).await;
    let buyer = app.buyer_with_points(&sale, "100000").await;
    let hold = async |seat: usize| held(&buyer, sale.performance_id, &sale.seats[seat..=seat]).await;
    let (paid, refunded, _open) = (hold(0).await, hold(1).await, hold(2).await);
    buyer.pay(&paid, "1").await.expect(201);
    buyer.pay(&refunded, "2").await.expect(201);
    cancel(&buyer, &refunded).await.expect(200);
    extend(&buyer, &paid).await.expect_problem(409, "BOOKING_NOT_PAYABLE");
    extend(&buyer, &refunded).await.expect_problem(409, "BOOKING_NOT_PAYABLE");
    assert_eq!(buyer.booking(&paid).await["extended"], false);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn hold_rules_follow_the_configuration(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings = [
        ("HOLD_SECONDS", "2"),
        ("HOLD_EXTENSION_SECONDS", "1"),
        ("MAX_SEATS_PER_USER", "1"),
        ("REFUND_CUTOFF_HOURS", "0"),
    ];
    let app = TestApp::start_with(options, 1, &settings);
    let sale = app.sale(1, 2).await;
    let starts_at = app.now() + TimeDelta::seconds(5);
    let (soon, soon_seats) = sale.add_performance(&app, &starts_at.to_rfc3339(), 1, 1).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    buyer.hold(sale.performance_id, &sale.seats).await.expect_problem(409, "SEAT_LIMIT_EXCEEDED");
    let held_booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    assert_eq!(held_booking.json()["secondsLeft"], 2);
    let id = held_booking.text("bookingId");
    app.advance(1);
    assert_eq!(extend(&buyer, &id).await.expect(200).json()["secondsLeft"], 2);
    app.advance(2);
    assert_eq!(buyer.booking(&id).await["status"], "EXPIRED");

    let paid = held(&buyer, soon, &soon_seats).await;
    buyer.pay(&paid, "pay").await.expect(201);
    app.clock.advance(TimeDelta::milliseconds(1_999));
    assert_eq!(cancel(&buyer, &paid).await.expect(200).json()["status"], "REFUNDED");
    app.assert_invariants_hold().await;
}
