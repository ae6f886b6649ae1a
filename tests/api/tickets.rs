//! Tickets, their codes and pictures, and their use at the door.

use std::{fs, process::Command};

use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Receiver, Reply, Sale, TestApp, read_svg_qr};

const ADMISSIONS: &str = "/api/v1/admin/admissions";
const KEYS: &str = "/api/v1/tickets/keys";

fn path_of(booking: &str) -> String {
    format!("/api/v1/bookings/{booking}/tickets")
}

/// A booking of these seats, paid.
async fn bought(buyer: &Client, sale: &Sale, seats: &[u64]) -> String {
    let booking = buyer.hold(sale.performance_id, seats).await.expect(201).text("bookingId");
    buyer.pay(&booking, &booking).await.expect(201);
    booking
}

async fn tickets(client: &Client, booking: &str) -> Vec<Value> {
    client.get(&path_of(booking)).await.expect(200).json()["items"].as_array().unwrap().clone()
}

async fn code(client: &Client, booking: &str) -> String {
    tickets(client, booking).await[0]["code"].as_str().unwrap().to_owned()
}

async fn scan(admin: &Client, code: &str) -> Reply {
    admin.post(ADMISSIONS, json!({"code": code})).await
}

async fn cancel(client: &Client, booking: &str) -> Reply {
    client.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_confirmed_booking_has_one_ticket_per_seat(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(2, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let booking = bought(&buyer, &sale, &sale.seats[1..4]).await;
    let listed = tickets(&buyer, &booking).await;
    let booked = buyer.booking(&booking).await;
    let seats: Vec<_> = listed.iter().map(|ticket| ticket["seat"].clone()).collect();
    assert_eq!(json!(seats), booked["seats"]);
    for ticket in &listed {
        let seat = ticket["seat"]["seatId"].as_u64().unwrap().to_string();
        let expected = Uuid::new_v5(&booking.parse().unwrap(), seat.as_bytes());
        assert_eq!((&ticket["ticketId"], &ticket["admittedAt"]), (&json!(expected), &Value::Null));
    }
    // The same on every server and at any time.
    app.advance(60);
    for client in app.on_every_server(&buyer) {
        assert_eq!(tickets(&client, &booking).await, listed);
    }
    let reply = buyer.get(&path_of(&booking)).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    app.anonymous().get(&path_of(&booking)).await.expect_problem(401, "UNAUTHENTICATED");
    for other in [app.user().await, app.admin().await] {
        other.get(&path_of(&booking)).await.expect_problem(404, "BOOKING_NOT_FOUND");
    }
    for id in ["1", &Uuid::nil().to_string()] {
        buyer.get(&path_of(id)).await.expect_problem(404, "BOOKING_NOT_FOUND");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn only_a_confirmed_booking_has_tickets(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 8).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let refunded = bought(&buyer, &sale, &sale.seats[..1]).await;
    let ticket = tickets(&buyer, &refunded).await.remove(0);
    cancel(&buyer, &refunded).await.expect(200);
    let buyer = sale.admit(buyer.without_queue_token()).await;
    let hold = async |seat: usize| buyer.hold(sale.performance_id, &sale.seats[seat..=seat]).await.expect(201);
    let cancelled = hold(1).await.text("bookingId");
    cancel(&buyer, &cancelled).await.expect(200);
    let held = hold(2).await.text("bookingId");
    let refuse = async |booking: &str| {
        buyer.get(&path_of(booking)).await.expect_problem(409, "BOOKING_NOT_CONFIRMED");
        let qr = format!("{}/{}/qr", path_of(booking), ticket["ticketId"].as_str().unwrap());
        buyer.get(&qr).await.expect_problem(409, "BOOKING_NOT_CONFIRMED");
    };
    for booking in [&refunded, &cancelled, &held] {
        refuse(booking).await;
    }
    app.advance(301);
    refuse(&held).await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_picture_of_a_ticket_reads_as_its_code(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    // A short name, and one that is cut off.
    let section = json!({"name": "2층 왼쪽 ".repeat(20), "grade": "R", "rows": 1, "seatsPerRow": 2, "price": "50000"});
    let sale = app.sale_of(&[Sale::floor(1, 2), section]).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let booking = bought(&buyer, &sale, &sale.seats[1..3]).await;
    for ticket in tickets(&buyer, &booking).await {
        let path = format!("{}/{}/qr", path_of(&booking), ticket["ticketId"].as_str().unwrap());
        let picture = buyer.get(&path).await.expect(200);
        assert_eq!(picture.header("content-type"), "image/svg+xml");
        assert_eq!(picture.header("cache-control"), "private, no-cache");
        assert_eq!(picture.header("content-security-policy"), "default-src 'none'");
        let svg = String::from_utf8(picture.bytes.clone()).unwrap();
        assert!(["<script", "style", "href", "<image"].iter().all(|active| !svg.contains(active)), "{svg}");
        assert_eq!(read_svg_qr(&svg), ticket["code"].as_str().unwrap());
        let etag = picture.header("etag").to_owned();
        let get = axum::http::Method::GET;
        let known = app.at_instance(&buyer, 1).send(get, &path, &[("If-None-Match", &etag)], None).await.expect(304);
        assert!(known.bytes.is_empty());
        app.user().await.get(&path).await.expect_problem(404, "BOOKING_NOT_FOUND");
    }
    let other = bought(&sale.admit(buyer.clone().without_queue_token()).await, &sale, &sale.seats[..1]).await;
    let foreign = tickets(&buyer, &other).await[0]["ticketId"].as_str().unwrap().to_owned();
    for id in [&*foreign, "1", &Uuid::nil().to_string()] {
        buyer.get(&format!("{}/{id}/qr", path_of(&booking))).await.expect_problem(404, "TICKET_NOT_FOUND");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_ticket_is_used_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 2, &[("WEBHOOK_ALLOW_PRIVATE", "true")]);
    let admin = app.admin().await;
    let webhook = json!({"url": receiver.url, "types": ["ticket.used"]});
    admin.post("/api/v1/admin/webhooks", webhook).await.expect(201);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let booking = bought(&buyer, &sale, &sale.seats[..2]).await;
    let ticket = tickets(&buyer, &booking).await.remove(1);
    let code = ticket["code"].as_str().unwrap();
    buyer.post(ADMISSIONS, json!({"code": code})).await.expect_problem(403, "FORBIDDEN");
    app.advance(1);
    let admitted = scan(&admin, code).await.expect(200).json();
    assert_eq!((&admitted["ticketId"], &admitted["seat"]), (&ticket["ticketId"], &ticket["seat"]));
    assert_eq!((&admitted["performanceId"], &admitted["bookingId"]), (&json!(sale.performance_id), &json!(booking)));
    app.advance(60);
    for door in app.on_every_server(&admin) {
        let refused = scan(&door, code).await.expect_problem(409, "TICKET_ALREADY_USED");
        assert_eq!(refused.json()["admittedAt"], admitted["admittedAt"]);
    }
    let listed = tickets(&buyer, &booking).await;
    assert_eq!((&listed[0]["admittedAt"], &listed[1]["admittedAt"]), (&Value::Null, &admitted["admittedAt"]));

    let actions = admin.get("/api/v1/admin/actions").await.expect(200).json();
    let entry = &actions["items"][0];
    assert_eq!((&entry["action"], &entry["targetId"]), (&json!("ticket.used"), &ticket["ticketId"]));
    assert_eq!((&entry["actorId"], &entry["reason"]), (&json!(admin.user_id()), &Value::Null));
    for instance in &app.instances {
        instance.relay.run_once().await.unwrap();
    }
    let event = receiver.next().await;
    assert_eq!((event.text("type"), event.text("subject")), ("ticket.used".to_owned(), booking.clone()));
    assert_eq!((event.text("partitionkey"), event.text("sequence")), (booking.clone(), "7".to_owned()));
    let data = json!({
        "ticketId": ticket["ticketId"], "bookingId": booking, "performanceId": sale.performance_id,
        "seatId": sale.seats[1],
    });
    assert_eq!(event.json()["data"], data);
    assert!(receiver.drain().is_empty());
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn tickets_of_refunded_bookings_and_cancelled_performances_are_not_valid(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let refunded = bought(&buyer, &sale, &sale.seats[..1]).await;
    let old = code(&buyer, &refunded).await;
    cancel(&buyer, &refunded).await.expect(200);
    scan(&admin, &old).await.expect_problem(409, "TICKET_NOT_VALID");
    // The same seat, sold again: the old ticket stays void.
    let buyer = sale.admit(buyer.without_queue_token()).await;
    let again = bought(&buyer, &sale, &sale.seats[..1]).await;
    scan(&admin, &old).await.expect_problem(409, "TICKET_NOT_VALID");
    // Another performance's door refuses the ticket without using it up.
    let new = code(&buyer, &again).await;
    let door = |performance: u64| json!({"code": new, "performanceId": performance});
    let other = sale.performance_id + 1;
    admin.post(ADMISSIONS, door(other)).await.expect_problem(409, "TICKET_NOT_VALID");
    admin.post(ADMISSIONS, door(sale.performance_id)).await.expect(200);
    app.admin().await.post(&format!("/api/v1/admin/performances/{}/cancel", sale.performance_id), json!({})).await;
    app.tick().await;
    assert_eq!(buyer.booking(&again).await["status"], "REFUNDED", "the promoter's cancellation refunds a used ticket");
    scan(&admin, &new).await.expect_problem(409, "TICKET_NOT_VALID");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_owner_of_a_used_ticket_cannot_cancel(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let admin = app.admin().await;
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let booking = bought(&buyer, &sale, &sale.seats[..2]).await;
    let listed = tickets(&buyer, &booking).await;
    scan(&admin, listed[0]["code"].as_str().unwrap()).await.expect(200);
    for client in app.on_every_server(&buyer) {
        cancel(&client, &booking).await.expect_problem(409, "REFUND_WINDOW_CLOSED");
    }
    scan(&admin, listed[1]["code"].as_str().unwrap()).await.expect(200);
    assert_eq!(buyer.balance().await, "100000");
    // An administrator can.
    let path = format!("/api/v1/admin/bookings/{booking}/cancel");
    admin.post(&path, json!({"reason": "The show was broken off."})).await.expect(200);
    assert_eq!(buyer.balance().await, "200000");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn forged_codes_are_not_found(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let other = "another secret of more than 32 characters";
    let app = TestApp::start(options.clone());
    let stranger = TestApp::start_with(options, 1, &[("TICKET_SECRET", other)]);
    let admin = app.admin().await;
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let booking = bought(&buyer, &sale, &sale.seats[..2]).await;
    let listed = tickets(&buyer, &booking).await;
    let codes: Vec<_> = listed.iter().map(|ticket| ticket["code"].as_str().unwrap()).collect();
    let by_another_key = {
        let client = stranger.anonymous().with_token(buyer.token().to_owned(), buyer.user_id());
        code(&client, &booking).await
    };
    // The content of one seat with the signature of the other: the last 103 characters hold the signature alone.
    let split = codes[0].len() - 103;
    let mixed = format!("{}{}", &codes[0][..split], &codes[1][split..]);
    let flipped = |at: usize| {
        let other = if codes[0].as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &codes[0][..at], &codes[0][at + 1..])
    };
    let mut forged = vec![by_another_key, mixed, codes[0].to_lowercase(), String::new(), "x".repeat(10_000)];
    forged.extend([0, 10, 40, codes[0].len() / 2, codes[0].len() - 1].map(flipped));
    forged.extend([1, 50, codes[0].len() - 1].map(|length| codes[0][..length].to_owned()));
    for code in forged {
        scan(&admin, &code).await.expect_problem(404, "TICKET_NOT_FOUND");
    }
    for code in codes {
        scan(&admin, code).await.expect(200);
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn tickets_outlive_the_rotation_of_their_secret(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (old, new) = ("a".repeat(32), "b".repeat(32));
    let start = |secrets: &str| TestApp::start_with(options.clone(), 1, &[("TICKET_SECRET", secrets)]);
    let before = start(&old);
    let sale = before.sale(1, 4).await;
    let buyer = before.buyer_with_points(&sale, "200000").await;
    let booking = bought(&buyer, &sale, &sale.seats[..2]).await;
    let printed = tickets(&buyer, &booking).await;
    let during = start(&format!("{new},{old}"));
    let keys = async |app: &TestApp| app.anonymous().get(KEYS).await.expect(200).json()["keys"].clone();
    let (first, both) = (keys(&before).await, keys(&during).await);
    assert_eq!((both.as_array().unwrap().len(), &both[1]), (2, &first[0]));
    assert_eq!(before.anonymous().get(KEYS).await.header("cache-control"), "public, max-age=3600");
    let shown = during.anonymous().with_token(buyer.token().to_owned(), buyer.user_id());
    let shown = tickets(&shown, &booking).await;
    assert_eq!(shown[0]["ticketId"], printed[0]["ticketId"]);
    assert_ne!(shown[0]["code"], printed[0]["code"]);
    let door = during.at_instance(&before.admin().await, 0);
    scan(&door, printed[0]["code"].as_str().unwrap()).await.expect(200);
    scan(&door, shown[0]["code"].as_str().unwrap()).await.expect_problem(409, "TICKET_ALREADY_USED");
    let after = start(&new);
    let door = after.at_instance(&door, 0);
    scan(&door, printed[1]["code"].as_str().unwrap()).await.expect_problem(404, "TICKET_NOT_FOUND");
    scan(&door, shown[1]["code"].as_str().unwrap()).await.expect(200);
    after.assert_invariants_hold().await;
}

/// The block of `docs/tickets.md` in this language.
fn documented(language: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tickets.md")).unwrap();
    page.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap().to_owned()
}

/// Runs a command below a new folder, and gives its output; `None` if it fails.
fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    let folder = std::env::temp_dir().join(Uuid::now_v7().to_string());
    fs::create_dir(&folder).unwrap();
    let output = Command::new(program).args(arguments).envs(variables.iter().copied()).current_dir(&folder).output();
    fs::remove_dir_all(&folder).unwrap();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_documented_commands_verify_and_read_a_code(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let booking = bought(&buyer, &sale, &sale.seats[2..3]).await;
    let ticket = tickets(&buyer, &booking).await.remove(0);
    let code = ticket["code"].as_str().unwrap();
    let key = app.anonymous().get(KEYS).await.expect(200).json()["keys"][0].clone();
    let verify = documented("sh");
    let verified = |code: &str| {
        let variables = [("code", code), ("x", key["x"].as_str().unwrap())];
        run("bash", &["-euo", "pipefail", "-c", &verify], &variables).is_some()
    };
    assert!(verified(code));
    let forged = format!("{}{}", &code[..20], code[20..].replace('B', "C"));
    assert!(!verified(&forged));
    let read = format!("import sys\ncode = sys.argv[1]\n{}", documented("python"));
    let fields = run("python3", &["-c", &read, code], &[]).unwrap();
    let seat = &ticket["seat"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let expected = [&key["kid"], &json!(sale.performance_id), &json!(booking), &seat["seatId"], &ticket["ticketId"]];
    let expected = expected.into_iter().chain([&seat["section"], &seat["row"], &seat["number"]]).map(text);
    assert_eq!(fields.lines().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}
