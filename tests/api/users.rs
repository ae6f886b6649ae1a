//! Accounts and logins, over HTTP.

use axum::http::Method;
use chrono::TimeDelta;
use concert_reservation::{
    domain::{
        id::{SessionId, UserId},
        token::{AccessClaims, TokenSigner},
        user::Role,
    },
    infrastructure::token_signer::HmacTokenSigner,
};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Reply, Tables, TestApp, race};

const ME: &str = "/api/v1/users/me";
const FORFEIT: &str = "/api/v1/users/me?forfeitBalance=true";
const PASSWORD: &str = "correct horse battery";
const DAY: i64 = 86_400;

fn account(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "name": "Jin"})
}

async fn sign_up(app: &TestApp, email: &str) -> Reply {
    app.anonymous().post("/api/v1/users", account(email)).await.expect(201)
}

/// A login's answer, and a client that uses its access token.
async fn log_in(app: &TestApp, email: &str) -> (Reply, Client) {
    let login = json!({"email": email, "password": PASSWORD});
    let login = app.anonymous().post("/api/v1/auth/login", login).await.expect(200);
    let client = using(app, &login);
    (login, client)
}

fn using(app: &TestApp, tokens: &Reply) -> Client {
    app.anonymous().with_token(tokens.text("accessToken"), tokens.text("userId").parse().unwrap())
}

async fn refresh(client: &Client, tokens: &Reply) -> Reply {
    client.post("/api/v1/auth/refresh", json!({"refreshToken": tokens.text("refreshToken")})).await
}

/// A problem without what differs from request to request.
fn problem(reply: &Reply) -> Value {
    let mut body = reply.json();
    body.as_object_mut().unwrap().remove("requestId");
    body
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_email_address_has_one_account(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let newcomer = app.anonymous();
    let requested = json!({"email": " Jin@Example.org ", "password": PASSWORD, "name": "  진  "});
    let made = newcomer.post("/api/v1/users", requested).await.expect(201);
    let user_id = made.text("userId");
    assert_eq!(
        made.json(),
        json!({
            "userId": user_id, "email": "Jin@Example.org", "name": "진", "role": "USER",
            "createdAt": "2026-11-20T08:00:00.000Z",
            "emailVerified": false,
        })
    );
    assert_eq!(user_id.parse::<Uuid>().unwrap().get_version_num(), 7);
    assert_eq!(made.header("cache-control"), "no-store");

    let before = tables.checksums().await;
    for email in ["Jin@Example.org", "jin@example.org", "JIN@EXAMPLE.ORG\t"] {
        newcomer.post("/api/v1/users", account(email)).await.expect_problem(409, "EMAIL_TAKEN");
    }
    assert_eq!(tables.checksums().await, before);
    let ten = json!({"email": "mina@example.org", "password": "비밀번호는열글자예요", "name": "Mina"});
    newcomer.post("/api/v1/users", ten).await.expect(201);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concurrent_sign_ups_with_one_address_create_one_account(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let runners = (0..4).map(|number| {
        let client = app.at_instance(&app.anonymous(), number % 2);
        async move { client.post("/api/v1/users", account("jin@example.org")).await }
    });
    let mut made = 0;
    for reply in race(runners).await {
        if reply.status == 201 {
            made += 1;
        } else {
            reply.expect_problem(409, "EMAIL_TAKEN");
        }
    }
    assert_eq!(made, 1);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_login_returns_both_tokens_and_their_lifetimes(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let made = sign_up(&app, "jin@example.org").await;
    let (login, jin) = log_in(&app, "JIN@example.org").await;
    let body = login.json();
    assert_eq!(body["userId"], made.json()["userId"]);
    assert_eq!(body["tokenType"], "Bearer");
    assert_eq!((&body["expiresIn"], &body["refreshExpiresIn"]), (&json!(3_600), &json!(14 * DAY)));
    assert_eq!(login.header("cache-control"), "no-store");
    let profile = jin.get(ME).await.expect(200);
    assert_eq!(profile.json(), made.json());

    app.advance(3_599);
    jin.get(ME).await.expect(200);
    app.advance(1);
    jin.get(ME).await.expect_problem(401, "UNAUTHENTICATED");
}

/// A known address with a wrong password; an unknown address; a password that no account can have.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_refused_login_does_not_reveal_which_addresses_have_accounts(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    sign_up(&app, "jin@example.org").await;
    let mut problems = Vec::new();
    for (email, password) in [
        ("jin@example.org", "correct horse batterz"),
        ("jin@example.org", ""),
        ("jin@example.org", "correct horse battery "),
        ("mina@example.org", PASSWORD),
        ("mina@example.org", "x"),
    ] {
        let login = json!({"email": email, "password": password});
        let reply = app.anonymous().post("/api/v1/auth/login", login).await;
        let reply = reply.expect_problem(401, "INVALID_CREDENTIALS");
        assert_eq!(reply.header("cache-control"), "no-store");
        problems.push(problem(&reply));
    }
    assert!(problems.windows(2).all(|pair| pair[0] == pair[1]), "{problems:#?}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_refresh_token_returns_both_tokens_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    sign_up(&app, "jin@example.org").await;
    let (first, _) = log_in(&app, "jin@example.org").await;
    let (other_login, other) = log_in(&app, "jin@example.org").await;
    app.advance(60);
    let second = refresh(&app.anonymous(), &first).await.expect(200);
    for member in ["accessToken", "refreshToken"] {
        assert_ne!(second.text(member), first.text(member));
    }
    for member in ["tokenType", "expiresIn", "refreshExpiresIn", "userId"] {
        assert_eq!(second.json()[member], first.json()[member], "{member}");
    }
    let jin = using(&app, &second);
    jin.get(ME).await.expect(200);

    // The token was copied: no token of its session works any more.
    app.advance(10);
    refresh(&app.anonymous(), &first).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    refresh(&app.anonymous(), &second).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    jin.get(ME).await.expect_problem(401, "UNAUTHENTICATED");
    using(&app, &first).get(ME).await.expect_problem(401, "UNAUTHENTICATED");
    other.get(ME).await.expect(200);
    refresh(&app.anonymous(), &other_login).await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn expired_and_malformed_refresh_tokens_are_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    sign_up(&app, "jin@example.org").await;
    let (first, _) = log_in(&app, "jin@example.org").await;
    app.advance(14 * DAY - 1);
    let second = refresh(&app.anonymous(), &first).await.expect(200);
    // The exchange has started another two weeks.
    app.advance(14 * DAY - 1);
    let third = refresh(&app.anonymous(), &second).await.expect(200);
    app.advance(14 * DAY);
    let mut problems =
        vec![problem(&refresh(&app.anonymous(), &third).await.expect_problem(401, "INVALID_REFRESH_TOKEN"))];

    let (login, _) = log_in(&app, "jin@example.org").await;
    for text in ["", "x", "\u{0}", "가", &login.text("accessToken"), &"A".repeat(10_000)] {
        let reply = app.anonymous().post("/api/v1/auth/refresh", json!({"refreshToken": text})).await;
        problems.push(problem(&reply.expect_problem(401, "INVALID_REFRESH_TOKEN")));
    }
    assert!(problems.windows(2).all(|pair| pair[0] == pair[1]), "{problems:#?}");
    refresh(&app.anonymous(), &login).await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_logout_ends_one_session_here_at_once_and_elsewhere_within_a_second(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start_two(options);
    sign_up(&app, "jin@example.org").await;
    let (login, jin) = log_in(&app, "jin@example.org").await;
    let (_, other_login) = log_in(&app, "jin@example.org").await;
    let there = app.at_instance(&jin, 1);
    there.get(ME).await.expect(200);

    let done = jin.send(Method::POST, "/api/v1/auth/logout", &[], None).await.expect(204);
    assert!(done.bytes.is_empty());
    jin.get(ME).await.expect_problem(401, "UNAUTHENTICATED");
    jin.send(Method::POST, "/api/v1/auth/logout", &[], None).await.expect_problem(401, "UNAUTHENTICATED");
    refresh(&jin, &login).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    refresh(&there, &login).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    app.advance(1);
    there.get(ME).await.expect_problem(401, "UNAUTHENTICATED");

    let elsewhere = app.at_instance(&other_login, 1);
    elsewhere.get(ME).await.expect(200);
    other_login.send(Method::POST, "/api/v1/auth/logout", &[], None).await.expect(204);
    app.tick().await;
    elsewhere.get(ME).await.expect_problem(401, "UNAUTHENTICATED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn users_read_and_rename_only_their_own_profile(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let (jin, mina) = (app.user().await, app.user().await);
    let before = jin.get(ME).await.expect(200);
    assert_eq!(before.header("cache-control"), "no-store");
    let mut expected = json!({
        "userId": jin.user_id(), "email": "user0@example.org", "name": "User 0", "role": "USER",
        "createdAt": "2026-11-20T08:00:00.000Z",
        "emailVerified": false,
    });
    assert_eq!(before.json(), expected);
    let untouched = mina.get(ME).await.expect(200).json();

    expected["name"] = json!("Jin 🎤 Park");
    for _ in 0..2 {
        let renamed = jin.send(Method::PATCH, ME, &[], Some(json!({"name": " Jin 🎤 Park "}))).await.expect(200);
        assert_eq!(renamed.json(), expected);
    }
    assert_eq!(app.at_instance(&jin, 1).get(ME).await.expect(200).json(), expected);
    for surplus in ["email", "role", "userId", "password"] {
        let body = json!({"name": "x", surplus: "ADMIN"});
        jin.send(Method::PATCH, ME, &[], Some(body)).await.expect_problem(422, "VALIDATION_FAILED");
    }
    assert_eq!(jin.get(ME).await.expect(200).json(), expected);
    assert_eq!(mina.get(ME).await.expect(200).json(), untouched);
    assert_eq!(app.admin().await.get(ME).await.expect(200).json()["role"], "ADMIN");
}

/// Seats are held, then paid, then refunded: only then can the account be deleted. An expired hold is no obstacle.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_account_with_live_bookings_is_not_deleted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let (payer, holder) = (app.buyer_with_points(&sale, "50000").await, app.buyer(&sale).await);
    let booking = payer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    holder.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201);
    let before = tables.checksums().await;
    for client in [&payer, &holder] {
        client.delete(ME).await.expect_problem(409, "USER_HAS_LIVE_BOOKINGS");
    }
    assert_eq!(tables.checksums().await, before);

    payer.pay(&booking, "pay").await.expect(201);
    app.advance(300);
    payer.delete(ME).await.expect_problem(409, "USER_HAS_LIVE_BOOKINGS");
    holder.delete(ME).await.expect(204);
    payer.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200);
    payer.delete(ME).await.expect_problem(409, "BALANCE_NOT_ZERO");
    payer.delete(FORFEIT).await.expect(204);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn account_deletion_keeps_ledger_rows_and_removes_personal_data(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 4).await;
    let made = sign_up(&app, "jin@example.org").await;
    let (login, jin) = log_in(&app, "jin@example.org").await;
    let described = json!({"email": "jin@example.org", "password": PASSWORD});
    let device = [("User-Agent", "phone")];
    let described =
        app.anonymous().send(Method::POST, "/api/v1/auth/login", &device, Some(described)).await.expect(200);
    let other_login = using(&app, &described);
    assert_eq!(tables.count("SELECT COUNT(*) FROM sessions WHERE user_agent IS NOT NULL").await, 1);
    let jin = sale.admit(jin).await;
    jin.charge("70000").await;
    let booking = jin.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    jin.pay(&booking, "pay").await.expect(201);
    jin.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200);
    let elsewhere = app.at_instance(&other_login, 1);
    elsewhere.get(ME).await.expect(200);
    let ledger = tables.count("SELECT COUNT(*) FROM point_transactions").await;

    let done = jin.delete(FORFEIT).await.expect(204);
    assert!(done.bytes.is_empty());
    for client in [&jin, &other_login] {
        client.get(ME).await.expect_problem(401, "UNAUTHENTICATED");
        client.delete(ME).await.expect_problem(401, "UNAUTHENTICATED");
    }
    refresh(&elsewhere, &login).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    app.advance(1);
    elsewhere.get(ME).await.expect_problem(401, "UNAUTHENTICATED");
    let login = json!({"email": "jin@example.org", "password": PASSWORD});
    jin.post("/api/v1/auth/login", login).await.expect_problem(401, "INVALID_CREDENTIALS");

    let personal = "SELECT COUNT(*) FROM users WHERE email LIKE 'jin%' OR email_key LIKE 'jin%' OR name = 'Jin'";
    assert_eq!(tables.count(personal).await, 0);
    assert_eq!(tables.count("SELECT COUNT(*) FROM sessions WHERE user_agent IS NOT NULL").await, 0);
    assert_eq!(tables.count("SELECT COUNT(*) FROM outbox_events WHERE data LIKE '%jin@example%'").await, 0);
    assert_eq!(tables.count("SELECT COUNT(*) FROM idempotency_keys WHERE body LIKE '%jin@example%'").await, 0);
    assert_eq!(tables.count("SELECT COUNT(*) FROM point_transactions").await, ledger);
    assert_eq!(tables.count("SELECT COUNT(*) FROM payments WHERE status = 'REFUNDED'").await, 1);
    assert_eq!(tables.count("SELECT COUNT(*) FROM bookings WHERE status = 'REFUNDED'").await, 1);

    let again = sign_up(&app, "Jin@example.org").await;
    assert_ne!(again.text("userId"), made.text("userId"));
    let (_, jin) = log_in(&app, "jin@example.org").await;
    assert_eq!(jin.balance().await, "0");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_deleted_account_leaves_its_queues(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let waiting = app.sale(1, 4).await;
    waiting.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let jin = app.buyer(&sale).await;
    let (in_line, behind) = (waiting.join(jin.clone()).await, waiting.join(app.user().await).await);
    assert_eq!(behind.get("/api/v1/queue/tokens/current").await.expect(200).json()["position"], 2);
    jin.delete(ME).await.expect(204);
    for client in [&jin, &in_line] {
        assert_eq!(client.get("/api/v1/queue/tokens/current").await.expect(200).json()["status"], "LEFT");
    }
    assert_eq!(behind.get("/api/v1/queue/tokens/current").await.expect(200).json()["position"], 1);
}

/// The routes of an account, of which none answers without a valid access token.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn only_a_valid_access_token_authenticates(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    sign_up(&app, "jin@example.org").await;
    let (login, jin) = log_in(&app, "jin@example.org").await;
    let sale = app.sale(1, 1).await;
    let queue_token = sale.join(jin.clone()).await.queue_token().to_owned();
    let claims = AccessClaims {
        user_id: UserId(jin.user_id()),
        session_id: SessionId(Uuid::now_v7()),
        role: Role::Admin,
        expires_at: app.now() + TimeDelta::hours(1),
    };
    let stranger = HmacTokenSigner::new(&["a secret of more than 32 characters".to_owned()]).unwrap();
    let expired = AccessClaims { expires_at: app.now(), ..claims };
    let good = jin.token();
    let changed = format!("{}{}", if good.starts_with('A') { 'B' } else { 'A' }, &good[1..]);
    let refused = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer garbage".to_owned(),
        good.to_owned(),
        format!("Basic {good}"),
        format!("Bearer{good}"),
        format!("Bearer {good}="),
        format!("Bearer {good} {good}"),
        format!("Bearer {changed}"),
        format!("Bearer {}", &good[..good.len() - 1]),
        format!("Bearer {}", "A".repeat(10_000)),
        format!("Bearer {}", login.text("refreshToken")),
        format!("Bearer {queue_token}"),
        format!("Bearer {}", stranger.access_token(&claims)),
        format!("Bearer {}", app.ports().signer.access_token(&expired)),
    ];
    let before = tables.checksums().await;
    for (method, path) in
        [(Method::GET, ME), (Method::PATCH, ME), (Method::DELETE, ME), (Method::POST, "/api/v1/auth/logout")]
    {
        let anonymous = app.anonymous().send(method.clone(), path, &[], Some(json!({"name": "x"}))).await;
        assert_eq!(anonymous.expect_problem(401, "UNAUTHENTICATED").header("www-authenticate"), "Bearer");
        for value in &refused {
            let headers = [("Authorization", value.as_str())];
            // The body isn't read yet.
            let reply = app.anonymous().send(method.clone(), path, &headers, Some(json!([]))).await;
            reply.expect_problem(401, "UNAUTHENTICATED");
        }
    }
    assert_eq!(tables.checksums().await, before);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {good}");
        app.anonymous().send(Method::GET, ME, &[("Authorization", &value)], None).await.expect(200);
    }
}
