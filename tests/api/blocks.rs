//! Seats that administrators hold back from sale.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, Sale, Tables, TestApp};

async fn change(admin: &Client, sale: &Sale, verb: &str, seats: &[u64]) -> Reply {
    let path = format!("/api/v1/admin/performances/{}/seats/{verb}", sale.performance_id);
    admin.post(&path, json!({"seatIds": seats, "reason": "Behind the desk."})).await
}

/// The seats of an answer with their statuses.
fn statuses(reply: &Reply) -> BTreeMap<u64, String> {
    let status = |seat: &Value| (seat["seatId"].as_u64().unwrap(), seat["status"].as_str().unwrap().to_owned());
    reply.json()["seats"].as_array().unwrap().iter().map(status).collect()
}

fn all(seats: &[u64], status: &str) -> BTreeMap<u64, String> {
    seats.iter().map(|seat| (*seat, status.to_owned())).collect()
}

async fn map(client: &Client, sale: &Sale, query: &str) -> Reply {
    client.get(&format!("/api/v1/performances/{}/seats{query}", sale.performance_id)).await.expect(200)
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn blocked_seats_are_held_back_from_sale_on_every_server(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let (sale, admin) = (app.sale(1, 6).await, app.admin().await);
    let buyers = app.on_every_server(&app.buyer(&sale).await);
    let (blocked, others) = ([sale.seats[1], sale.seats[2]], [0, 3, 4, 5].map(|index| sale.seats[index]));
    let before = map(&buyers[0], &sale, "").await;
    let answer = change(&admin, &sale, "block", &blocked).await.expect(200);
    assert_eq!(statuses(&answer), all(&blocked, "BLOCKED"));
    assert_eq!(answer.json()["performanceId"], sale.performance_id);
    let mut tags = vec![before.header("etag").to_owned()];
    for buyer in &buyers {
        let now = map(buyer, &sale, "").await;
        assert!(now.json()["version"].as_i64() > before.json()["version"].as_i64());
        tags.push(now.header("etag").to_owned());
        assert_eq!(statuses(&map(buyer, &sale, "?status=BLOCKED").await), all(&blocked, "BLOCKED"));
        assert_eq!(statuses(&map(buyer, &sale, "?status=AVAILABLE").await), all(&others, "AVAILABLE"));
        assert_eq!(sale.available(buyer).await, 4);
        let refused = buyer.hold(sale.performance_id, &sale.seats[..2]).await;
        let refused = refused.expect_problem(409, "SEATS_UNAVAILABLE").json();
        assert_eq!(refused["conflicts"], json!([{"seatId": blocked[0], "reason": "BLOCKED"}]));
    }
    assert!(tags[0] != tags[1] && tags[1] == tags[2], "{tags:?}");
    let released = change(&admin, &sale, "unblock", &blocked).await.expect(200);
    assert_eq!(statuses(&released), all(&blocked, "AVAILABLE"));
    for buyer in &buyers {
        assert_eq!(statuses(&map(buyer, &sale, "").await), all(&sale.seats, "AVAILABLE"));
    }
    buyers[1].hold(sale.performance_id, &sale.seats[..2]).await.expect(201);
    // A seat that was blocked once can be blocked again.
    app.advance(301);
    change(&admin, &sale, "block", &sale.seats[..3]).await.expect(200);
    assert_eq!(sale.available(&buyers[0]).await, 3);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn best_available_takes_blocked_seats_for_occupied(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 6).await, app.admin().await);
    // Once the fourth seat is blocked, the first three are adjacent, and the last two.
    change(&admin, &sale, "block", &sale.seats[3..4]).await.expect(200);
    let held = async |quantity: u32| {
        let reply =
            app.buyer(&sale).await.hold_best_available(sale.performance_id, json!({"quantity": quantity})).await;
        reply.json()["seats"].as_array().map(|seats| seats.iter().map(|seat| seat["number"].clone()).collect())
    };
    let expected = [(3, vec![json!(1), json!(2), json!(3)]), (2, vec![json!(5), json!(6)])];
    for (quantity, numbers) in expected {
        assert_eq!(held(quantity).await, Some(numbers));
    }
    assert_eq!(held(1).await, None::<Vec<Value>>, "only the blocked seat is left");
    let concert = app.anonymous().get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect(200).json();
    assert_eq!(concert["soldOut"], true);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn all_requested_seats_are_blocked_or_none(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 4).await, app.admin().await);
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    buyer.pay(&booking, "key").await.expect(201);
    let buyer = app.buyer(&sale).await;
    buyer.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201);
    let [sold, held] = [sale.seats[0], sale.seats[1]];
    let (_, seats) = sale.add_performance(&app, "2026-12-24T19:00:00Z", 1, 1).await;
    let before = tables.checksums().await;
    let refused = change(&admin, &sale, "block", &sale.seats).await.expect_problem(409, "SEATS_UNAVAILABLE").json();
    let conflicts = json!([{"seatId": sold, "reason": "SOLD"}, {"seatId": held, "reason": "HELD"}]);
    assert_eq!(refused["conflicts"], conflicts);
    for verb in ["block", "unblock"] {
        let unknown = [sale.seats[2], seats[0]];
        change(&admin, &sale, verb, &unknown).await.expect_problem(404, "SEAT_NOT_FOUND");
        let nowhere = Sale { performance_id: 999, ..sale.clone() };
        change(&admin, &nowhere, verb, &unknown).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
        change(&buyer, &sale, verb, &unknown).await.expect_problem(403, "FORBIDDEN");
    }
    assert_eq!(tables.checksums().await, before);
    // Seats that aren't blocked stay as they are.
    let unblocked = change(&admin, &sale, "unblock", &sale.seats).await.expect(200);
    let mut expected = all(&sale.seats, "AVAILABLE");
    expected.extend([(sold, "SOLD".to_owned()), (held, "HELD".to_owned())]);
    assert_eq!(statuses(&unblocked), expected);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn blocked_seats_can_be_given_away(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 4).await, app.admin().await);
    let guest = app.buyer(&sale).await;
    change(&admin, &sale, "block", &sale.seats[..2]).await.expect(200);
    let gift = json!({
        "userId": guest.user_id(), "performanceId": sale.performance_id, "seatIds": sale.seats[1..3], "reason": "A guest.",
    });
    admin.post("/api/v1/admin/bookings", gift.clone()).await.expect(201);
    let mut expected = all(&sale.seats, "AVAILABLE");
    expected.insert(sale.seats[0], "BLOCKED".to_owned());
    expected.extend(all(&sale.seats[1..3], "SOLD"));
    assert_eq!(statuses(&map(&guest, &sale, "").await), expected);
    change(&admin, &sale, "block", &sale.seats[..2]).await.expect_problem(409, "SEATS_UNAVAILABLE");
    admin.post("/api/v1/admin/bookings", gift).await.expect_problem(409, "SEATS_UNAVAILABLE");
    app.assert_invariants_hold().await;
}

/// A repeated request changes nothing, so it writes no event; it is in the action log all the same.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn blocking_again_changes_nothing_and_each_request_is_logged(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (sale, admin) = (app.sale(1, 4).await, app.admin().await);
    for verb in ["block", "block", "unblock", "unblock"] {
        app.advance(1);
        change(&admin, &sale, verb, &sale.seats[..2]).await.expect(200);
    }
    let events = "SELECT COUNT(*) FROM outbox_events WHERE type = 'seats.changed'";
    assert_eq!(tables.count(events).await, 2);
    let log = admin.get("/api/v1/admin/actions").await.expect(200).json();
    let logged: Vec<_> = log["items"].as_array().unwrap().iter().map(|item| item["action"].as_str().unwrap()).collect();
    let (blocked, unblocked) = ("performance.seats_blocked", "performance.seats_unblocked");
    assert_eq!(logged[..4], [unblocked, unblocked, blocked, blocked]);
    let entry = &log["items"][0];
    let details = format!("2 seats: {}, {}", sale.seats[0], sale.seats[1]);
    assert_eq!((&entry["details"], &entry["reason"]), (&json!(details), &json!("Behind the desk.")));
    assert_eq!(entry["targetId"], sale.performance_id.to_string());
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn blocks_reach_the_streams_of_every_server(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let (sale, admin) = (app.sale(1, 3).await, app.admin().await);
    let path = format!("/api/v1/performances/{}/seats/events", sale.performance_id);
    let mut streams = Vec::new();
    for client in app.on_every_server(&app.buyer(&sale).await) {
        let mut events = client.open_stream(&path, &[]).await;
        assert_eq!(events.next_event().await.unwrap().name, "snapshot");
        streams.push(events);
    }
    for (verb, status) in [("block", "BLOCKED"), ("unblock", "AVAILABLE")] {
        app.advance(1);
        change(&admin, &sale, verb, &sale.seats[..1]).await.expect(200);
        for events in &mut streams {
            let event = events.next_event().await.unwrap();
            assert_eq!(event.data["changed"], json!([{"seatId": sale.seats[0], "status": status}]));
        }
    }
}
