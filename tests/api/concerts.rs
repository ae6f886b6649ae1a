//! The public catalogue.

use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, TestApp};

/// Adds concerts to a catalogue.
struct Promoter {
    client: Client,
    venue_id: u64,
}

impl Promoter {
    async fn new(app: &TestApp) -> Self {
        let client = app.admin().await;
        let venue = client.post("/api/v1/admin/venues", json!({"name": "Hall", "address": "Seoul"})).await.expect(201);
        Self { venue_id: venue.json()["venueId"].as_u64().unwrap(), client }
    }

    async fn concert(&self, title: &str, artist: &str, category: &str) -> u64 {
        let concert = json!({"title": title, "artist": artist, "category": category});
        let concert = self.client.post("/api/v1/admin/concerts", concert).await.expect(201).json();
        let concert_id = concert["concertId"].as_u64().unwrap();
        let queue = json!({
            "mode": "OPEN", "admitCount": 200, "admitIntervalSeconds": 10, "maxActive": 2000, "activeSeconds": 600,
            "claimSeconds": 60,
        });
        let path = format!("/api/v1/admin/concerts/{concert_id}/queue");
        self.client.send(Method::PUT, &path, &[], Some(queue)).await.expect(200);
        concert_id
    }

    async fn performance(&self, concert_id: u64, starts_at: DateTime<Utc>, seats: u64, prices: [&str; 2]) -> u64 {
        let section = |name: &str, price: &str| json!({"name": name, "grade": name, "rows": 1, "seatsPerRow": seats, "price": price});
        let sections = [section("R", prices[0]), section("S", prices[1])];
        let body = json!({
            "venueId": self.venue_id, "startsAt": starts_at.to_rfc3339(), "seating": {"sections": sections},
        });
        let path = format!("/api/v1/admin/concerts/{concert_id}/performances");
        self.client.post(&path, body).await.expect(201).json()["performanceId"].as_u64().unwrap()
    }
}

async fn listed(client: &Client, query: &str) -> Vec<u64> {
    let list = client.get(&format!("/api/v1/concerts?{query}")).await.expect(200).json();
    list["items"].as_array().unwrap().iter().map(|item| item["concertId"].as_u64().unwrap()).collect()
}

async fn performances(client: &Client, concert_id: u64, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/concerts/{concert_id}/performances?{query}");
    client.get(&path).await.expect(200).json()["items"].as_array().unwrap().clone()
}

async fn concert(client: &Client, concert_id: u64) -> Value {
    client.get(&format!("/api/v1/concerts/{concert_id}")).await.expect(200).json()
}

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

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concerts_are_found_by_text_category_and_dates(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let promoter = Promoter::new(&app).await;
    let anonymous = app.anonymous();
    let day = |days| app.now() + TimeDelta::days(days);
    let winter = promoter.concert("Winter Journey", "Sumi Jo", "CLASSICAL").await;
    let spring = promoter.concert("봄 100%_!", "IU", "POP").await;
    let winter_pop = promoter.concert("Palette", "Winter", "POP").await;
    let unannounced = promoter.concert("Soon", "IU", "JAZZ").await;
    promoter.performance(winter, day(30), 1, ["1", "1"]).await;
    promoter.performance(spring, day(20), 1, ["1", "1"]).await;
    promoter.performance(spring, day(40), 1, ["1", "1"]).await;
    promoter.performance(winter_pop, day(10), 1, ["1", "1"]).await;

    for (query, expected) in [
        ("", vec![winter_pop, spring, winter, unannounced]),
        ("query=", vec![winter_pop, spring, winter, unannounced]),
        ("query=inter", vec![winter_pop, winter]),
        ("query=WINTER", vec![winter_pop, winter]),
        ("query=%EB%B4%84", vec![spring]),
        ("query=%25", vec![spring]),
        ("query=_", vec![spring]),
        ("query=!", vec![spring]),
        ("query=%27%20OR%201=1", vec![]),
        ("query=iu", vec![spring, unannounced]),
        ("category=POP", vec![winter_pop, spring]),
        ("category=PO", vec![]),
        ("category=POP&query=winter", vec![winter_pop]),
        // The sale is on 20 November 2026; its days are 30 November, 10, 20 and 30 December.
        ("from=2026-12-20", vec![spring, winter]),
        ("to=2026-12-10", vec![winter_pop]),
        ("from=2026-12-01&to=2026-12-15", vec![spring]),
        ("from=2026-12-20T08:00:00Z&to=2026-12-20T08:00:00.001Z", vec![winter]),
        ("from=2026-12-20T08:00:00.001Z&to=2026-12-21", vec![]),
        ("from=2026-12-20T17:00:00%2B09:00&to=2026-12-21", vec![winter]),
        ("from=2027-02-01", vec![]),
    ] {
        assert_eq!(listed(&anonymous, query).await, expected, "{query}");
    }
    let long = "x".repeat(201);
    for (query, parameter) in
        [("from=soon", "from"), ("to=2026-02-30", "to"), ("limit=0", "limit"), (&format!("query={long}"), "query")]
    {
        let refused =
            anonymous.get(&format!("/api/v1/concerts?{query}")).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(refused.json()["errors"][0]["parameter"], parameter, "{}", refused.json());
    }
    anonymous.get("/api/v1/concerts?cursor=%21").await.expect_problem(400, "MALFORMED_REQUEST");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn pages_are_stable_while_concerts_are_added(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let promoter = Promoter::new(&app).await;
    let anonymous = app.anonymous();
    let day = |days| app.now() + TimeDelta::days(days);
    let mut expected = Vec::new();
    // Two on each day.
    for number in 0..8 {
        let concert_id = promoter.concert(&format!("Number {number}"), "IU", "POP").await;
        promoter.performance(concert_id, day(10 + number / 2), 1, ["1", "1"]).await;
        expected.push(concert_id);
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/concerts?limit=3".to_owned();
    loop {
        let page = anonymous.get(&path).await.expect(200).json();
        let ids = page["items"].as_array().unwrap().iter().map(|item| item["concertId"].as_u64().unwrap());
        seen.extend(ids);
        // A concert that sorts before all pages, and one without a date.
        let earlier = promoter.concert("Earlier", "IU", "JAZZ").await;
        promoter.performance(earlier, day(1), 1, ["1", "1"]).await;
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/api/v1/concerts?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, expected);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_concert_shows_its_dates_prices_and_queue(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let promoter = Promoter::new(&app).await;
    let anonymous = app.anonymous();
    let id = promoter.concert("Palette", "IU", "POP").await;
    let unannounced = concert(&anonymous, id).await;
    for member in ["firstPerformanceAt", "lastPerformanceAt", "minPrice", "maxPrice", "salesOpenAt"] {
        assert_eq!(unannounced.get(member), Some(&Value::Null), "{member}: {unannounced}");
    }
    assert_eq!(unannounced["soldOut"], false);
    let starts_at = |hours| app.now() + TimeDelta::hours(hours);
    promoter.performance(id, starts_at(48), 1, ["99000.50", "120000"]).await;
    promoter.performance(id, starts_at(24), 1, ["100000", "150000"]).await;
    let expected = json!({
        "concertId": id, "title": "Palette", "artist": "IU", "category": "POP",
        "firstPerformanceAt": "2026-11-21T08:00:00.000Z", "lastPerformanceAt": "2026-11-22T08:00:00.000Z",
        "minPrice": "99000.50", "maxPrice": "150000", "soldOut": false,
    });
    let list = anonymous.get("/api/v1/concerts").await.expect(200);
    assert!(list.header("cache-control").contains("max-age=1"), "{list:?}");
    let details = concert(&anonymous, id).await;
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&list.json()["items"][0][member], value, "{member}");
        assert_eq!(&details[member], value, "{member}");
    }
    assert_eq!((&details["description"], &details["queueMode"]), (&json!(""), &json!("OPEN")), "{details}");
    for id in ["999999", "0", "x", "-1"] {
        anonymous.get(&format!("/api/v1/concerts/{id}")).await.expect_problem(404, "CONCERT_NOT_FOUND");
        anonymous.get(&format!("/api/v1/concerts/{id}/performances")).await.expect_problem(404, "CONCERT_NOT_FOUND");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn upcoming_performances_are_listed_soonest_first(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let promoter = Promoter::new(&app).await;
    let anonymous = app.anonymous();
    let id = promoter.concert("Palette", "IU", "POP").await;
    let other = promoter.concert("Other", "IU", "POP").await;
    let hour = |hours| app.now() + TimeDelta::hours(hours);
    let third = promoter.performance(id, hour(3), 2, ["1", "2"]).await;
    let first = promoter.performance(id, hour(1), 2, ["50000", "30000.10"]).await;
    let second = promoter.performance(id, hour(2), 2, ["1", "2"]).await;
    let cancelled = promoter.performance(id, hour(2), 2, ["1", "2"]).await;
    promoter.performance(other, hour(2), 2, ["1", "2"]).await;
    let path = format!("/api/v1/admin/performances/{cancelled}/cancel");
    promoter.client.send(Method::POST, &path, &[], None).await.expect(202);

    let ids = async |query: &str| -> Vec<u64> {
        let items = performances(&anonymous, id, query).await;
        items.iter().map(|item| item["performanceId"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("").await, [first, second, third]);
    let listed = performances(&anonymous, id, "").await;
    let expected = json!({
        "performanceId": first, "concertId": id, "startsAt": "2026-11-20T09:00:00.000Z", "totalSeats": 4,
        "availableSeats": 4, "soldOut": false, "minPrice": "30000.10", "maxPrice": "50000",
    });
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&listed[0][member], value, "{member}");
    }
    let venue = &listed[0]["venue"];
    assert_eq!((&venue["venueId"], &venue["name"]), (&json!(promoter.venue_id), &json!("Hall")), "{venue}");
    let page = anonymous.get(&format!("/api/v1/concerts/{id}/performances?limit=2")).await.expect(200).json();
    let cursor = page["nextCursor"].as_str().unwrap();
    assert_eq!(ids(&format!("limit=2&cursor={cursor}")).await, [third]);

    app.advance(3_600);
    assert_eq!(ids("").await, [second, third], "one that has begun isn't to come");
    app.advance(7_200);
    assert!(ids("").await.is_empty());
    let path = format!("/api/v1/concerts/{id}/performances?available=maybe");
    anonymous.get(&path).await.expect_problem(422, "VALIDATION_FAILED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn available_seats_follow_every_hold_and_its_end(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    let starts_at = app.now() + TimeDelta::days(40);
    let (second, second_seats) = sale.add_performance(&app, &starts_at.to_rfc3339(), 1, 1).await;
    let buyer = app.buyer_with_points(&sale, "500000").await;
    let anonymous = app.anonymous();
    let check = async |available: [u64; 2], after: &str| {
        for instance in 0..2 {
            let anonymous = app.at_instance(&anonymous, instance);
            let all = performances(&anonymous, sale.concert_id, "").await;
            for (item, available) in all.iter().zip(available) {
                assert_eq!(item["availableSeats"], available, "after {after}: {item}");
                assert_eq!(item["soldOut"], available == 0, "after {after}: {item}");
            }
            let left = performances(&anonymous, sale.concert_id, "available=true").await;
            let expected = available.iter().filter(|available| **available > 0).count();
            assert_eq!(left.len(), expected, "after {after}: {left:?}");
            assert_eq!(performances(&anonymous, sale.concert_id, "available=false").await.len(), 2);
            let is_sold_out = available == [0, 0];
            assert_eq!(concert(&anonymous, sale.concert_id).await["soldOut"], is_sold_out, "after {after}");
        }
    };
    check([4, 1], "nothing").await;
    let booking = buyer.hold(sale.performance_id, &sale.seats).await.expect(201).text("bookingId");
    check([0, 1], "a hold").await;
    let last = buyer.hold(second, &second_seats).await.expect(201).text("bookingId");
    check([0, 0], "the last hold").await;
    buyer.pay(&booking, "pay").await.expect(201);
    check([0, 0], "a payment").await;
    app.advance(300);
    check([0, 1], "an expiry").await;
    app.tick().await;
    check([0, 1], "its writing").await;
    assert_eq!(buyer.booking(&last).await["status"], "EXPIRED");
    buyer.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200);
    check([4, 1], "a refund").await;
    app.assert_invariants_hold().await;
}

/// Sells out five of eight performances and reads the others page by page; then all of them.
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
