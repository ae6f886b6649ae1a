//! The waiting queue: places, admission, deadlines, leaving.

use axum::http::Method;
use chrono::{SecondsFormat, TimeDelta};
use concert_reservation::{
    domain::{
        id::{ConcertId, QueueTokenId},
        queue::{EndReason, TokenState},
        token::{QueueClaims, TokenSigner},
    },
    infrastructure::token_signer::HmacTokenSigner,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Sale, TestApp, race};

const TOKENS: &str = "/api/v1/queue/tokens";
const CURRENT: &str = "/api/v1/queue/tokens/current";
const EVENTS: &str = "/api/v1/queue/tokens/current/events";

async fn poll(client: &Client) -> Value {
    client.get(CURRENT).await.expect(200).json()
}

async fn status(client: &Client) -> String {
    poll(client).await["status"].as_str().expect("a status is a string").to_owned()
}

/// All users poll, so that they count as present. A poll claims an admission.
async fn poll_all(clients: &[Client]) {
    futures::future::join_all(clients.iter().map(poll)).await;
}

async fn position(client: &Client) -> u64 {
    let place = poll(client).await;
    assert_eq!(place["status"], "WAITING", "{place}");
    place["position"].as_u64().expect("a waiting token has a position")
}

async fn leave(client: &Client) {
    client.delete(CURRENT).await.expect(204);
}

async fn join_all(app: &TestApp, sale: &Sale, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for user in app.users(count).await {
        clients.push(sale.join(user).await);
    }
    clients
}

/// A member of `live`, as administrators see it.
async fn live(admin: &Client, sale: &Sale, member: &str) -> u64 {
    let path = format!("/api/v1/admin/concerts/{}/queue", sale.concert_id);
    let queue = admin.get(&path).await.expect(200).json();
    queue["live"][member].as_u64().unwrap_or_else(|| panic!("no {member} in {queue}"))
}

/// Both servers tick concurrently.
async fn tick_both(app: &TestApp) {
    let servers = app.instances.iter().map(|instance| instance.shared.clone());
    for result in race(servers.map(|server| async move { server.queue.admission.admit_due().await })).await {
        result.unwrap();
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn joining_again_gives_the_same_token_and_place(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    let body = json!({"concertId": sale.concert_id});
    let (first, second) = (app.user().await, app.user().await);
    first.post(TOKENS, body.clone()).await.expect(201);
    let joined = second.post(TOKENS, body.clone()).await.expect(201).json();
    assert_eq!((&joined["status"], &joined["position"]), (&json!("WAITING"), &json!(2)), "{joined}");

    app.advance(5);
    first.post(TOKENS, body.clone()).await.expect(200);
    for instance in 0..2 {
        let again = app.at_instance(&second, instance).post(TOKENS, body.clone()).await.expect(200).json();
        for member in ["queueToken", "position", "status", "issuedAt", "concertId"] {
            assert_eq!(again[member], joined[member], "{member}: {again}");
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_token_shows_its_times_and_its_estimated_wait(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1})).await;
    let issued_at = app.now().to_rfc3339_opts(SecondsFormat::Millis, true);
    let clients = join_all(&app, &sale, 5).await;

    app.clock.advance(TimeDelta::milliseconds(1_500));
    let last = poll(&clients[4]).await;
    assert_eq!((&last["status"], &last["position"]), (&json!("WAITING"), &json!(5)), "{last}");
    assert_eq!((&last["issuedAt"], &last["serverTime"]), (&json!(issued_at), &json!("2026-11-20T08:00:01.500Z")));
    assert_eq!((&last["concertId"], &last["queueToken"]), (&json!(sale.concert_id), &json!(clients[4].queue_token())));
    assert!(last["expiresAt"].is_null() && last["secondsLeft"].is_null(), "{last}");
    let wait = |place: &Value, which: &str| place["estimatedWait"][which].as_u64().unwrap();
    let (p50, p90) = (wait(&last, "p50Seconds"), wait(&last, "p90Seconds"));
    assert!((30..=60).contains(&p50) && p50 <= p90 && p90 <= 120, "four come first, one in ten seconds: {last}");
    let first = poll(&clients[0]).await;
    assert!(wait(&first, "p50Seconds") < p50 && wait(&first, "p90Seconds") < p90, "{first}");
    assert!(last["pollAfterSeconds"].as_u64().is_some_and(|seconds| (1..=75).contains(&seconds)), "{last}");

    app.tick().await;
    let active = poll(&clients[0]).await;
    assert_eq!((&active["status"], &active["position"]), (&json!("ACTIVE"), &json!(0)), "{active}");
    assert_eq!((&active["expiresAt"], &active["secondsLeft"]), (&json!("2026-11-20T08:10:01.500Z"), &json!(600)));
    app.clock.advance(TimeDelta::milliseconds(10_001));
    assert_eq!(poll(&clients[0]).await["secondsLeft"], 589, "rounded down");
    leave(&clients[0]).await;
    let ended = poll(&clients[0]).await;
    assert!(ended["position"].is_null() && ended["secondsLeft"].is_null(), "{ended}");

    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let paused = poll(&clients[4]).await;
    assert!(paused["estimatedWait"]["p50Seconds"].is_null(), "a pause has no estimate: {paused}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_position_counts_the_tokens_ahead_and_never_grows(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1})).await;
    let mut line = join_all(&app, &sale, 8).await;
    // The position of the user that leaves; 0: the next token is admitted.
    for gone in [3, 8, 1, 0, 4, 0, 1] {
        if gone == 0 {
            app.advance(10);
            poll_all(&line).await;
            app.tick().await;
            assert_eq!(status(&line.remove(0)).await, "ACTIVE");
        } else {
            leave(&line.remove(gone.min(line.len()) - 1)).await;
        }
        let newcomer = app.user().await;
        line.push(sale.join(newcomer).await);
        for (index, client) in line.iter().enumerate() {
            for instance in 0..2 {
                let position = position(&app.at_instance(client, instance)).await;
                assert_eq!(position, index as u64 + 1, "after {gone}, asked on instance {instance}");
            }
        }
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_sliding_window_admits_exactly_the_configured_count(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 4, "claimSeconds": 3600, "activeSeconds": 86400})).await;
    let clients = join_all(&app, &sale, 30).await;
    let admin = app.admin().await;
    let mut admissions: Vec<(i64, u64)> = Vec::new();
    let mut total = 0;
    let steps = [0, 1, 2_999, 4_000, 2_999, 1, 1, 5_000, 4_998, 1, 9_999, 1, 0, 3_333, 6_667, 25_000, 500, 9_500];
    for step in steps {
        app.clock.advance(TimeDelta::milliseconds(step));
        let now = app.now().timestamp_millis();
        poll_all(&clients).await;
        tick_both(&app).await;
        let active = live(&admin, &sale, "active").await;
        let recently: u64 = admissions.iter().filter(|(at, _)| *at > now - 10_000).map(|(_, count)| count).sum();
        let expected = (4 - recently).min(30 - total);
        assert_eq!(active - total, expected, "at {now}, after {admissions:?}");
        admissions.push((now, active - total));
        total = active;
        assert_eq!(live(&admin, &sale, "waiting").await, 30 - total);
    }
    assert!(total >= 20, "the rate was used: {admissions:?}");
    for (index, client) in clients.iter().enumerate() {
        let expected = if (index as u64) < total { "ACTIVE" } else { "WAITING" };
        assert_eq!(status(client).await, expected, "first come, first served: number {index} of {total}");
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn active_tokens_never_exceed_max_active(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "maxActive": 3})).await;
    let clients = join_all(&app, &sale, 14).await;
    let admin = app.admin().await;
    tick_both(&app).await;
    for round in 0..5 {
        tick_both(&app).await;
        let active = &clients[2 * round..2 * round + 3];
        for client in active {
            assert_eq!(status(client).await, "ACTIVE", "round {round}");
        }
        assert_eq!(status(&clients[2 * round + 3]).await, "WAITING", "round {round}");
        assert_eq!(live(&admin, &sale, "active").await, 3, "round {round}");
        app.advance(1);
        poll_all(&clients).await;
        // Two users leave while both servers tick.
        let (one, two) = (active[0].clone(), active[1].clone());
        tokio::join!(tick_both(&app), async { leave(&one).await }, async { leave(&two).await });
        assert!(live(&admin, &sale, "active").await <= 3, "round {round}");
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn admission_limits_hold_through_every_change_of_settings(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    let admin = app.admin().await;
    let set = async |mode: &str, admit_count: u64, max_active: u64| {
        let settings = json!({
            "mode": mode, "admitCount": admit_count, "maxActive": max_active, "claimSeconds": 3600,
        });
        sale.set_queue(&app, settings).await;
    };
    set("QUEUE", 5, 12).await;
    let clients = join_all(&app, &sale, 25).await;
    let active_after_tick = async || {
        poll_all(&clients).await;
        tick_both(&app).await;
        live(&admin, &sale, "active").await
    };
    assert_eq!(active_after_tick().await, 5);
    set("QUEUE", 2, 12).await;
    assert_eq!(active_after_tick().await, 5, "five are in the window already");
    app.advance(10);
    assert_eq!(active_after_tick().await, 7);
    set("QUEUE", 8, 12).await;
    assert_eq!(active_after_tick().await, 12, "six more by the rate, five by the room");
    set("PAUSED", 100, 100).await;
    app.advance(10);
    assert_eq!(active_after_tick().await, 12, "a paused queue admits no token");
    assert_eq!(status(&clients[11]).await, "ACTIVE", "the active stay");
    set("OPEN", 1, 15).await;
    assert_eq!(active_after_tick().await, 15, "only the room counts");
    let newcomer = app.user().await;
    assert_eq!(status(&sale.join(newcomer).await).await, "WAITING", "the house is full");
    set("QUEUE", 2, 100).await;
    assert_eq!(active_after_tick().await, 15, "admissions of the open mode count in the window");
    app.advance(10);
    assert_eq!(active_after_tick().await, 17);
    set("QUEUE", 2, 10).await;
    app.advance(10);
    assert_eq!(active_after_tick().await, 17, "active tokens stay, and no token is admitted");
    assert_eq!(status(&clients[16]).await, "ACTIVE");
    assert_eq!(position(&clients[17]).await, 1);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_open_queue_admits_at_once_while_there_is_room(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "admitCount": 1, "maxActive": 2, "claimSeconds": 5})).await;
    let mut clients = Vec::new();
    for expected in [("ACTIVE", json!(0)), ("ACTIVE", json!(0)), ("WAITING", json!(1)), ("WAITING", json!(2))] {
        let user = app.user().await;
        let joined = user.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect(201).json();
        assert_eq!((&joined["status"], &joined["position"]), (&json!(expected.0), &expected.1), "{joined}");
        clients.push(user.with_queue_token(joined["queueToken"].as_str().unwrap()));
    }
    app.advance(100);
    assert_eq!(status(&clients[0]).await, "ACTIVE", "joining an open sale is a use");
    leave(&clients[0]).await;
    poll_all(&clients[2..]).await;
    app.tick().await;
    assert_eq!(status(&clients[2]).await, "ACTIVE");
    assert_eq!(position(&clients[3]).await, 1);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unclaimed_admission_goes_to_the_next_token(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "maxActive": 1})).await;
    let clients = join_all(&app, &sale, 3).await;
    let admin = app.admin().await;
    app.tick().await;
    app.clock.advance(TimeDelta::milliseconds(59_999));
    app.tick().await;
    assert_eq!(live(&admin, &sale, "active").await, 1);
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(status(&clients[0]).await, "EXPIRED", "over at its deadline, without any tick");
    poll_all(&clients[1..]).await;
    app.tick().await;
    assert_eq!(status(&clients[1]).await, "ACTIVE", "asking claims it");
    app.advance(599);
    assert_eq!(status(&clients[1]).await, "ACTIVE");
    app.advance(1);
    assert_eq!(status(&clients[1]).await, "EXPIRED");

    poll_all(&clients[2..]).await;
    app.tick().await;
    app.advance(59);
    let seats = format!("/api/v1/performances/{}/seats", sale.performance_id);
    clients[2].get(&seats).await.expect(200);
    app.advance(540);
    assert_eq!(status(&clients[2]).await, "ACTIVE", "it was used, not polled");
    app.advance(1);
    assert_eq!(status(&clients[2]).await, "EXPIRED");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn paying_the_last_hold_completes_the_token_and_frees_its_slot(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 3).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "maxActive": 1})).await;
    let clients = join_all(&app, &sale, 2).await;
    app.tick().await;
    let buyer = &clients[0];
    buyer.charge("100000").await;
    let first = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    let second = buyer.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201).text("bookingId");
    buyer.pay(&first, "first").await.expect(201);
    assert_eq!(status(buyer).await, "ACTIVE", "another hold is unpaid");
    app.tick().await;
    assert_eq!(position(&clients[1]).await, 1);
    buyer.pay(&second, "second").await.expect(201);
    assert_eq!(status(buyer).await, "COMPLETED");
    buyer.hold(sale.performance_id, &sale.seats[2..]).await.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    app.tick().await;
    assert_eq!(status(&clients[1]).await, "ACTIVE");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn leaving_releases_place_slot_and_holds_at_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "maxActive": 1})).await;
    let clients = join_all(&app, &sale, 3).await;
    app.tick().await;
    let buyer = &clients[0];
    let mut bookings = Vec::new();
    for seats in [&sale.seats[..2], &sale.seats[2..3]] {
        bookings.push(buyer.hold(sale.performance_id, seats).await.expect(201).text("bookingId"));
    }
    assert_eq!(sale.available(buyer).await, 1);

    // While waiting.
    leave(&clients[1]).await;
    leave(&clients[1]).await;
    assert_eq!(status(&clients[1]).await, "LEFT");
    assert_eq!(position(&clients[2]).await, 1);
    // Admitted, with two holds, on another server than the one that admits the next token.
    leave(&app.at_instance(buyer, 1)).await;
    for instance in 0..2 {
        assert_eq!(status(&app.at_instance(buyer, instance)).await, "LEFT");
    }
    for booking in &bookings {
        assert_eq!(buyer.booking(booking).await["status"], "CANCELLED");
    }
    assert_eq!(sale.available(buyer).await, 4);
    buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    app.tick().await;
    clients[2].hold(sale.performance_id, &sale.seats).await.expect(201);
    leave(buyer).await;
    assert_eq!(sale.available(buyer).await, 0, "leaving again changes nothing");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn leaving_one_queue_keeps_the_holds_of_another(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (sale, other) = (app.sale(1, 1).await, app.sale(1, 1).await);
    let user = app.user().await;
    let here = sale.admit(user.clone()).await;
    let there = other.admit(user).await;
    let kept = there.hold(other.performance_id, &other.seats).await.expect(201).text("bookingId");
    let gone = here.hold(sale.performance_id, &sale.seats).await.expect(201).text("bookingId");
    leave(&here).await;
    assert_eq!(here.booking(&gone).await["status"], "CANCELLED");
    assert_eq!(here.booking(&kept).await["status"], "PENDING");
    assert_eq!(status(&there).await, "ACTIVE");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_hold_can_be_paid_after_its_tokens_own_time(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "activeSeconds": 10, "claimSeconds": 5})).await;
    let buyer = app.buyer_with_points(&sale, "100000").await;
    let extender = app.buyer_with_points(&sale, "100000").await;
    app.advance(9);
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    let extended = extender.hold(sale.performance_id, &sale.seats[1..]).await.expect(201).text("bookingId");
    let place = poll(&buyer).await;
    assert_eq!(
        (&place["expiresAt"], &place["secondsLeft"]),
        (&json!(booking.text("heldUntil")), &json!(300)),
        "{place}"
    );

    app.clock.advance(TimeDelta::milliseconds(299_999));
    app.tick().await;
    extender.send(Method::POST, &format!("/api/v1/bookings/{extended}/extend"), &[], None).await.expect(200);
    buyer.pay(&booking.text("bookingId"), "last-moment").await.expect(201);
    app.advance(120);
    app.tick().await;
    extender.pay(&extended, "even-later").await.expect(201);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_ended_token_still_shows_its_end_after_ten_minutes(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "activeSeconds": 30})).await;
    let (expired, left) = (app.buyer(&sale).await, app.buyer(&sale).await);
    app.advance(29);
    leave(&left).await;
    let completed = app.buyer_with_points(&sale, "50000").await;
    let booking = completed.hold(sale.performance_id, &sale.seats).await.expect(201).text("bookingId");
    completed.pay(&booking, "pay").await.expect(201);
    app.advance(1);
    for _ in 0..=10 {
        app.tick().await;
        for (client, expected) in [(&expired, "EXPIRED"), (&left, "LEFT"), (&completed, "COMPLETED")] {
            let place = poll(client).await;
            assert_eq!(place["status"], expected, "{place}");
            assert_eq!(place["queueToken"], client.queue_token(), "{place}");
        }
        app.advance(60);
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn before_the_opening_every_token_is_scheduled_in_any_mode(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let opening = app.now() + TimeDelta::seconds(60);
    let mut lines = Vec::new();
    for mode in ["QUEUE", "OPEN", "PAUSED"] {
        let sale = app.sale(1, 1).await;
        sale.set_queue(&app, json!({"mode": mode, "admitCount": 1, "salesOpenAt": opening.to_rfc3339()})).await;
        let line = join_all(&app, &sale, 3).await;
        lines.push((mode, sale, line));
    }
    app.clock.advance(TimeDelta::milliseconds(59_999));
    app.tick().await;
    for (mode, sale, line) in &lines {
        for client in line {
            let again = client.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect(200).json();
            assert_eq!(again["queueToken"], client.queue_token(), "{mode}: {again}");
            for place in [again, poll(client).await] {
                assert_eq!(place["status"], "SCHEDULED", "{mode}: {place}");
                assert!(place["position"].is_null() && place["expiresAt"].is_null(), "{mode}: {place}");
            }
            let seats = format!("/api/v1/performances/{}/seats", sale.performance_id);
            let refused = client.get(&seats).await.expect_problem(403, "QUEUE_TOKEN_NOT_ACTIVE").json();
            assert!(refused["position"].is_null() && refused["pollAfterSeconds"].is_u64(), "{refused}");
        }
        let gone = app.user().await;
        let gone = sale.join(gone).await;
        leave(&gone).await;
        assert_eq!(status(&gone).await, "LEFT", "{mode}");
    }

    app.clock.advance(TimeDelta::milliseconds(1));
    tick_both(&app).await;
    for (mode, sale, line) in &lines {
        let newcomer = app.user().await;
        let newcomer = poll(&sale.join(newcomer).await).await;
        let mut places = Vec::new();
        for client in line {
            let place = poll(client).await;
            places.push(format!("{} {}", place["status"].as_str().unwrap(), place["position"]));
        }
        places.sort_unstable();
        let (expected, last) = match *mode {
            "QUEUE" => (["ACTIVE 0", "WAITING 1", "WAITING 2"], json!(3)),
            "OPEN" => (["ACTIVE 0"; 3], json!(0)),
            _ => (["WAITING 1", "WAITING 2", "WAITING 3"], json!(4)),
        };
        assert_eq!(
            (places, &newcomer["position"]),
            (expected.map(str::to_owned).to_vec(), &last),
            "{mode}: {newcomer}"
        );
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn places_survive_a_restart_of_every_server(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options.clone());
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1})).await;
    let clients = join_all(&app, &sale, 5).await;
    app.tick().await;
    leave(&clients[2]).await;
    let before: Vec<_> = [poll(&clients[0]).await, poll(&clients[1]).await, poll(&clients[3]).await].into();
    drop(app);

    let app = TestApp::start(options);
    let clients: Vec<_> = clients.iter().map(|client| app.at_instance(client, 0)).collect();
    for (place, client) in before.iter().zip([&clients[0], &clients[1], &clients[3]]) {
        let after = poll(client).await;
        for member in ["queueToken", "status", "position", "issuedAt", "expiresAt"] {
            assert_eq!(after[member], place[member], "{member}: {after}");
        }
    }
    app.tick().await;
    assert_eq!(position(&clients[1]).await, 1, "the rate survives, too");
    app.advance(10);
    poll_all(&clients).await;
    app.tick().await;
    assert_eq!(status(&clients[1]).await, "ACTIVE");
    assert_eq!(position(&clients[3]).await, 1);
    assert_eq!(position(&clients[4]).await, 2);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn after_an_ended_token_there_is_a_new_one_with_a_new_place(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1, "maxActive": 1})).await;
    let body = json!({"concertId": sale.concert_id});
    let clients = join_all(&app, &sale, 3).await;

    leave(&clients[1]).await;
    let again = clients[1].post(TOKENS, body.clone()).await.expect(201).json();
    assert_ne!(again["queueToken"], clients[1].queue_token());
    assert_eq!((&again["status"], &again["position"]), (&json!("WAITING"), &json!(3)), "{again}");

    app.tick().await;
    app.advance(60);
    // No job has written yet that the admission lapsed.
    let again = clients[0].post(TOKENS, body).await.expect(201).json();
    assert_ne!(again["queueToken"], clients[0].queue_token());
    assert_eq!((&again["status"], &again["position"]), (&json!("WAITING"), &json!(3)), "{again}");
    assert_eq!(status(&clients[0]).await, "EXPIRED", "the old token has ended");
    poll_all(&clients[2..]).await;
    app.tick().await;
    assert_eq!(status(&clients[2]).await, "ACTIVE");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn joining_a_queue_needs_a_login_and_an_existing_concert(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let user = app.user().await;
    user.post(TOKENS, json!({"concertId": 999})).await.expect_problem(404, "CONCERT_NOT_FOUND");
    let path = format!("/api/v1/admin/concerts/{}", sale.concert_id);
    app.anonymous().post(TOKENS, json!({"concertId": sale.concert_id})).await.expect_problem(401, "UNAUTHENTICATED");
    for body in [json!({}), json!({"concertId": "x"}), json!({"concertId": 0}), json!({"concertId": 1, "place": 1})] {
        user.post(TOKENS, body).await.expect_problem(422, "VALIDATION_FAILED");
    }
    app.admin().await.delete(&path).await.expect(204);
    user.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect_problem(404, "CONCERT_NOT_FOUND");
}

/// The queue board and the token's text suffice: a change of the row isn't seen before the head is near.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_poll_of_a_waiting_token_reads_no_row(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1})).await;
    let line = join_all(&app, &sale, 3).await;
    let before = poll(&line[2]).await;
    let claims = app.ports().signer.read_queue_token(line[2].queue_token()).unwrap();
    let mut uow = app.ports().database.begin().await.unwrap();
    let mut token = uow.queue_tokens().lock_tokens(&[claims.id]).await.unwrap().remove(0);
    token.state = TokenState::Ended(EndReason::Completed);
    uow.queue_tokens().update_tokens(&[token], app.now()).await.unwrap();
    uow.commit().await.unwrap();
    for instance in 0..2 {
        let after = poll(&app.at_instance(&line[2], instance)).await;
        for member in ["queueToken", "concertId", "status", "position", "estimatedWait", "issuedAt", "expiresAt"] {
            assert_eq!(after[member], before[member], "{member}");
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn forged_and_foreign_queue_tokens_are_unknown(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    let line = join_all(&app, &sale, 2).await;
    let text = line[1].queue_token();
    let ports = app.ports();
    let claims = ports.signer.read_queue_token(text).unwrap();
    // Signed with another secret.
    let stranger = HmacTokenSigner::new(&["another server's secret, just as long as ours".to_owned()]).unwrap();
    let mut bad = vec![
        "forged".to_owned(),
        stranger.queue_token(&claims, stranger.current_key()),
        line[1].token().to_owned(),
        format!("{text}A"),
        format!("{text}."),
        text.repeat(2),
        "0".repeat(76),
        "A".repeat(10_000),
        "null".to_owned(),
    ];
    bad.extend((1..text.len()).map(|length| text[..length].to_owned()));
    // The user's token with the first token's place, but not its signature.
    let first = line[0].queue_token();
    bad.push(format!("{}{}", &text[..text.len() - 22], &first[first.len() - 22..]));
    let routes = [(Method::GET, CURRENT), (Method::DELETE, CURRENT), (Method::GET, EVENTS)];
    for (method, path) in &routes {
        let none = app.anonymous().send(method.clone(), path, &[], None).await;
        none.expect_problem(401, "QUEUE_TOKEN_REQUIRED");
        let empty = app.anonymous().with_queue_token("").send(method.clone(), path, &[], None).await;
        empty.expect_problem(401, "QUEUE_TOKEN_REQUIRED");
        for token in &bad {
            let client = app.anonymous().with_queue_token(token);
            client.send(method.clone(), path, &[], None).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        }
    }
    let alone = app.anonymous().with_queue_token(text);
    assert_eq!(position(&alone).await, 2, "the token alone is enough to ask");
    assert_eq!((position(&line[0]).await, position(&line[1]).await), (1, 2), "no place was moved");

    // Signed correctly, for a place that doesn't exist.
    let elsewhere = QueueTokenId::new(ConcertId(999_999), 1).unwrap();
    let unissued = QueueTokenId::new(claims.id.concert(), 9_999).unwrap();
    for (id, place) in [(elsewhere, 1), (unissued, 9_999)] {
        let claims = QueueClaims { id, place: Some(place), ..claims };
        let client = app.anonymous().with_queue_token(&ports.signer.queue_token(&claims, ports.signer.current_key()));
        for path in [CURRENT, EVENTS] {
            client.get(path).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        }
    }

    // Another user's token shows and ends only that user's place, and can't be used to book by others.
    app.tick().await;
    let seats = format!("/api/v1/performances/{}/seats", sale.performance_id);
    let thief = line[0].clone().with_queue_token(line[1].queue_token());
    thief.get(&seats).await.expect_problem(403, "QUEUE_TOKEN_NOT_YOURS");
    thief.hold(sale.performance_id, &sale.seats).await.expect_problem(403, "QUEUE_TOKEN_NOT_YOURS");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_new_secret_keeps_every_place_until_the_old_one_is_removed(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    const OLD: &str = "the old secret is long enough to be accepted";
    const NEW: &str = "the new secret is long enough to be accepted";
    let start = |secrets: &str| TestApp::start_with(options.clone(), 1, &[("TOKEN_SECRET", secrets)]);
    let (before, during, after) = (start(OLD), start(&format!("{NEW},{OLD}")), start(NEW));
    let sale = before.sale(1, 1).await;
    sale.set_queue(&before, json!({"mode": "QUEUE"})).await;
    let line = join_all(&before, &sale, 2).await;
    let body = json!({"concertId": sale.concert_id});
    for client in &line {
        let moved = during.at_instance(client, 0);
        let again = moved.post(TOKENS, body.clone()).await.expect(200);
        assert_eq!(again.text("queueToken"), client.queue_token());
        assert_eq!(poll(&moved).await["queueToken"], client.queue_token());
        let withdrawn = after.at_instance(client, 0);
        for path in [CURRENT, EVENTS] {
            withdrawn.get(path).await.expect_problem(401, "QUEUE_TOKEN_INVALID");
        }
    }
    assert_eq!(position(&during.at_instance(&line[1], 0)).await, 2);

    // Joining again after that returns the same place in a token signed with the new secret.
    let claims = before.ports().signer.read_queue_token(line[1].queue_token()).unwrap();
    let anew = after.ports().signer.queue_token(&claims, before.ports().signer.current_key());
    let client = after.anonymous().with_queue_token(&anew);
    assert_eq!((position(&client).await, &poll(&client).await["queueToken"]), (2, &json!(anew)));
}

/// Returns the number of admitted tokens within each bound of their estimate.
fn estimates(metrics: &PrometheusHandle) -> [u64; 3] {
    let text = metrics.render();
    ["p50", "p90", "beyond"].map(|within| {
        let series = format!("queue_estimates_total{{within=\"{within}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
    })
}

/// Users join at one server and are admitted by another, which knows their first estimates.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn first_estimates_are_compared_with_the_actual_wait(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1})).await;
    let mut line = Vec::new();
    for (p50, p90) in [(0, 10), (10, 22), (20, 35), (30, 47)] {
        let user = app.at_instance(&app.user().await, 0);
        let joined = user.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect(201);
        assert_eq!(joined.json()["estimatedWait"], json!({"p50Seconds": p50, "p90Seconds": p90}));
        line.push(user.with_queue_token(&joined.text("queueToken")));
    }
    // A recorder of this thread: tests that run beside this one count in the process's recorder.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    // At once; at the first possible instant; late, but in time; too late.
    for (advance, expected) in [(0, [1, 0, 0]), (10, [2, 0, 0]), (24, [2, 1, 0]), (14, [2, 1, 1])] {
        app.advance(advance);
        for client in &line {
            poll(client).await;
        }
        app.instances[1].shared.queue.admission.admit_due().await.unwrap();
        assert_eq!(estimates(&recorder.handle()), expected, "after {advance} seconds");
    }
}
