//! Rate limits per address, user and account.

use std::net::SocketAddr;

use axum::{body::Body, extract::ConnectInfo, http::Request};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Reply, TestApp};

const PASSWORD: &str = "correct horse battery";

fn account(number: usize) -> Value {
    json!({"email": format!("jin{number}@example.org"), "password": PASSWORD, "name": "Jin"})
}

/// Sends a request as if it came over a connection from this address.
async fn post_from(app: &TestApp, address: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    let mut request = Request::post(path).header("Content-Type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address.parse().unwrap(), 4711)));
    app.anonymous().send_request(request).await
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn sign_ups_are_limited_per_address_and_answers_show_the_limit(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start_with(options, 1, &[("RATE_LIMIT_SIGN_UPS_PER_ADDRESS", "2")]);
    let sign_up = |address, number| {
        let (app, body) = (&app, account(number));
        async move { post_from(app, address, "/api/v1/users", &[], &body).await }
    };
    let first = sign_up("192.0.2.1", 1).await.expect(201);
    assert_eq!(first.header("ratelimit-policy"), "\"sign-ups-per-address\";q=2;w=60");
    assert_eq!(first.header("ratelimit"), "\"sign-ups-per-address\";r=1");
    // A refusal shows the limit, too, and counts.
    let taken = sign_up("192.0.2.1", 1).await.expect_problem(409, "EMAIL_TAKEN");
    assert_eq!(taken.header("ratelimit"), "\"sign-ups-per-address\";r=0");
    let refused = sign_up("192.0.2.1", 2).await.expect_problem(429, "RATE_LIMITED");
    assert_eq!(refused.header("ratelimit-policy"), "\"sign-ups-per-address\";q=2;w=60");
    assert_eq!(refused.header("ratelimit"), "\"sign-ups-per-address\";r=0;t=30");
    assert_eq!(refused.header("retry-after"), "30");
    assert_eq!(refused.json()["limit"], "sign-ups-per-address");
    sign_up("192.0.2.2", 3).await.expect(201);
    app.advance(29);
    sign_up("192.0.2.1", 2).await.expect_problem(429, "RATE_LIMITED");
    app.advance(1);
    sign_up("192.0.2.1", 2).await.expect(201);
    let free = app.anonymous().get("/api/v1/concerts").await.expect(200);
    assert_eq!(free.header("ratelimit-policy"), "", "what isn't limited says nothing");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn only_a_trusted_proxy_sets_the_client_address(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings = [("RATE_LIMIT_SIGN_UPS_PER_ADDRESS", "1"), ("TRUSTED_PROXIES", "10.0.0.0/8")];
    let app = TestApp::start_with(options, 1, &settings);
    let sign_up = |peer, client, number| {
        let (app, body) = (&app, account(number));
        async move { post_from(app, peer, "/api/v1/users", &[("X-Forwarded-For", client)], &body).await }
    };
    sign_up("10.0.0.1", "192.0.2.1", 1).await.expect(201);
    sign_up("10.0.0.2", "192.0.2.1", 2).await.expect_problem(429, "RATE_LIMITED");
    sign_up("10.0.0.1", "192.0.2.2", 3).await.expect(201);
    sign_up("203.0.113.1", "192.0.2.3", 4).await.expect(201);
    sign_up("203.0.113.1", "192.0.2.4", 5).await.expect_problem(429, "RATE_LIMITED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn logins_and_refreshes_are_limited_per_address(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings = [("RATE_LIMIT_LOGINS_PER_ADDRESS", "2"), ("RATE_LIMIT_REFRESHES_PER_ADDRESS", "1")];
    let app = TestApp::start_with(options, 1, &settings);
    let anonymous = app.anonymous();
    anonymous.post("/api/v1/users", account(1)).await.expect(201);
    let login = json!({"email": "jin1@example.org", "password": PASSWORD});
    let tokens = anonymous.post("/api/v1/auth/login", login.clone()).await.expect(200);
    // Invalid requests count as well: they are counted before they are read.
    anonymous.post("/api/v1/auth/login", json!({})).await.expect_problem(422, "VALIDATION_FAILED");
    anonymous.post("/api/v1/auth/login", login).await.expect_problem(429, "RATE_LIMITED");
    anonymous.post("/api/v1/auth/login", json!({})).await.expect_problem(429, "RATE_LIMITED");
    let refresh = json!({"refreshToken": tokens.text("refreshToken")});
    anonymous.post("/api/v1/auth/refresh", refresh.clone()).await.expect(200);
    // The limit comes first: the token isn't read, so its session doesn't end for repeated use.
    anonymous.post("/api/v1/auth/refresh", refresh).await.expect_problem(429, "RATE_LIMITED");
    let user = anonymous.with_token(tokens.text("accessToken"), uuid::Uuid::nil());
    user.get("/api/v1/users/me").await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn joins_and_holds_are_limited_per_user(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings =
        [("RATE_LIMIT_JOINS_PER_USER", "2"), ("RATE_LIMIT_HOLDS_PER_USER", "1"), ("RATE_LIMIT_HOLDS_PER_ADDRESS", "2")];
    let app = TestApp::start_with(options, 1, &settings);
    let sale = app.sale(2, 10).await;
    let (one, other) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let join = json!({"concertId": sale.concert_id});
    let again = one.post("/api/v1/queue/tokens", join.clone()).await.expect(200);
    assert_eq!(again.header("ratelimit"), "\"joins-per-user\";r=0");
    one.post("/api/v1/queue/tokens", join.clone()).await.expect_problem(429, "RATE_LIMITED");
    // Authentication comes before the limit.
    app.anonymous().post("/api/v1/queue/tokens", join.clone()).await.expect_problem(401, "UNAUTHENTICATED");
    other.post("/api/v1/queue/tokens", join).await.expect(200);

    let held = one.hold(sale.performance_id, &[sale.seats[0]]).await.expect(201);
    assert_eq!(held.header("ratelimit-policy"), "\"holds-per-address\";q=2;w=60, \"holds-per-user\";q=1;w=60");
    assert_eq!(held.header("ratelimit"), "\"holds-per-address\";r=1, \"holds-per-user\";r=0");
    let refused = one.hold(sale.performance_id, &[sale.seats[1]]).await.expect_problem(429, "RATE_LIMITED");
    assert_eq!(refused.json()["limit"], "holds-per-user");
    let refused = other.hold(sale.performance_id, &[sale.seats[1]]).await.expect_problem(429, "RATE_LIMITED");
    assert_eq!(refused.json()["limit"], "holds-per-address");
    app.advance(30);
    // A refusal by the address's limit doesn't count against the user's.
    other.hold(sale.performance_id, &[sale.seats[1]]).await.expect(201);
}

/// A refusal isn't recorded: the same key works once the limit allows it.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_rate_limited_hold_succeeds_later_with_the_same_key(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("RATE_LIMIT_HOLDS_PER_USER", "1")]);
    let sale = app.sale(1, 10).await;
    let buyer = app.buyer(&sale).await;
    let hold = |seat: usize| {
        let (buyer, body) = (&buyer, json!({"performanceId": sale.performance_id, "seatIds": [sale.seats[seat]]}));
        async move { buyer.post_keyed("/api/v1/bookings", &format!("key-{seat}"), body).await }
    };
    hold(0).await.expect(201);
    hold(1).await.expect_problem(429, "RATE_LIMITED");
    app.advance(60);
    hold(1).await.expect(201);
    app.advance(60);
    assert_eq!(hold(1).await.expect(201).header("idempotency-replayed"), "true");
}

/// Failures are counted by account, whatever the addresses, and also for accounts that don't exist.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn failed_logins_are_limited_per_account(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT", "2")]);
    let anonymous = app.anonymous();
    anonymous.post("/api/v1/users", account(1)).await.expect(201);
    let log_in = |email: &'static str, password: &'static str, address: &'static str| {
        let (app, body) = (&app, json!({"email": email, "password": password}));
        async move { post_from(app, address, "/api/v1/auth/login", &[], &body).await }
    };
    for (email, right) in [("jin1@example.org", PASSWORD), ("unknown@example.org", "anything goes")] {
        log_in(email, "wrong password 1", "192.0.2.1").await.expect_problem(401, "INVALID_CREDENTIALS");
        log_in(email, "wrong password 2", "192.0.2.2").await.expect_problem(401, "INVALID_CREDENTIALS");
        let refused = log_in(email, right, "192.0.2.3").await.expect_problem(429, "RATE_LIMITED");
        assert_eq!(refused.header("retry-after"), "1800");
    }
    log_in("JIN1@example.org", PASSWORD, "192.0.2.4").await.expect_problem(429, "RATE_LIMITED");
    app.advance(1_800);
    for _ in 0..3 {
        log_in("jin1@example.org", PASSWORD, "192.0.2.1").await.expect(200);
    }
}

/// Attempts that run at the same time are counted before their passwords are hashed. So no more of them fail than the
/// limit allows, and the wait afterwards is that for one attempt.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concurrent_failed_logins_are_all_counted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT", "4")]);
    app.anonymous().post("/api/v1/users", account(1)).await.expect(201);
    let wrong = json!({"email": "jin1@example.org", "password": "wrong password"});
    let attempts = (0..30).map(|_| post_from(&app, "192.0.2.1", "/api/v1/auth/login", &[], &wrong));
    let replies = futures::future::join_all(attempts).await;
    let failed = replies.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(failed, 4);
    let login = json!({"email": "jin1@example.org", "password": PASSWORD});
    let refused = post_from(&app, "192.0.2.2", "/api/v1/auth/login", &[], &login).await;
    assert_eq!(refused.expect_problem(429, "RATE_LIMITED").header("retry-after"), "900");
}

/// A reset gives the account another password hash, and failures are counted by it. So the owner can log in on every
/// server at once, however many attempts at the old password failed.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_new_password_resets_failed_logins(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = crate::support::Tables::of(&options).await;
    let app = TestApp::start_with(options, 2, &[("RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT", "1")]);
    let servers = app.on_every_server(&app.anonymous());
    for number in [1, 2] {
        servers[0].post("/api/v1/users", account(number)).await.expect(201);
    }
    let log_in = |server: usize, password: &str| {
        let body = json!({"email": "jin1@example.org", "password": password});
        let server = &servers[server];
        async move { server.post("/api/v1/auth/login", body).await }
    };
    for server in 0..2 {
        log_in(server, "wrong password").await.expect_problem(401, "INVALID_CREDENTIALS");
        log_in(server, PASSWORD).await.expect_problem(429, "RATE_LIMITED");
    }
    // The same password with a new hash.
    let reset = "UPDATE users u JOIN users other ON other.email_key = 'jin2@example.org' \
                 SET u.password_hash = other.password_hash WHERE u.email_key = 'jin1@example.org'";
    sqlx::query(reset).execute(&tables.pool).await.unwrap();
    for server in 0..2 {
        log_in(server, PASSWORD).await.expect(200);
    }
}

/// A test or a load generator on one machine stays far below every limit.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_defaults_allow_a_thousand_concurrent_requests_of_a_user(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 10).await;
    let buyer = app.buyer(&sale).await;
    let hold = |number: usize| {
        let (buyer, performance, seat) = (&buyer, sale.performance_id, sale.seats[number % 10]);
        async move { buyer.hold(performance, &[seat]).await }
    };
    for reply in futures::future::join_all((0..1_000).map(hold)).await {
        assert!([201, 409].contains(&reply.status.as_u16()), "{reply:?}");
    }
    let join = json!({"concertId": sale.concert_id});
    for reply in futures::future::join_all((0..1_000).map(|_| buyer.post("/api/v1/queue/tokens", join.clone()))).await {
        reply.expect(200);
    }
    // They are validated after they are counted, and before any hashing.
    let anonymous = app.anonymous();
    for reply in futures::future::join_all((0..3_000).map(|_| anonymous.post("/api/v1/users", json!({})))).await {
        reply.expect_problem(422, "VALIDATION_FAILED");
    }
}

/// Requests beyond the limit are refused at once, but operators always get an answer.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn requests_beyond_the_concurrency_limit_are_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("MAX_REQUESTS", "2")]);
    let user = app.user().await;
    let places = app.instances[0].shared.concurrency.sale.acquire_many(2).await.unwrap();
    user.get("/api/v1/points").await.expect_problem(503, "OVERLOADED");
    user.get("/readyz").await.expect(200);
    user.get("/metrics").await.expect(200);
    // Administrators have a separate limit.
    app.admin().await.get("/api/v1/admin/audit").await.expect(200);
    drop(places);
    user.get("/api/v1/points").await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn headers_that_are_too_large_are_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let text = "x".repeat(64 * 1024);
    let get = |text| {
        let anonymous = app.anonymous();
        async move { anonymous.send(axum::http::Method::GET, "/api/v1/concerts", &[("X-Note", text)], None).await }
    };
    get(&text).await.expect_problem(431, "HEADERS_TOO_LARGE");
    get(&text[..16 * 1024]).await.expect(200);
}
