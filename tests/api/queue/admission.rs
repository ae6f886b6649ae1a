//! Admission: its limits, modes, opening, and the estimates of it.

use chrono::TimeDelta;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use super::{TOKENS, join_all, leave, live, poll, poll_all, position, status, tick_both};
use crate::support::TestApp;

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
async fn joining_again_claims_an_admission_as_polling_does(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    let client = join_all(&app, &sale, 1).await.remove(0);
    app.tick().await;
    app.advance(59);
    let again = client.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect(200).json();
    assert_eq!((&again["status"], &again["secondsLeft"]), (&json!("ACTIVE"), &json!(541)), "{again}");
    app.advance(540);
    app.tick().await;
    assert_eq!(status(&client).await, "ACTIVE");
    app.advance(1);
    assert_eq!(status(&client).await, "EXPIRED");
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
