//! Seat maps.

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, Sale, TestApp};

fn path(sale: &Sale) -> String {
    format!("/api/v1/performances/{}/seats", sale.performance_id)
}

async fn map(client: &Client, sale: &Sale) -> Reply {
    client.get(&path(sale)).await.expect(200)
}

async fn etag(client: &Client, sale: &Sale) -> String {
    let reply = map(client, sale).await;
    let etag = reply.header("etag").to_owned();
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "a strong entity tag: {etag}");
    etag
}

async fn cancel(client: &Client, booking_id: &str) {
    client.send(Method::POST, &format!("/api/v1/bookings/{booking_id}/cancel"), &[], None).await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_seat_map_lists_every_seat_in_layout_order(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let mut sale = app.sale(1, 1).await;
    let sections = json!([
        {"name": "Stalls", "grade": "S", "rows": 28, "seatsPerRow": 2, "price": "70000.50"},
        {"name": "Balcony \"1\"", "grade": "A", "rows": 1, "seatsPerRow": 11, "price": 30000},
    ]);
    let starts_at = (app.now() + TimeDelta::days(2)).to_rfc3339();
    let body = json!({"venueId": sale.venue_id, "startsAt": starts_at, "seating": {"sections": sections}});
    let create = format!("/api/v1/admin/concerts/{}/performances", sale.concert_id);
    let created = app.admin().await.post(&create, body).await.expect(201).json();
    sale.performance_id = created["performanceId"].as_u64().unwrap();

    let buyer = app.buyer(&sale).await;
    let map = map(&buyer, &sale).await.json();
    assert_eq!(map["performanceId"], sale.performance_id);
    assert!(map["version"].is_u64(), "{map}");
    let seats = map["seats"].as_array().unwrap();
    let place = |seat: &Value| {
        let text = |name: &str| seat[name].as_str().unwrap().to_owned();
        (text("section"), text("row"), seat["number"].as_u64().unwrap(), text("grade"), text("price"))
    };
    let mut expected: Vec<_> = (1..=11)
        .map(|number| ("Balcony \"1\"".to_owned(), "A".to_owned(), number, "A".to_owned(), "30000".to_owned()))
        .collect();
    let rows = ('A'..='Z').map(String::from).chain(["AA".to_owned(), "AB".to_owned()]);
    expected.extend(rows.flat_map(|row| {
        let seat = |number| ("Stalls".to_owned(), row.clone(), number, "S".to_owned(), "70000.50".to_owned());
        [seat(1), seat(2)]
    }));
    assert_eq!(seats.iter().map(place).collect::<Vec<_>>(), expected);
    assert!(seats.iter().all(|seat| seat["status"] == "AVAILABLE"), "{map}");
    let mut ids: Vec<_> = seats.iter().map(|seat| seat["seatId"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 67);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_seat_map_can_be_filtered_by_status(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let (payer, holder) = (app.buyer_with_points(&sale, "50000").await, app.buyer(&sale).await);
    let booking = payer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    payer.pay(&booking, "pay").await.expect(201);
    holder.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201);
    let whole = map(&holder, &sale).await.json();
    let statuses: Vec<_> = whole["seats"].as_array().unwrap().iter().map(|seat| seat["status"].clone()).collect();
    assert_eq!(statuses, ["SOLD", "HELD", "AVAILABLE", "AVAILABLE"]);
    let mut etags = vec![etag(&holder, &sale).await];
    for (status, expected) in [("SOLD", &sale.seats[..1]), ("HELD", &sale.seats[1..2]), ("AVAILABLE", &sale.seats[2..])]
    {
        let part = holder.get(&format!("{}?status={status}", path(&sale))).await.expect(200);
        etags.push(part.header("etag").to_owned());
        let part = part.json();
        let seats = part["seats"].as_array().unwrap();
        assert!(seats.iter().all(|seat| seat["status"] == status), "{part}");
        let ids: Vec<_> = seats.iter().map(|seat| seat["seatId"].as_u64().unwrap()).collect();
        assert_eq!((ids.as_slice(), &part["version"]), (expected, &whole["version"]), "{part}");
    }
    etags.sort_unstable();
    etags.dedup();
    assert_eq!(etags.len(), 4, "what differs has different tags: {etags:?}");
    let refused = holder.get(&format!("{}?status=FREE", path(&sale))).await;
    assert_eq!(refused.expect_problem(422, "VALIDATION_FAILED").json()["errors"][0]["parameter"], "status");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unchanged_seat_map_is_not_sent_again(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    let first = map(&buyer, &sale).await;
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let tag = first.header("etag").to_owned();
    app.advance(17);
    app.tick().await;
    for instance in 0..2 {
        let buyer = app.at_instance(&buyer, instance);
        assert_eq!(map(&buyer, &sale).await.bytes, first.bytes, "instance {instance}");
        assert_eq!(etag(&buyer, &sale).await, tag, "instance {instance}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let reply = buyer.send(Method::GET, &path(&sale), &[("If-None-Match", &known)], None).await.expect(304);
            assert!(reply.bytes.is_empty() && reply.header("etag") == tag, "{reply:?}");
            assert_eq!(reply.header("cache-control"), "private, no-cache");
        }
        let reply = buyer.send(Method::GET, &path(&sale), &[("If-None-Match", "\"x\"")], None).await;
        assert_eq!(reply.expect(200).bytes, first.bytes);
    }
}

/// Each hold makes a new version of the map, which stays in memory until the answers with it are read.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_unread_maps_of_a_user_are_limited(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("MAX_UNREAD_MAP_BYTES_PER_USER", "2500")]);
    let sale = app.sale(1, 10).await;
    let (buyer, other) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let mut unread = vec![buyer.download(&path(&sale)).await];
    for seat in &sale.seats[..2] {
        // Readers of one version share its bytes.
        unread.push(buyer.download(&path(&sale)).await);
        buyer.hold(sale.performance_id, &[*seat]).await.expect(201);
    }
    let refused = buyer.get(&path(&sale)).await.expect_problem(429, "RATE_LIMITED");
    assert_eq!(refused.json()["limit"], "unread-maps-per-user");
    let mut stream = buyer.open_stream(&format!("{}/events", path(&sale)), &[]).await;
    assert!(stream.next_event().await.is_none());
    map(&other, &sale).await;
    unread.truncate(2);
    map(&buyer, &sale).await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_seat_change_changes_the_etag_on_every_server(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 3).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let mut tags = Vec::new();
    let mut versions = Vec::new();
    let mut look = async |after: &str| {
        let reply = map(&app.at_instance(&buyer, 0), &sale).await;
        let tag = reply.header("etag").to_owned();
        assert!(!tags.contains(&tag), "after {after}: {tag} in {tags:?}");
        assert_eq!(etag(&app.at_instance(&buyer, 1), &sale).await, tag, "after {after}");
        tags.push(tag);
        versions.push(reply.json()["version"].as_u64().unwrap());
        app.clock.advance(TimeDelta::milliseconds(1));
    };
    look("nothing").await;
    let paid = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    look("a hold").await;
    let cancelled = buyer.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201).text("bookingId");
    look("another hold").await;
    cancel(&buyer, &cancelled).await;
    look("a cancellation").await;
    buyer.hold(sale.performance_id, &sale.seats[2..]).await.expect(201);
    look("the third hold").await;
    buyer.pay(&paid, "pay").await.expect(201);
    look("a payment").await;
    app.advance(300);
    look("an expiry").await;
    cancel(&buyer, &paid).await;
    look("a refund").await;
    assert!(versions.is_sorted(), "versions only grow: {versions:?}");
    let before = etag(&buyer, &sale).await;
    app.tick().await;
    assert_eq!(etag(&buyer, &sale).await, before, "writing down an expiry changes no seat");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unknown_performance_has_no_seat_map(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer(&sale).await;
    for id in ["999999", "0", "-1", "x", "1.5", "99999999999999999999"] {
        let reply = buyer.get(&format!("/api/v1/performances/{id}/seats")).await;
        reply.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    }
}

/// Another server's change shows after the cache age, a change of the same server at once, and so does a
/// hold that expires.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_seat_map_is_no_older_than_its_cache_age(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 2, &[("SEAT_MAP_CACHE_MILLISECONDS", "3")]);
    let sale = app.sale(1, 3).await;
    let buyer = app.buyer(&sale).await;
    let [here, there] = [app.at_instance(&buyer, 0), app.at_instance(&buyer, 1)];
    let statuses = async |client: &Client| {
        let map = map(client, &sale).await.json();
        map["seats"].as_array().unwrap().iter().map(|seat| seat["status"].clone()).collect::<Vec<_>>()
    };
    let (free, held) = (["AVAILABLE"; 3], ["HELD", "AVAILABLE", "AVAILABLE"]);
    let both = async || (statuses(&here).await, statuses(&there).await);
    assert_eq!(both().await, (free.map(Value::from).to_vec(), free.map(Value::from).to_vec()));
    let booking = here.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    assert_eq!(both().await, (held.map(Value::from).to_vec(), free.map(Value::from).to_vec()));
    app.clock.advance(TimeDelta::milliseconds(2));
    assert_eq!(statuses(&there).await, free);
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(both().await, (held.map(Value::from).to_vec(), held.map(Value::from).to_vec()));
    cancel(&there, &booking).await;
    assert_eq!(both().await, (held.map(Value::from).to_vec(), free.map(Value::from).to_vec()));

    here.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    app.clock.advance(TimeDelta::seconds(300) - TimeDelta::milliseconds(1));
    assert_eq!(both().await, (held.map(Value::from).to_vec(), held.map(Value::from).to_vec()));
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(both().await, (free.map(Value::from).to_vec(), free.map(Value::from).to_vec()));
}
