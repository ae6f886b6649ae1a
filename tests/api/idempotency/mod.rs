//! Idempotency keys: one effect each, and replays of its answer.

mod concurrent;

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request},
};
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Reply, Sale, Tables, TestApp};

const CHARGES: &str = "/api/v1/points/charges";
const PAYMENTS: &str = "/api/v1/payments";
const BOOKINGS: &str = "/api/v1/bookings";

async fn keyed(client: &Client, path: &str, key: &str, body: &str) -> Reply {
    let headers = [("Idempotency-Key", key), ("Content-Type", "application/json")];
    client.send_raw(Method::POST, path, &headers, body.to_owned()).await
}

async fn hold(client: &Client, sale: &Sale, seat: usize) -> String {
    client.hold(sale.performance_id, &sale.seats[seat..=seat]).await.expect(201).text("bookingId")
}

fn hold_body(sale: &Sale, seat: usize) -> String {
    json!({"performanceId": sale.performance_id, "seatIds": [sale.seats[seat]]}).to_string()
}

/// Asserts the same answer as before, byte for byte, marked as a replay.
#[track_caller]
fn assert_replay(again: &Reply, first: &Reply) {
    let text = |reply: &Reply| (reply.status, String::from_utf8_lossy(&reply.bytes).into_owned());
    assert_eq!(text(again), text(first));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn charges_and_payments_need_a_key_and_malformed_keys_are_refused(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = hold(&buyer, &sale, 0).await;
    let pay = json!({"bookingId": booking}).to_string();
    let change = |what: &str| format!("{BOOKINGS}/{booking}/{what}");
    let routes = [
        (CHARGES.to_owned(), r#"{"amount":"1"}"#.to_owned()),
        (PAYMENTS.to_owned(), pay),
        (BOOKINGS.to_owned(), hold_body(&sale, 1)),
        (change("extend"), "{}".to_owned()),
        (change("cancel"), "{}".to_owned()),
    ];
    let before = tables.checksums().await;
    for (path, body) in &routes[..2] {
        let headers = [("Content-Type", "application/json")];
        let reply = buyer.send_raw(Method::POST, path, &headers, body.clone()).await;
        reply.expect_problem(400, "IDEMPOTENCY_KEY_REQUIRED");
    }
    let malformed =
        [Vec::new(), vec![b'k'; 256], b"a b".to_vec(), b" ".to_vec(), b"a\tb".to_vec(), "é".into(), vec![255]];
    for (path, body) in &routes {
        for key in &malformed {
            let request = Request::post(path)
                .header("Authorization", format!("Bearer {}", buyer.token()))
                .header("Queue-Token", buyer.queue_token())
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", HeaderValue::from_bytes(key).unwrap())
                .body(Body::from(body.clone()))
                .unwrap();
            buyer.send_request(request).await.expect_problem(400, "IDEMPOTENCY_KEY_REQUIRED");
        }
    }
    assert_eq!(tables.checksums().await, before);
    // Authentication and validation come first.
    let anonymous = app.anonymous().post(CHARGES, json!({"amount": 0})).await;
    anonymous.expect_problem(401, "UNAUTHENTICATED");
    buyer.post(CHARGES, json!({"amount": 0})).await.expect_problem(422, "VALIDATION_FAILED");
    buyer.post(PAYMENTS, json!([])).await.expect_problem(422, "VALIDATION_FAILED");
    // The key comes before the queue token.
    let gone = buyer.clone().with_queue_token("garbage");
    gone.post(PAYMENTS, json!({"bookingId": booking})).await.expect_problem(400, "IDEMPOTENCY_KEY_REQUIRED");

    let visible: String = ('!'..='~').collect();
    for key in [&"k".repeat(255), "1", &visible] {
        keyed(&buyer, CHARGES, key, r#"{"amount":"1"}"#).await.expect(201);
    }
    assert_eq!(buyer.balance().await, "50003");
}

/// Each of the five requests is repeated much later, here and on another server.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_repeated_request_replays_its_first_answer_byte_for_byte(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer(&sale).await;
    let held = keyed(&buyer, BOOKINGS, "k", &hold_body(&sale, 0)).await.expect(201);
    let charged = keyed(&buyer, CHARGES, "k", r#"{ "amount": 200000, "paymentMethod": "CARD" }"#).await.expect(201);
    app.advance(1);
    let booking = held.text("bookingId");
    let (extend, cancel) = (format!("{BOOKINGS}/{booking}/extend"), format!("{BOOKINGS}/{booking}/cancel"));
    let extended = keyed(&buyer, &extend, "k", "").await.expect(200);
    let pay = json!({"bookingId": booking}).to_string();
    let paid = keyed(&buyer, PAYMENTS, "k", &pay).await.expect(201);
    let cancelled = keyed(&buyer, &cancel, "k", "{}").await.expect(200);
    assert_eq!(held.json()["secondsLeft"], 300);
    assert_eq!(cancelled.json()["status"], "REFUNDED");

    let before = tables.checksums().await;
    // Keys are kept for longer than 23 hours.
    for seconds in [0, 400, 82_000] {
        app.advance(seconds);
        for instance in 0..2 {
            let client = app.at_instance(&buyer, instance);
            assert_replay(&keyed(&client, BOOKINGS, "k", &hold_body(&sale, 0)).await, &held);
            let charge = keyed(&client, CHARGES, "k", r#"{ "amount": 200000, "paymentMethod": "CARD" }"#).await;
            assert_replay(&charge, &charged);
            assert_replay(&keyed(&client, &extend, "k", "").await, &extended);
            assert_replay(&keyed(&client, PAYMENTS, "k", &pay).await, &paid);
            assert_replay(&keyed(&client, &cancel, "k", "{}").await, &cancelled);
        }
    }
    assert_eq!(tables.checksums().await, before);
    app.assert_invariants_hold().await;
}

/// A replay needs only the bearer token and the key: the queue token is completed, absent, invalid, or another user's.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_replay_needs_no_queue_token(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let other = app.buyer(&sale).await;
    let held = keyed(&buyer, BOOKINGS, "hold", &hold_body(&sale, 0)).await.expect(201);
    let booking = held.text("bookingId");
    let extend = format!("{BOOKINGS}/{booking}/extend");
    let extended = keyed(&buyer, &extend, "extend", "{}").await.expect(200);
    let pay = json!({"bookingId": booking}).to_string();
    let paid = keyed(&buyer, PAYMENTS, "pay", &pay).await.expect(201);
    assert_eq!(buyer.get("/api/v1/queue/tokens/current").await.expect(200).text("status"), "COMPLETED");

    for client in [
        buyer.clone(),
        buyer.clone().without_queue_token(),
        buyer.clone().with_queue_token("garbage"),
        buyer.clone().with_queue_token(other.queue_token()),
    ] {
        assert_replay(&keyed(&client, BOOKINGS, "hold", &hold_body(&sale, 0)).await, &held);
        assert_replay(&keyed(&client, &extend, "extend", "{}").await, &extended);
        assert_replay(&keyed(&client, PAYMENTS, "pay", &pay).await, &paid);
        let reused = keyed(&client, PAYMENTS, "pay", &json!({"bookingId": Uuid::nil()}).to_string()).await;
        reused.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    keyed(&buyer, PAYMENTS, "new", &pay).await.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    let anonymous = keyed(&app.anonymous(), PAYMENTS, "pay", &pay).await;
    anonymous.expect_problem(401, "UNAUTHENTICATED");
    // After the session's end the key alone isn't enough.
    buyer.send(Method::POST, "/api/v1/auth/logout", &[], None).await.expect(204);
    keyed(&buyer, PAYMENTS, "pay", &pay).await.expect_problem(401, "UNAUTHENTICATED");
}

/// The cause of each refusal is removed afterwards; the key still replays the refusal, with the first request's id.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn refusals_by_the_rules_are_recorded(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    let (buyer, other) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let mut kept = Vec::new();
    let booking = hold(&buyer, &sale, 0).await;
    let pay = json!({"bookingId": booking}).to_string();
    let short = keyed(&buyer, PAYMENTS, "402", &pay).await.expect_problem(402, "INSUFFICIENT_POINTS");
    kept.push((PAYMENTS.to_owned(), "402", pay.clone(), short));
    buyer.charge("200000").await;

    let unknown = json!({"performanceId": sale.performance_id, "seatIds": [9_999_999]}).to_string();
    let absent = keyed(&buyer, BOOKINGS, "404", &unknown).await.expect_problem(404, "SEAT_NOT_FOUND");
    kept.push((BOOKINGS.to_owned(), "404", unknown, absent));
    let foreign = hold(&other, &sale, 1).await;
    let foreign_pay = json!({"bookingId": foreign}).to_string();
    let hidden = keyed(&buyer, PAYMENTS, "404", &foreign_pay).await.expect_problem(404, "BOOKING_NOT_FOUND");
    kept.push((PAYMENTS.to_owned(), "404", foreign_pay, hidden));

    let taken = keyed(&buyer, BOOKINGS, "409", &hold_body(&sale, 1)).await.expect_problem(409, "SEATS_UNAVAILABLE");
    assert_eq!(taken.json()["conflicts"], json!([{"seatId": sale.seats[1], "reason": "HELD"}]));
    kept.push((BOOKINGS.to_owned(), "409", hold_body(&sale, 1), taken));
    other.post(&format!("{BOOKINGS}/{foreign}/cancel"), json!({})).await.expect(200);

    let extend = format!("{BOOKINGS}/{booking}/extend");
    keyed(&buyer, &extend, "200", "{}").await.expect(200);
    let twice = keyed(&buyer, &extend, "409", "{}").await.expect_problem(409, "HOLD_ALREADY_EXTENDED");
    kept.push((extend.clone(), "409", "{}".to_owned(), twice));
    app.advance(420);
    let late = keyed(&buyer, PAYMENTS, "410", &pay).await.expect_problem(410, "HOLD_EXPIRED");
    kept.push((PAYMENTS.to_owned(), "410", pay, late));
    let late = keyed(&buyer, &extend, "410", "{}").await.expect_problem(410, "HOLD_EXPIRED");
    kept.push((extend, "410", "{}".to_owned(), late));
    let cancel = format!("{BOOKINGS}/{booking}/cancel");
    let over = keyed(&buyer, &cancel, "409", "{}").await.expect_problem(409, "BOOKING_NOT_CANCELLABLE");
    kept.push((cancel, "409", "{}".to_owned(), over));

    for instance in 0..2 {
        let client = app.at_instance(&buyer, instance);
        for (path, key, body, first) in &kept {
            let again = keyed(&client, path, key, body).await;
            assert_replay(&again, first);
            assert_eq!(again.text("requestId"), first.header("x-request-id"));
        }
    }
    // The causes are gone: other keys work.
    keyed(&buyer, BOOKINGS, "new", &hold_body(&sale, 1)).await.expect(201);
    assert_eq!(buyer.balance().await, "200000");
    app.assert_invariants_hold().await;
}

/// Requests that fail authentication or validation: once corrected, the same key works.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn answers_other_than_the_rules_are_not_recorded(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    let buyer = sale.join(app.user().await).await;
    let other = sale.join(app.user().await).await;
    let body = hold_body(&sale, 0);
    let one = r#"{"amount":"1"}"#;

    keyed(&app.anonymous(), CHARGES, "k", one).await.expect_problem(401, "UNAUTHENTICATED");
    let text = [("Idempotency-Key", "k"), ("Content-Type", "text/plain")];
    let reply = buyer.send_raw(Method::POST, CHARGES, &text, one).await;
    reply.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
    keyed(&buyer, CHARGES, "k", "{").await.expect_problem(400, "MALFORMED_REQUEST");
    keyed(&buyer, CHARGES, "k", r#"{"amount":"0"}"#).await.expect_problem(422, "VALIDATION_FAILED");
    keyed(&buyer, CHARGES, "k", &" ".repeat(65_537)).await.expect_problem(413, "PAYLOAD_TOO_LARGE");
    let stale = [("Idempotency-Key", "k"), ("If-Match", "\"7\""), ("Content-Type", "application/json")];
    buyer.send_raw(Method::POST, CHARGES, &stale, one).await.expect_problem(412, "PRECONDITION_FAILED");

    let without = buyer.clone().without_queue_token();
    keyed(&without, BOOKINGS, "k", &body).await.expect_problem(401, "QUEUE_TOKEN_REQUIRED");
    let garbage = buyer.clone().with_queue_token("garbage");
    keyed(&garbage, BOOKINGS, "k", &body).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
    let foreign = buyer.clone().with_queue_token(other.queue_token());
    keyed(&foreign, BOOKINGS, "k", &body).await.expect_problem(403, "QUEUE_TOKEN_NOT_YOURS");
    keyed(&buyer, BOOKINGS, "k", &body).await.expect_problem(403, "QUEUE_TOKEN_NOT_ACTIVE");
    assert_eq!(tables.count("SELECT COUNT(*) FROM idempotency_keys").await, 0);

    let charged = keyed(&buyer, CHARGES, "k", one).await.expect(201);
    assert_eq!(charged.header("idempotency-replayed"), "");
    // Recorded now, whatever the condition says.
    assert_replay(&buyer.send_raw(Method::POST, CHARGES, &stale, one).await, &charged);
    app.tick().await;
    let held = keyed(&buyer, BOOKINGS, "k", &body).await.expect(201);
    assert_eq!(held.header("idempotency-replayed"), "");
    app.advance(601);
    let gone = keyed(&buyer, BOOKINGS, "later", &hold_body(&sale, 1)).await;
    gone.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    app.tick().await;
    let buyer = sale.join(buyer.without_queue_token()).await;
    app.tick().await;
    keyed(&buyer, BOOKINGS, "later", &hold_body(&sale, 1)).await.expect(201);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_key_with_another_body_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer(&sale).await;
    let charged = keyed(&buyer, CHARGES, "k", r#"{"amount":"1"}"#).await.expect(201);
    let held = keyed(&buyer, BOOKINGS, "k", &hold_body(&sale, 0)).await.expect(201);
    let booking = held.text("bookingId");
    let pay = json!({"bookingId": booking}).to_string();
    let short = keyed(&buyer, PAYMENTS, "k", &pay).await.expect_problem(402, "INSUFFICIENT_POINTS");
    let (extend, cancel) = (format!("{BOOKINGS}/{booking}/extend"), format!("{BOOKINGS}/{booking}/cancel"));
    keyed(&buyer, &extend, "k", "").await.expect(200);
    keyed(&buyer, &cancel, "k", "{}").await.expect(200);
    let before = tables.checksums().await;
    for (path, body) in [
        (CHARGES, r#"{"amount":"2"}"#.to_owned()),
        // Equal as JSON, but not the same bytes.
        (CHARGES, r#"{"amount": "1"}"#.to_owned()),
        (CHARGES, r#"{"amount":1}"#.to_owned()),
        (BOOKINGS, hold_body(&sale, 1)),
        (PAYMENTS, format!("{pay} ")),
        (&extend, "{}".to_owned()),
        (&cancel, String::new()),
    ] {
        let reply = keyed(&buyer, path, "k", &body).await.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(reply.header("idempotency-replayed"), "");
    }
    // An invalid body is reported first.
    keyed(&buyer, CHARGES, "k", r#"{"amount":"x"}"#).await.expect_problem(422, "VALIDATION_FAILED");
    assert_eq!(tables.checksums().await, before);
    assert_replay(&keyed(&buyer, CHARGES, "k", r#"{"amount":"1"}"#).await, &charged);
    assert_replay(&keyed(&buyer, PAYMENTS, "k", &pay).await, &short);
    assert_eq!(buyer.balance().await, "1");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_key_belongs_to_one_user_and_one_path(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let (jin, mina) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let body = r#"{"amount":"50000"}"#;
    let mut transactions = Vec::new();
    for client in [&jin, &mina] {
        let charged = keyed(client, CHARGES, "k", body).await.expect(201);
        assert_eq!(charged.header("idempotency-replayed"), "");
        transactions.push(charged.text("transactionId"));
    }
    assert_ne!(transactions[0], transactions[1]);
    assert_eq!((jin.balance().await.as_str(), mina.balance().await.as_str()), ("50000", "50000"));

    let held = keyed(&jin, BOOKINGS, "k", &hold_body(&sale, 0)).await.expect(201).text("bookingId");
    let other = keyed(&jin, BOOKINGS, "l", &hold_body(&sale, 1)).await.expect(201).text("bookingId");
    let pay = json!({"bookingId": held}).to_string();
    for booking in [&held, &other] {
        let extended = keyed(&jin, &format!("{BOOKINGS}/{booking}/extend"), "k", "{}").await.expect(200);
        assert_eq!((&extended.text("bookingId"), extended.header("idempotency-replayed")), (booking, ""));
    }
    keyed(&jin, PAYMENTS, "k", &pay).await.expect(201);
    let cancelled = keyed(&jin, &format!("{BOOKINGS}/{other}/cancel"), "k", "{}").await.expect(200);
    assert_eq!((cancelled.text("status").as_str(), cancelled.header("idempotency-replayed")), ("CANCELLED", ""));
    // Case matters, and so does every character.
    for key in ["K", "k.", "kk"] {
        keyed(&jin, CHARGES, key, body).await.expect(201);
    }
    assert_eq!(jin.balance().await, "150000");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn without_a_key_a_repeated_request_is_a_new_one(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    let booking = hold(&buyer, &sale, 0).await;
    buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect_problem(409, "SEATS_UNAVAILABLE");
    let extend = format!("{BOOKINGS}/{booking}/extend");
    buyer.post(&extend, json!({})).await.expect(200);
    buyer.post(&extend, json!({})).await.expect_problem(409, "HOLD_ALREADY_EXTENDED");
    let again = buyer.post(&format!("{BOOKINGS}/{booking}/cancel"), json!({})).await.expect(200);
    assert_eq!(again.header("idempotency-replayed"), "");
}
