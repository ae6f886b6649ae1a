//! The catalogue, its administration and seat maps.

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, TestApp};

/// The values of one member of all items of a list, following its cursors two items at a time.
async fn all_pages(client: &Client, path: &str, member: &str) -> Vec<Value> {
    let mut values = Vec::new();
    let mut cursor = String::new();
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{separator}limit=2{cursor}")).await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        values.extend(items.iter().map(|item| item[member].clone()));
        let Some(next) = page["nextCursor"].as_str() else { return values };
        assert_eq!(items.len(), 2, "a page with a next one is full");
        cursor = format!("&cursor={next}");
    }
}

async fn create_concert(admin: &Client, title: &str, artist: &str, category: &str) -> u64 {
    let concert = json!({"title": title, "artist": artist, "category": category});
    admin.post("/api/v1/admin/concerts", concert).await.expect(201).json()["concertId"].as_u64().unwrap()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_concert_is_created_changed_and_deleted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (admin, anybody) = (app.admin().await, app.anonymous());

    let concert = json!({"title": " Spring ", "artist": "Jin", "category": "POP", "description": "One.\n\nTwo."});
    let created = admin.post("/api/v1/admin/concerts", concert).await.expect(201);
    let path = created.header("location").to_owned();
    let read = anybody.get(&path).await.expect(200);
    assert_eq!(read.header("cache-control"), "public, max-age=1");
    assert_eq!(read.json(), created.json());
    let id = read.json()["concertId"].clone();
    assert_eq!(
        read.json(),
        json!({
            "concertId": id, "title": "Spring", "artist": "Jin", "category": "POP", "firstPerformanceAt": null,
            "lastPerformanceAt": null, "minPrice": null, "maxPrice": null, "soldOut": false,
            "description": "One.\n\nTwo.", "salesOpenAt": null, "queueMode": "QUEUE",
        })
    );

    let admin_path = format!("/api/v1/admin/concerts/{id}");
    let change = Some(json!({"title": "Summer"}));
    let changed = admin.send(Method::PATCH, &admin_path, &[], change).await.expect(200).json();
    assert_eq!((&changed["title"], &changed["description"]), (&json!("Summer"), &json!("One.\n\nTwo.")));
    // The same again changes no row, and is no failure.
    admin.send(Method::PATCH, &admin_path, &[], Some(json!({"title": "Summer"}))).await.expect(200);
    admin.send(Method::PATCH, &admin_path, &[], Some(json!({}))).await.expect_problem(422, "VALIDATION_FAILED");

    admin.delete(&admin_path).await.expect(204);
    admin.delete(&admin_path).await.expect_problem(404, "CONCERT_NOT_FOUND");
    anybody.get(&path).await.expect_problem(404, "CONCERT_NOT_FOUND");
    anybody.get(&format!("{path}/performances")).await.expect_problem(404, "CONCERT_NOT_FOUND");
    anybody.get("/api/v1/concerts/x").await.expect_problem(404, "CONCERT_NOT_FOUND");
    let user = app.user().await;
    user.delete(&admin_path).await.expect_problem(403, "FORBIDDEN");
    anybody.delete(&admin_path).await.expect_problem(401, "UNAUTHENTICATED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concerts_are_found_by_what_they_are_and_when(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (admin, anybody) = (app.admin().await, app.anonymous());
    let sale = app.sale(1, 2).await; // "Spring" by Jin, POP, on 2026-12-20 at 08:00.
    let later = create_concert(&admin, "100% Schubert", "Sumi Jo", "Classical").await;
    let never = create_concert(&admin, "Autumn", "Jin", "Classical").await;
    let sections = json!([
        {"name": "A", "grade": "S", "rows": 1, "seatsPerRow": 1, "price": "70000.50"},
        {"name": "B", "grade": "R", "rows": 1, "seatsPerRow": 1, "price": 30000},
    ]);
    for starts_at in ["2027-01-03T10:00:00+09:00", "2027-01-01T10:00:00+09:00", "2027-01-02T10:00:00+09:00"] {
        let body = json!({"venueId": sale.venue_id, "startsAt": starts_at, "seating": {"sections": sections}});
        admin.post(&format!("/api/v1/admin/concerts/{later}/performances"), body).await.expect(201);
    }

    let found = async |query: &str| {
        let list = anybody.get(&format!("/api/v1/concerts{query}")).await.expect(200).json();
        list["items"].as_array().unwrap().iter().map(|item| item["concertId"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let spring = sale.concert_id;
    assert_eq!(found("").await, [spring, later, never]);
    assert_eq!(all_pages(&anybody, "/api/v1/concerts", "concertId").await, [spring, later, never]);
    assert_eq!(found("?query=jIN").await, [spring, never]);
    assert_eq!(found("?query=0%25%20s").await, [later]);
    assert_eq!(found("?query=_").await, [0; 0]);
    assert_eq!(found("?category=classical").await, [later, never]);
    assert_eq!(found("?from=2026-12-21").await, [later]);
    assert_eq!(found("?to=2026-12-21").await, [spring]);
    assert_eq!(found("?from=2026-12-20T08:00:00Z&to=2026-12-20T08:00:01Z").await, [spring]);
    for query in ["from=today", "to=2026-13-01", "limit=0", &format!("query={}", "a".repeat(201))] {
        anybody.get(&format!("/api/v1/concerts?{query}")).await.expect_problem(422, "VALIDATION_FAILED");
    }
    anybody.get("/api/v1/concerts?cursor=abc").await.expect_problem(400, "MALFORMED_REQUEST");

    let concert = anybody.get(&format!("/api/v1/concerts/{later}")).await.expect(200).json();
    assert_eq!(concert["firstPerformanceAt"], "2027-01-01T01:00:00.000Z");
    assert_eq!(concert["lastPerformanceAt"], "2027-01-03T01:00:00.000Z");
    assert_eq!((&concert["minPrice"], &concert["maxPrice"]), (&json!("30000"), &json!("70000.50")));
    let starts = all_pages(&anybody, &format!("/api/v1/concerts/{later}/performances"), "startsAt").await;
    assert_eq!(starts, ["2027-01-01T01:00:00.000Z", "2027-01-02T01:00:00.000Z", "2027-01-03T01:00:00.000Z"]);
}

/// Sells five of eight performances out and reads the others page by page; then all of them.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn available_performances_fill_their_pages(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let mut performances = vec![(sale.performance_id, sale.seats.clone())];
    for day in 31..38 {
        let starts_at = app.now() + TimeDelta::days(day);
        performances.push(sale.add_performance(&app, &starts_at.to_rfc3339(), 1, 1).await);
    }
    let buyer = app.buyer(&sale).await;
    let hold = async |index: usize| {
        let (performance_id, seats) = &performances[index];
        buyer.hold(*performance_id, seats).await.expect(201);
    };
    for index in [0, 2, 3, 4, 6] {
        hold(index).await;
    }
    let path = format!("/api/v1/concerts/{}/performances", sale.concert_id);
    let available = format!("{path}?available=true");
    let left: Vec<_> = [1, 5, 7].map(|index: usize| performances[index].0).to_vec();
    assert_eq!(all_pages(&buyer, &available, "performanceId").await, left);
    assert_eq!(all_pages(&buyer, &path, "performanceId").await.len(), 8);
    let sold_out = all_pages(&buyer, &path, "soldOut").await;
    assert_eq!(sold_out, [true, false, true, true, true, false, true, false]);
    let concert = format!("/api/v1/concerts/{}", sale.concert_id);
    assert_eq!(buyer.get(&concert).await.expect(200).json()["soldOut"], false);

    for index in [1, 5, 7] {
        hold(index).await;
    }
    assert_eq!(buyer.get(&concert).await.expect(200).json()["soldOut"], true);
    assert_eq!(buyer.get("/api/v1/concerts").await.expect(200).json()["items"][0]["soldOut"], true);
    assert!(all_pages(&buyer, &available, "performanceId").await.is_empty());
    buyer.get(&format!("{path}?available=yes")).await.expect_problem(422, "VALIDATION_FAILED");

    app.advance(300);
    assert_eq!(buyer.get(&concert).await.expect(200).json()["soldOut"], false);
}

/// Follows the seat map of one performance on two servers: held, sold, expired; each state has its own tag and
/// version, and both servers agree on them.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_seat_map_shows_what_becomes_of_seats(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(2, 2).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let path = format!("/api/v1/performances/{}/seats", sale.performance_id);
    let statuses = async |query: &str| {
        let reply = buyer.get(&format!("{path}{query}")).await.expect(200);
        assert_eq!(reply.header("cache-control"), "private, no-cache");
        let other = app.at_instance(&buyer, 1).get(&format!("{path}{query}")).await.expect(200);
        assert_eq!((reply.header("etag"), reply.json()), (other.header("etag"), other.json()));
        let again = [("If-None-Match", reply.header("etag"))];
        let unchanged = buyer.send(Method::GET, &format!("{path}{query}"), &again, None).await.expect(304);
        assert_eq!((unchanged.header("etag"), unchanged.bytes.len()), (reply.header("etag"), 0));
        let body = reply.json();
        let seats = body["seats"].as_array().unwrap().iter();
        let seats: Vec<_> = seats.map(|seat| (seat["seatId"].as_u64().unwrap(), seat["status"].clone())).collect();
        (reply.header("etag").to_owned(), body["version"].as_i64().unwrap(), seats)
    };
    let with = |names: [&str; 4]| -> Vec<_> { sale.seats.iter().copied().zip(names.map(Value::from)).collect() };

    let (tag_1, version_1, seats) = statuses("").await;
    assert_eq!((version_1, seats), (0, with(["AVAILABLE"; 4])));
    let first = buyer.get(&path).await.expect(200).json()["seats"][0].clone();
    let expected = json!({
        "seatId": sale.seats[0], "section": "Floor", "row": "A", "number": 1, "grade": "R", "price": "50000",
        "status": "AVAILABLE",
    });
    assert_eq!(first, expected);

    app.advance(1);
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    let (tag_2, version_2, seats) = statuses("").await;
    assert_eq!(
        (version_2, seats),
        (app.now().timestamp_micros(), with(["HELD", "AVAILABLE", "AVAILABLE", "AVAILABLE"]))
    );

    // The hold of the other keeps the token after the payment.
    app.advance(1);
    buyer.hold(sale.performance_id, &sale.seats[2..3]).await.expect(201);
    buyer.pay(&booking, "pay").await.expect(201);
    let (tag_3, version_3, seats) = statuses("").await;
    assert_eq!((version_3, seats), (app.now().timestamp_micros(), with(["SOLD", "AVAILABLE", "HELD", "AVAILABLE"])));
    let (tag_available, _, seats) = statuses("?status=AVAILABLE").await;
    assert_eq!(seats.iter().map(|(seat, _)| *seat).collect::<Vec<_>>(), [sale.seats[1], sale.seats[3]]);
    let (tag_held, _, seats) = statuses("?status=HELD").await;
    assert_eq!(seats, [(sale.seats[2], json!("HELD"))]);
    buyer.get(&format!("{path}?status=held")).await.expect_problem(422, "VALIDATION_FAILED");

    app.advance(300);
    let (tag_4, version_4, seats) = statuses("").await;
    assert_eq!(
        (version_4, seats),
        (app.now().timestamp_micros(), with(["SOLD", "AVAILABLE", "AVAILABLE", "AVAILABLE"]))
    );
    let mut tags = vec![tag_1, tag_2, tag_3, tag_4, tag_available, tag_held];
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 6);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_seat_map_is_for_tokens_of_its_concert(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, other) = (app.sale(1, 1).await, app.sale(1, 1).await);
    let buyer = app.buyer(&sale).await;
    let path = |id: u64| format!("/api/v1/performances/{id}/seats");
    buyer.get(&path(sale.performance_id)).await.expect(200);
    buyer.get(&path(other.performance_id)).await.expect_problem(403, "QUEUE_TOKEN_WRONG_CONCERT");
    buyer.get(&path(999)).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    buyer.get("/api/v1/performances/x/seats").await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
}

/// Cancels a performance with a paid booking, a held one and more of them than two batches, while another performance
/// of the concert goes on.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_cancelled_performance_gives_everybody_their_points_back(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(14, 10).await;
    let starts_at = app.now() + TimeDelta::days(40);
    let (other_id, other_seats) = sale.add_performance(&app, &starts_at.to_rfc3339(), 1, 1).await;
    let payer = app.buyer_with_points(&sale, "50000").await;
    let paid = payer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    payer.pay(&paid, "pay").await.expect(201);
    let buyers = app.buyers(&sale, 130).await;
    let holds = buyers
        .iter()
        .zip(&sale.seats[1..])
        .map(|(buyer, seat)| buyer.hold(sale.performance_id, std::slice::from_ref(seat)));
    for reply in futures::future::join_all(holds).await {
        reply.expect(201);
    }
    app.advance(1);
    buyers[0].hold(other_id, &other_seats).await.expect(201);

    let admin = app.admin().await;
    let path = format!("/api/v1/admin/performances/{}", sale.performance_id);
    let before = admin.get(&path).await.expect(200).json();
    assert_eq!((&before["status"], &before["bookingsLeft"]), (&json!("SCHEDULED"), &json!(131)));
    let concert_path = format!("/api/v1/admin/concerts/{}", sale.concert_id);
    admin.delete(&concert_path).await.expect_problem(409, "CONCERT_HAS_BOOKINGS");
    assert_eq!(admin.get(&path).await.expect(200).json()["status"], "SCHEDULED", "a refused deletion cancels nothing");
    let cancelled = admin.send(Method::POST, &format!("{path}/cancel"), &[], None).await.expect(202).json();
    assert_eq!((&cancelled["performanceId"], &cancelled["status"]), (&json!(sale.performance_id), &json!("CANCELLED")));
    while admin.get(&path).await.expect(200).json()["bookingsLeft"] != 0 {
        app.tick().await;
    }
    let again = admin.send(Method::POST, &format!("{path}/cancel"), &[], None).await.expect(202).json();
    assert_eq!((&again["status"], &again["bookingsLeft"]), (&json!("CANCELLED"), &json!(0)));

    assert_eq!(payer.booking(&paid).await["status"], "REFUNDED");
    assert_eq!(payer.balance().await, "50000");
    let bookings = buyers[0].get("/api/v1/bookings").await.expect(200).json();
    let statuses: Vec<_> = bookings["items"].as_array().unwrap().iter().map(|booking| &booking["status"]).collect();
    assert_eq!(statuses, ["PENDING", "CANCELLED"]);
    buyers[1].hold(sale.performance_id, &sale.seats[..1]).await.expect_problem(409, "SALES_CLOSED");
    let map = buyers[1].get(&format!("/api/v1/performances/{}/seats?status=AVAILABLE", sale.performance_id)).await;
    assert_eq!(map.expect(200).json()["seats"].as_array().unwrap().len(), 140);
    let concert = admin.get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect(200).json();
    assert_eq!(concert["firstPerformanceAt"], concert["lastPerformanceAt"]);
    assert_eq!(concert["soldOut"], true);
    admin.get("/api/v1/admin/performances/999").await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    app.assert_sound().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_performance_needs_its_concert_and_its_venue(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let sale = app.sale(1, 1).await;
    let path = |id: u64| format!("/api/v1/admin/concerts/{id}/performances");
    let body = |venue: u64| {
        let section =
            json!({"name": "Floor", "grade": "R", "rows": 1000, "seatsPerRow": 100, "price": "9999999999.99"});
        json!({"venueId": venue, "startsAt": "2027-01-01T00:00:00Z", "seating": {"sections": [section]}})
    };
    admin.post(&path(999), body(sale.venue_id)).await.expect_problem(404, "CONCERT_NOT_FOUND");
    admin.post(&path(sale.concert_id), body(999)).await.expect_problem(404, "VENUE_NOT_FOUND");
    let created = admin.post(&path(sale.concert_id), body(sale.venue_id)).await.expect(201);
    assert_eq!((&created.json()["totalSeats"], &created.json()["availableSeats"]), (&json!(100_000), &json!(100_000)));
    assert_eq!(admin.get(created.header("location")).await.expect(200).json(), created.json());
    let buyer = app.buyer(&sale).await;
    let map = buyer.get(&format!("/api/v1/performances/{}/seats", created.json()["performanceId"])).await.expect(200);
    assert_eq!(map.json()["seats"].as_array().unwrap().len(), 100_000);
    let names = all_pages(&admin, "/api/v1/admin/venues", "name").await;
    assert_eq!(names, ["Hall"]);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_queue_is_set_as_a_whole(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let sale = app.sale(1, 1).await;
    let path = format!("/api/v1/admin/concerts/{}/queue", sale.concert_id);
    let buyer = app.buyer(&sale).await;
    let settings = json!({
        "mode": "PAUSED", "admitCount": 3, "admitIntervalSeconds": 4, "maxActive": 5, "activeSeconds": 6,
        "claimSeconds": 7, "salesOpenAt": "2026-11-20T07:00:00Z",
    });
    let set = admin.send(Method::PUT, &path, &[], Some(settings.clone())).await.expect(200).json();
    assert_eq!(admin.get(&path).await.expect(200).json(), set);
    let mut expected = settings.clone();
    expected["salesOpenAt"] = json!("2026-11-20T07:00:00.000Z");
    expected["concertId"] = json!(sale.concert_id);
    expected["live"] = json!({"waiting": 0, "active": 1, "admittedLastMinute": 1});
    assert_eq!(set, expected);
    let concert = buyer.get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect(200).json();
    assert_eq!((&concert["queueMode"], &concert["salesOpenAt"]), (&json!("PAUSED"), &expected["salesOpenAt"]));
    admin.send(Method::PUT, &path, &[], Some(json!({"mode": "OPEN"}))).await.expect_problem(422, "VALIDATION_FAILED");
    let missing = "/api/v1/admin/concerts/999/queue";
    admin.get(missing).await.expect_problem(404, "CONCERT_NOT_FOUND");
    admin.send(Method::PUT, missing, &[], Some(settings)).await.expect_problem(404, "CONCERT_NOT_FOUND");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_audit_names_each_invariant(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let audit = app.admin().await.get("/api/v1/admin/audit").await.expect(200).json();
    assert_eq!(audit["ok"], true);
    assert_eq!(audit["checkedAt"], "2026-11-20T08:00:00.000Z");
    let numbers: Vec<_> = audit["invariants"].as_array().unwrap().iter().map(|row| row["number"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
}
