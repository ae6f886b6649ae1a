//! Holding the best available seats.

use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, Sale, TestApp};

/// The seats of an answer as "Floor A 4 5": section, row and numbers, for each row.
fn places(reply: &Reply) -> Vec<String> {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for seat in reply.json()["seats"].as_array().unwrap() {
        let row = format!("{} {}", seat["section"].as_str().unwrap(), seat["row"].as_str().unwrap());
        match rows.iter_mut().find(|(other, _)| *other == row) {
            Some((_, numbers)) => numbers.push(seat["number"].to_string()),
            None => rows.push((row, vec![seat["number"].to_string()])),
        }
    }
    rows.into_iter().map(|(row, numbers)| format!("{row} {}", numbers.join(" "))).collect()
}

async fn best(client: &Client, sale: &Sale, selection: Value) -> Reply {
    client.hold_best_available(sale.performance_id, selection).await
}

/// A hall of three sections, the most expensive first.
async fn hall(app: &TestApp) -> Sale {
    let section = |name: &str, grade: &str, rows: u64, price: &str| json!({"name": name, "grade": grade, "rows": rows, "seatsPerRow": 6, "price": price});
    let sections = [
        section("Floor", "VIP", 2, "90000"),
        section("Stand", "R", 3, "50000.50"),
        section("Balcony", "R", 1, "30000"),
    ];
    app.sale_of(&sections).await
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_best_seats_are_adjacent_in_front_and_in_the_middle(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(2, 10).await;
    // The middle first; then a selection that leaves no single seat.
    let expected = [
        (2, "Floor A 5 6"),
        (3, "Floor B 4 5 6"),
        (4, "Floor A 1 2 3 4"),
        (2, "Floor A 7 8"),
        (1, "Floor B 7"),
        (2, "Floor A 9 10"),
        (2, "Floor B 2 3"),
    ];
    for (quantity, expected) in expected {
        let buyer = app.buyer(&sale).await;
        let reply = best(&buyer, &sale, json!({"quantity": quantity})).await.expect(201);
        assert_eq!(places(&reply), [expected]);
        assert_eq!(buyer.booking(&reply.text("bookingId")).await["seats"], reply.json()["seats"]);
    }
    // No three adjacent seats are left.
    let buyer = app.buyer(&sale).await;
    assert_eq!(places(&best(&buyer, &sale, json!({"quantity": 4})).await.expect(201)), ["Floor B 1 8 9 10"]);
    let problem = best(&app.buyer(&sale).await, &sale, json!({"quantity": 1})).await;
    let problem = problem.expect_problem(409, "SEATS_UNAVAILABLE").json();
    assert_eq!(problem["conflicts"], json!([]));
    assert_eq!(problem["detail"], "Of 20 seats 0 are free: 1 were asked for.");
    // Seats of an expired hold can be selected again before any job has run.
    app.advance(300);
    let buyer = app.buyer(&sale).await;
    assert_eq!(places(&best(&buyer, &sale, json!({"quantity": 2})).await.expect(201)), ["Floor A 5 6"]);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn section_grade_and_price_are_respected_or_the_hold_is_refused(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let sale = hall(&app).await;
    let expected = [
        (json!({"quantity": 1}), "Floor A 3"),
        (json!({"quantity": 2, "grade": "R"}), "Stand A 3 4"),
        (json!({"quantity": 4, "section": " Balcony "}), "Balcony A 1 2 3 4"),
        (json!({"quantity": 2, "maxPrice": "50000.50", "section": null, "grade": null}), "Stand A 1 2"),
        (json!({"quantity": 2, "maxPrice": 50_000}), "Balcony A 5 6"),
    ];
    for (selection, place) in expected {
        let buyer = app.buyer(&sale).await;
        let reply = best(&buyer, &sale, selection.clone()).await.expect(201);
        assert_eq!(places(&reply), [place], "{selection}");
    }
    let buyer = app.buyer(&sale).await;
    let refused = [
        (json!({"quantity": 1, "maxPrice": "50000"}), "Of 6 seats at 50000 at most 0 are free: 1 were asked for."),
        (
            json!({"quantity": 1, "section": "Floor", "grade": "R"}),
            "Of 0 seats in section Floor of grade R 0 are free: 1 were asked for.",
        ),
        (json!({"quantity": 1, "section": "floor"}), "Of 0 seats in section floor 0 are free: 1 were asked for."),
    ];
    for (selection, detail) in refused {
        let problem = best(&buyer, &sale, selection).await.expect_problem(409, "SEATS_UNAVAILABLE").json();
        assert_eq!((&problem["conflicts"], &problem["detail"]), (&json!([]), &json!(detail)));
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn best_available_holds_obey_the_rules_of_named_seats(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(2, 10).await;
    let buyer = app.buyer(&sale).await;
    let path = "/api/v1/bookings";
    // The seat limit.
    let refused = best(&buyer, &sale, json!({"quantity": 5})).await.expect_problem(409, "SEAT_LIMIT_EXCEEDED").json();
    assert_eq!((&refused["limit"], &refused["live"]), (&json!(4), &json!(0)));
    // A key has one effect and one answer.
    let selection = json!({"performanceId": sale.performance_id, "bestAvailable": {"quantity": 3}});
    let first = buyer.post_keyed(path, "key", selection.clone()).await.expect(201);
    let second = app.at_instance(&buyer, 1).post_keyed(path, "key", selection.clone()).await.expect(201);
    assert_eq!((second.header("idempotency-replayed"), &second.bytes), ("true", &first.bytes));
    let refused = buyer.post_keyed(path, "another", selection.clone()).await.expect_problem(409, "SEAT_LIMIT_EXCEEDED");
    assert_eq!(refused.json()["live"], 3);
    // A queue token of this concert, and a performance that is on sale.
    buyer.clone().without_queue_token().post(path, selection.clone()).await.expect_problem(401, "QUEUE_TOKEN_REQUIRED");
    let other = app.sale(1, 3).await;
    best(&buyer, &other, json!({"quantity": 1})).await.expect_problem(403, "QUEUE_TOKEN_WRONG_CONCERT");
    buyer.hold_best_available(999, json!({"quantity": 1})).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    let admin = app.admin().await;
    admin.post(&format!("/api/v1/admin/performances/{}/cancel", sale.performance_id), json!({})).await.expect(202);
    let buyer = app.buyer(&sale).await;
    best(&buyer, &sale, json!({"quantity": 1})).await.expect_problem(409, "SALES_CLOSED");
    app.assert_invariants_hold().await;
}

/// The best seats of an unknown performance are requested; later the performance is added.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn best_available_finds_a_performance_added_later(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 3).await;
    let buyer = app.buyer(&sale).await;
    let next = sale.performance_id + 1;
    buyer.hold_best_available(next, json!({"quantity": 1})).await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    let (added, seats) = sale.add_performance(&app, "2026-12-24T19:00:00Z", 1, 3).await;
    assert_eq!(added, next);
    let booking = buyer.hold_best_available(next, json!({"quantity": 1})).await.expect(201).json();
    assert_eq!(booking["seats"][0]["seatId"], seats[0]);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_invalid_field_of_a_seat_selection_is_named(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 3).await;
    let buyer = app.buyer(&sale).await;
    let best = |selection: Value| json!({"performanceId": sale.performance_id, "bestAvailable": selection});
    let long = "x".repeat(201);
    let bad = [
        (json!({"performanceId": sale.performance_id}), vec!["/seatIds"]),
        (
            json!({"performanceId": sale.performance_id, "seatIds": [1], "bestAvailable": {"quantity": 1}}),
            vec!["/bestAvailable"],
        ),
        (
            json!({"performanceId": 0, "bestAvailable": {"quantity": 0}}),
            vec!["/performanceId", "/bestAvailable/quantity"],
        ),
        (best(json!({})), vec!["/bestAvailable/quantity"]),
        (best(json!([])), vec!["/bestAvailable"]),
        (best(json!({"quantity": 101})), vec!["/bestAvailable/quantity"]),
        (best(json!({"quantity": "1"})), vec!["/bestAvailable/quantity"]),
        (best(json!({"quantity": 1.0})), vec!["/bestAvailable/quantity"]),
        (
            best(json!({"quantity": -1, "grade": "", "section": long, "maxPrice": "1e3", "row": "A"})),
            vec![
                "/bestAvailable/quantity",
                "/bestAvailable/grade",
                "/bestAvailable/section",
                "/bestAvailable/maxPrice",
                "/bestAvailable/row",
            ],
        ),
        (best(json!({"quantity": 1, "maxPrice": -1})), vec!["/bestAvailable/maxPrice"]),
        (best(json!({"quantity": 1, "maxPrice": "1.234"})), vec!["/bestAvailable/maxPrice"]),
        (
            best(json!({"quantity": 1, "grade": 1, "section": "a\u{0}"})),
            vec!["/bestAvailable/grade", "/bestAvailable/section"],
        ),
    ];
    for (body, pointers) in bad {
        let problem =
            buyer.post("/api/v1/bookings", body.clone()).await.expect_problem(422, "VALIDATION_FAILED").json();
        let named: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(named, pointers, "{body}");
    }
    assert_eq!(sale.available(&buyer).await, 3);
}
