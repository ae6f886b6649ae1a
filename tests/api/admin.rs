//! Administration of the catalogue and of queues, and the audit.

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{
    Connection, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::support::{Client, Reply, Sale, Tables, TestApp};

async fn patch(client: &Client, concert_id: u64, body: Value) -> Reply {
    client.send(Method::PATCH, &format!("/api/v1/admin/concerts/{concert_id}"), &[], Some(body)).await
}

async fn cancel_performance(client: &Client, performance_id: u64) -> Reply {
    client.send(Method::POST, &format!("/api/v1/admin/performances/{performance_id}/cancel"), &[], None).await
}

async fn performance(client: &Client, performance_id: u64) -> Value {
    client.get(&format!("/api/v1/admin/performances/{performance_id}")).await.expect(200).json()
}

fn pointers(reply: &Reply) -> Vec<String> {
    let body = reply.json();
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors in {body}"));
    errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn venues_are_added_and_listed(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let path = "/api/v1/admin/venues";
    let mut ids = Vec::new();
    for number in 0..3 {
        let body = json!({"name": format!("  Hall {number} "), "address": "서울"});
        let venue = admin.post(path, body).await.expect(201).json();
        assert_eq!((&venue["name"], &venue["address"]), (&json!(format!("Hall {number}")), &json!("서울")), "{venue}");
        ids.push(venue["venueId"].as_u64().unwrap());
    }
    let mut seen = Vec::new();
    let mut page = admin.get(&format!("{path}?limit=2")).await.expect(200).json();
    loop {
        seen.extend(page["items"].as_array().unwrap().iter().map(|venue| venue["venueId"].as_u64().unwrap()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        page = admin.get(&format!("{path}?limit=2&cursor={cursor}")).await.expect(200).json();
    }
    assert_eq!(seen, ids);
    for (body, pointer) in [
        (json!({"name": "Hall"}), "/address"),
        (json!({"name": "  ", "address": "x"}), "/name"),
        (json!({"name": "x".repeat(201), "address": "x"}), "/name"),
        (json!({"name": "a\u{7}", "address": "x"}), "/name"),
        (json!({"name": "Hall", "address": "x", "size": 1}), "/size"),
    ] {
        let refused = admin.post(path, body).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(pointers(&refused), [pointer]);
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_concert_is_added_changed_and_deleted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (admin, anonymous) = (app.admin().await, app.anonymous());
    let body = json!({"title": "Palette", "artist": "IU", "category": "POP", "description": "One.\nTwo."});
    let created = admin.post("/api/v1/admin/concerts", body.clone()).await.expect(201).json();
    let id = created["concertId"].as_u64().unwrap();
    for (member, value) in body.as_object().unwrap() {
        assert_eq!(&created[member], value, "{member}: {created}");
    }
    assert_eq!(created["queueMode"], "QUEUE", "the defaults: {created}");
    let path = format!("/api/v1/concerts/{id}");
    assert_eq!(anonymous.get(&path).await.expect(200).json(), created);

    let patched = patch(&admin, id, json!({"title": "Lilac", "description": ""})).await.expect(200).json();
    let expected = [("title", "Lilac"), ("artist", "IU"), ("category", "POP"), ("description", "")];
    for (member, value) in expected {
        assert_eq!(patched[member], value, "{patched}");
    }
    assert_eq!(anonymous.get(&path).await.expect(200).json(), patched);
    for body in [json!({}), json!({"title": ""}), json!({"artist": null}), json!({"concertId": 2})] {
        patch(&admin, id, body).await.expect_problem(422, "VALIDATION_FAILED");
    }
    patch(&admin, 999_999, json!({"title": "x"})).await.expect_problem(404, "CONCERT_NOT_FOUND");

    let delete = format!("/api/v1/admin/concerts/{id}");
    admin.delete(&delete).await.expect(204);
    admin.delete(&delete).await.expect_problem(404, "CONCERT_NOT_FOUND");
    anonymous.get(&path).await.expect_problem(404, "CONCERT_NOT_FOUND");
    patch(&admin, id, json!({"title": "x"})).await.expect_problem(404, "CONCERT_NOT_FOUND");
    let list = anonymous.get("/api/v1/concerts").await.expect(200).json();
    assert_eq!(list["items"], json!([]));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_concert_with_live_bookings_cannot_be_deleted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let admin = app.admin().await;
    let path = format!("/api/v1/admin/concerts/{}", sale.concert_id);
    let buyer = app.buyer_with_points(&sale, "100000").await;
    let held = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    let paid = buyer.hold(sale.performance_id, &sale.seats[1..]).await.expect(201).text("bookingId");
    buyer.pay(&paid, "pay").await.expect(201);
    admin.delete(&path).await.expect_problem(409, "CONCERT_HAS_BOOKINGS");
    app.advance(300);
    assert_eq!(buyer.booking(&held).await["status"], "EXPIRED");
    admin.delete(&path).await.expect_problem(409, "CONCERT_HAS_BOOKINGS");
    assert_eq!(performance(&admin, sale.performance_id).await["status"], "SCHEDULED", "the refusal changed nothing");
    buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    app.advance(300);
    buyer.post(&format!("/api/v1/bookings/{paid}/cancel"), json!({})).await.expect(200);
    admin.delete(&path).await.expect(204);
    assert_eq!(buyer.booking(&paid).await["status"], "REFUNDED", "history stays");
    app.tick().await;
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_performance_has_all_the_seats_of_its_sections(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let admin = app.admin().await;
    let path = format!("/api/v1/admin/concerts/{}/performances", sale.concert_id);
    let section = |name: &str, rows: u64, seats_per_row: u64, price: &str| json!({"name": name, "grade": "R", "rows": rows, "seatsPerRow": seats_per_row, "price": price});
    let body = |venue_id: u64, sections: &[Value]| json!({"venueId": venue_id, "startsAt": "2026-12-24T20:00:00+09:00", "seating": {"sections": sections}});
    let sections = [section("A", 2, 3, "100"), section("B", 1, 4, "99.99")];
    let created = admin.post(&path, body(sale.venue_id, &sections)).await.expect(201).json();
    let expected = json!({
        "concertId": sale.concert_id, "startsAt": "2026-12-24T11:00:00.000Z", "totalSeats": 10, "availableSeats": 10,
        "soldOut": false, "minPrice": "99.99", "maxPrice": "100", "status": "SCHEDULED", "bookingsLeft": 0,
    });
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&created[member], value, "{member}: {created}");
    }
    assert_eq!(performance(&admin, created["performanceId"].as_u64().unwrap()).await, created);

    let sections = [section("A", 1, 1, "1")];
    let mut leap = body(sale.venue_id, &sections);
    leap["startsAt"] = json!("2026-12-31T23:59:60Z");
    assert_eq!(admin.post(&path, leap).await.expect(201).json()["startsAt"], "2027-01-01T00:00:00.000Z");
    admin.post(&path, body(999_999, &sections)).await.expect_problem(404, "VENUE_NOT_FOUND");
    let nowhere = "/api/v1/admin/concerts/999999/performances";
    admin.post(nowhere, body(sale.venue_id, &sections)).await.expect_problem(404, "CONCERT_NOT_FOUND");
    for (sections, pointer) in [
        (vec![], "/seating/sections"),
        (vec![section("A", 1, 1, "1"), section("A", 1, 1, "1")], "/seating/sections/1/name"),
        (vec![section("A", 0, 1, "1")], "/seating/sections/0/rows"),
        (vec![section("A", 1, 1, "-1")], "/seating/sections/0/price"),
        (vec![section("A", 1, 1, "1.001")], "/seating/sections/0/price"),
        (vec![section("A", 1_000, 100, "1"), section("B", 1, 1, "1")], "/seating/sections"),
    ] {
        let refused = admin.post(&path, body(sale.venue_id, &sections)).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(pointers(&refused), [pointer]);
    }
    let list = format!("/api/v1/concerts/{}/performances", sale.concert_id);
    let list = admin.get(&list).await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 3, "nothing came of what was refused: {list}");
    admin.get("/api/v1/admin/performances/999999").await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_performance_of_a_hundred_thousand_seats_is_added_in_one_call(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start_with(options, 1, &[("REQUEST_TIMEOUT_SECONDS", "300")]);
    let sale = app.sale(1, 1).await;
    let section = |name: &str| json!({"name": name, "grade": "R", "rows": 500, "seatsPerRow": 100, "price": "1"});
    let starts_at = (app.now() + TimeDelta::days(30)).to_rfc3339();
    let sections = [section("East"), section("West")];
    let body = json!({"venueId": sale.venue_id, "startsAt": starts_at, "seating": {"sections": sections}});
    let path = format!("/api/v1/admin/concerts/{}/performances", sale.concert_id);
    let created = app.admin().await.post(&path, body).await.expect(201).json();
    assert_eq!((&created["totalSeats"], &created["availableSeats"]), (&json!(100_000), &json!(100_000)), "{created}");

    let buyer = app.buyer(&sale).await;
    let performance_id = created["performanceId"].as_u64().unwrap();
    let map = buyer.get(&format!("/api/v1/performances/{performance_id}/seats")).await.expect(200).json();
    let seats = map["seats"].as_array().unwrap();
    assert_eq!(seats.len(), 100_000);
    let last = &seats[99_999];
    assert_eq!(
        (&last["section"], &last["row"], &last["number"]),
        (&json!("West"), &json!("SF"), &json!(100)),
        "{last}"
    );
    buyer.hold(performance_id, &[last["seatId"].as_u64().unwrap()]).await.expect(201);
}

/// A buyer with one booking: held, or paid.
async fn booking(app: &TestApp, sale: &Sale, seat: usize, paid: bool) -> (Client, String) {
    let buyer = app.buyer_with_points(sale, "60000").await;
    let id = buyer.hold(sale.performance_id, &sale.seats[seat..=seat]).await.expect(201).text("bookingId");
    if paid {
        buyer.pay(&id, "pay").await.expect(201);
    }
    (buyer, id)
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_cancelled_performance_frees_seats_and_refunds_points(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(2, 4).await;
    let admin = app.admin().await;
    let (early, early_id) = booking(&app, &sale, 6, false).await;
    app.advance(1);
    let mut bookings = Vec::new();
    for seat in 0..6 {
        let (buyer, id) = booking(&app, &sale, seat, seat % 2 == 0).await;
        bookings.push((buyer, id, seat % 2 == 0));
    }
    // One hold has expired, and no job has written it yet.
    app.advance(299);
    assert_eq!(early.booking(&early_id).await["status"], "EXPIRED");

    let answer = cancel_performance(&admin, sale.performance_id).await.expect(202).json();
    assert_eq!((&answer["performanceId"], &answer["status"]), (&json!(sale.performance_id), &json!("CANCELLED")));
    assert!(answer["bookingsLeft"].is_u64(), "{answer}");
    app.tick().await;
    app.tick().await;
    let progress = performance(&admin, sale.performance_id).await;
    assert_eq!((&progress["status"], &progress["bookingsLeft"]), (&json!("CANCELLED"), &json!(0)), "{progress}");
    for (buyer, id, paid) in &bookings {
        let expected = if *paid { "REFUNDED" } else { "CANCELLED" };
        assert_eq!(buyer.booking(id).await["status"], expected);
        assert_eq!(buyer.balance().await, "60000");
    }
    assert_eq!(early.booking(&early_id).await["status"], "EXPIRED");

    let again = cancel_performance(&admin, sale.performance_id).await.expect(202).json();
    assert_eq!((&again["status"], &again["bookingsLeft"]), (&json!("CANCELLED"), &json!(0)), "{again}");
    assert_eq!(bookings[0].0.balance().await, "60000", "points come back once");
    let list = app.anonymous().get(&format!("/api/v1/concerts/{}/performances", sale.concert_id)).await;
    assert_eq!(list.expect(200).json()["items"], json!([]));
    cancel_performance(&admin, 999_999).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_cancellation_refunds_after_the_cut_off_too_and_leaves_others_alone(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let mut sale = app.sale(1, 1).await;
    let (other, other_id) = booking(&app, &sale, 0, true).await;
    let starts_at = app.now() + TimeDelta::hours(1);
    (sale.performance_id, sale.seats) = sale.add_performance(&app, &starts_at.to_rfc3339(), 1, 1).await;
    let (buyer, id) = booking(&app, &sale, 0, true).await;
    buyer.post(&format!("/api/v1/bookings/{id}/cancel"), json!({})).await.expect_problem(409, "REFUND_WINDOW_CLOSED");
    cancel_performance(&app.admin().await, sale.performance_id).await.expect(202);
    app.tick().await;
    assert_eq!(buyer.booking(&id).await["status"], "REFUNDED");
    assert_eq!(buyer.balance().await, "60000");
    assert_eq!(other.booking(&other_id).await["status"], "CONFIRMED");
    assert_eq!(other.balance().await, "10000");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn queue_settings_are_replaced_whole_and_show_token_counts(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let admin = app.admin().await;
    let path = format!("/api/v1/admin/concerts/{}/queue", sale.concert_id);
    let mut settings = json!({
        "mode": "QUEUE", "admitCount": 2, "admitIntervalSeconds": 60, "maxActive": 10, "activeSeconds": 100,
        "claimSeconds": 50, "salesOpenAt": null,
    });
    let put = async |body: &Value| admin.send(Method::PUT, &path, &[], Some(body.clone())).await;
    put(&settings).await.expect(200);
    for user in app.users(3).await {
        sale.join(user).await;
    }
    app.tick().await;
    let shown = admin.get(&path).await.expect(200).json();
    for (member, value) in settings.as_object().unwrap() {
        assert_eq!(&shown[member], value, "{member}: {shown}");
    }
    assert_eq!(shown["live"], json!({"waiting": 1, "active": 2, "admittedLastMinute": 2}));
    app.advance(60);
    let shown = admin.get(&path).await.expect(200).json();
    assert_eq!(shown["live"], json!({"waiting": 1, "active": 0, "admittedLastMinute": 0}), "it isn't claimed");

    let required = ["mode", "admitCount", "admitIntervalSeconds", "maxActive", "activeSeconds", "claimSeconds"];
    for member in required {
        let mut body = settings.clone();
        body.as_object_mut().unwrap().remove(member);
        assert_eq!(pointers(&put(&body).await.expect_problem(422, "VALIDATION_FAILED")), [format!("/{member}")]);
    }
    for (member, highest) in [
        ("admitCount", 100_000_u64),
        ("admitIntervalSeconds", 3_600),
        ("maxActive", 1_000_000),
        ("activeSeconds", 86_400),
        ("claimSeconds", 3_600),
    ] {
        for bad in [json!(0), json!(highest + 1), json!(-1), json!(1.5), json!("1"), Value::Null] {
            let mut body = settings.clone();
            body[member] = bad.clone();
            let refused = put(&body).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(pointers(&refused), [format!("/{member}")], "{bad}");
        }
        for good in [1, highest] {
            settings[member] = json!(good);
            assert_eq!(put(&settings).await.expect(200).json()[member], good);
        }
    }
    for (member, bad) in [("mode", json!("CLOSED")), ("salesOpenAt", json!("soon")), ("live", json!({}))] {
        let mut body = settings.clone();
        body[member] = bad;
        assert_eq!(pointers(&put(&body).await.expect_problem(422, "VALIDATION_FAILED")), [format!("/{member}")]);
    }
    settings["salesOpenAt"] = json!("2026-11-21T00:00:00+09:00");
    let opening = json!("2026-11-20T15:00:00.000Z");
    assert_eq!(put(&settings).await.expect(200).json()["salesOpenAt"], opening);
    let concert = admin.get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect(200).json();
    assert_eq!(concert["salesOpenAt"], opening, "{concert}");
    settings.as_object_mut().unwrap().remove("salesOpenAt");
    assert_eq!(put(&settings).await.expect(200).json()["salesOpenAt"], Value::Null);
    admin.get("/api/v1/admin/concerts/999999/queue").await.expect_problem(404, "CONCERT_NOT_FOUND");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_audit_lists_every_invariant_and_finds_violations(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let sale = app.sale(1, 2).await;
    booking(&app, &sale, 0, true).await;
    let admin = app.admin().await;
    let report = admin.get("/api/v1/admin/audit").await.expect(200).json();
    assert_eq!((&report["ok"], &report["checkedAt"]), (&json!(true), &json!("2026-11-20T08:00:00.000Z")), "{report}");
    let invariants = report["invariants"].as_array().unwrap();
    for number in 1..=8 {
        let found = invariants.iter().filter(|invariant| invariant["number"] == number).count();
        assert!(found >= 1, "invariant {number} isn't checked: {report}");
    }
    for invariant in invariants {
        assert_eq!(invariant["violations"], 0, "{invariant}");
        assert!(invariant["name"].as_str().is_some_and(|name| !name.is_empty()), "{invariant}");
    }

    let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
    sqlx::query("UPDATE point_wallets SET balance = balance + 1").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let report = admin.get("/api/v1/admin/audit").await.expect(200).json();
    assert_eq!(report["ok"], false, "{report}");
    let broken: Vec<_> = report["invariants"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|invariant| invariant["violations"] != 0)
        .map(|invariant| invariant["number"].clone())
        .collect();
    assert_eq!(broken, [json!(2)], "{report}");
}

/// More bookings than one batch can't be refunded, because a wallet is full, and they come first. The others are
/// refunded nevertheless, and these once the wallet has room.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn bookings_that_cannot_be_settled_delay_no_other(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start_with(options, 1, &[("MAX_SEATS_PER_USER", "100")]);
    let sale = app.sale(8, 10).await;
    let (rich, poor) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let balance = |balance: &'static str| {
        let (pool, user_id) = (tables.pool.clone(), rich.user_id());
        async move {
            let statement = "UPDATE point_wallets SET balance = ? WHERE user_id = ?";
            sqlx::query(statement).bind(balance).bind(user_id).execute(&pool).await.unwrap();
        }
    };
    for (buyer, seats) in [(&rich, &sale.seats[..70]), (&poor, &sale.seats[70..])] {
        buyer.charge("4000000").await;
        let mut booked = Vec::new();
        for seat in seats {
            booked.push(buyer.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId"));
        }
        let payments = booked.iter().map(|booking| buyer.pay(booking, booking));
        assert!(futures::future::join_all(payments).await.iter().all(|payment| payment.status == 201));
    }
    balance("9999999999999.99").await;
    let admin = app.admin().await;
    let answer = cancel_performance(&admin, sale.performance_id).await.expect(202).json();
    assert_eq!(answer["bookingsLeft"], 70);
    assert_eq!(poor.balance().await, "4000000");
    assert!(!app.instances[0].shared.concerts.finish_cancellations().await.unwrap());

    balance("500000").await;
    while app.instances[0].shared.concerts.finish_cancellations().await.unwrap() {}
    assert_eq!(performance(&admin, sale.performance_id).await["bookingsLeft"], 0);
    assert_eq!(rich.balance().await, "4000000");
    app.assert_invariants_hold().await;
}
