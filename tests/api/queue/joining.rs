//! Tokens and their places: joining, positions, secrets.

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
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use super::{CURRENT, EVENTS, TOKENS, join_all, leave, poll, poll_all, position, status};
use crate::support::TestApp;

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
