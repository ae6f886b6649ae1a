//! Lifetimes of sessions and refresh tokens, and lost answers of an exchange.

use chrono::TimeDelta;
use concert_reservation::application::{
    event::{EventRetention, EventUpkeep},
    housekeeping::HousekeepingFacade,
};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, Servers, Tables, TestApp, one_and_two_servers};

const ME: &str = "/api/v1/users/me";
const PASSWORD: &str = "correct horse battery";
const DAY: i64 = 86_400;

one_and_two_servers!(concurrent_exchanges_of_one_refresh_token_get_one_answer);

async fn sign_up(app: &TestApp, email: &str) {
    let account = json!({"email": email, "password": PASSWORD, "name": "Jin"});
    app.anonymous().post("/api/v1/users", account).await.expect(201);
}

async fn log_in(app: &TestApp, email: &str) -> Reply {
    app.anonymous().post("/api/v1/auth/login", json!({"email": email, "password": PASSWORD})).await.expect(200)
}

async fn refresh(client: &Client, tokens: &Reply) -> Reply {
    client.post("/api/v1/auth/refresh", json!({"refreshToken": tokens.text("refreshToken")})).await
}

fn using(app: &TestApp, tokens: &Reply) -> Client {
    app.anonymous().with_token(tokens.text("accessToken"), tokens.text("userId").parse().unwrap())
}

/// The answer of an exchange is lost, and the client repeats the request on another server: it gets the same tokens,
/// and they work. Later the old token ends the session.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_refresh_token_used_again_within_seconds_gets_the_first_answer(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start_two(options);
    let servers = app.on_every_server(&app.anonymous());
    sign_up(&app, "jin@example.org").await;
    let first = log_in(&app, "jin@example.org").await;
    app.advance(60);
    let second = refresh(&servers[0], &first).await.expect(200);
    app.advance(9);
    for server in &servers {
        assert_eq!(refresh(server, &first).await.expect(200).json(), second.json());
    }
    using(&app, &second).get(ME).await.expect(200);
    // The first answer is the same after the second token was used, too.
    let third = refresh(&servers[1], &second).await.expect(200);
    assert_ne!(third.text("refreshToken"), second.text("refreshToken"));
    assert_eq!(refresh(&servers[0], &first).await.expect(200).json(), second.json());
    assert_eq!(refresh(&servers[0], &second).await.expect(200).json(), third.json());
    app.advance(1);
    refresh(&servers[1], &first).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    refresh(&servers[0], &third).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    using(&app, &third).get(ME).await.expect_problem(401, "UNAUTHENTICATED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn without_reuse_a_refresh_token_works_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("REFRESH_REUSE_SECONDS", "0")]);
    sign_up(&app, "jin@example.org").await;
    let first = log_in(&app, "jin@example.org").await;
    let second = refresh(&app.anonymous(), &first).await.expect(200);
    refresh(&app.anonymous(), &first).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    refresh(&app.anonymous(), &second).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
}

/// Two clients exchange one token at the same time, on one server or on two: both get the same new tokens.
async fn concurrent_exchanges_of_one_refresh_token_get_one_answer(servers: Servers) {
    let app = servers.start();
    let clients = app.on_every_server(&app.anonymous());
    sign_up(&app, "jin@example.org").await;
    let mut tokens = log_in(&app, "jin@example.org").await;
    for _ in 0..10 {
        let (one, other) = tokio::join!(refresh(&clients[0], &tokens), refresh(clients.last().unwrap(), &tokens));
        let (one, other) = (one.expect(200), other.expect(200));
        assert_eq!(one.json(), other.json());
        tokens = one;
    }
}

/// A client refreshes every ten days. The lifetimes of its tokens get shorter towards the session's end.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_session_ends_at_its_last_day_however_often_it_is_refreshed(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    sign_up(&app, "jin@example.org").await;
    let mut tokens = log_in(&app, "jin@example.org").await;
    for tens in 1..=8 {
        app.advance(10 * DAY);
        tokens = refresh(&app.anonymous(), &tokens).await.expect(200);
        let left = (90 - 10 * tens) * DAY;
        assert_eq!(tokens.json()["refreshExpiresIn"], left.min(14 * DAY));
    }
    app.advance(10 * DAY - 60);
    tokens = refresh(&app.anonymous(), &tokens).await.expect(200);
    assert_eq!((&tokens.json()["expiresIn"], &tokens.json()["refreshExpiresIn"]), (&json!(60), &json!(60)));
    app.advance(60);
    refresh(&app.anonymous(), &tokens).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    using(&app, &tokens).get(ME).await.expect_problem(401, "UNAUTHENTICATED");
}

/// The oldest token of a session reveals a copy as well as the newest one does, although its
/// row was removed long ago.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_old_refresh_token_ends_the_login_after_its_row_was_removed(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    sign_up(&app, "jin@example.org").await;
    let first = log_in(&app, "jin@example.org").await;
    let mut newest = refresh(&app.anonymous(), &first).await.expect(200);
    for _ in 0..5 {
        app.advance(3_600);
        newest = refresh(&app.anonymous(), &newest).await.expect(200);
    }
    assert_eq!(tables.count("SELECT COUNT(*) FROM refresh_tokens").await, 2);
    refresh(&app.anonymous(), &first).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    refresh(&app.anonymous(), &newest).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    using(&app, &newest).get(ME).await.expect_problem(401, "UNAUTHENTICATED");
}

/// Tokens of a former version are random texts. One is exchanged here, and its successors are like any others; one
/// that the former version has exchanged ends its session when it is used again.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn refresh_tokens_of_a_former_version_keep_working(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    sign_up(&app, "jin@example.org").await;
    let former = |text: &'static str| {
        let client = app.anonymous();
        async move { client.post("/api/v1/auth/refresh", json!({"refreshToken": text})).await }
    };
    let as_former = "UPDATE refresh_tokens SET digest = UNHEX(SHA2(?, 256)) WHERE used_at IS NULL";
    log_in(&app, "jin@example.org").await;
    sqlx::query(as_former).bind("random").execute(&tables.pool).await.unwrap();
    let first = former("random").await.expect(200);
    assert_eq!(former("random").await.expect(200).json(), first.json());
    let newest = refresh(&app.anonymous(), &first).await.expect(200);
    sqlx::query("UPDATE refresh_tokens SET successor_key = NULL").execute(&tables.pool).await.unwrap();
    former("random").await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    refresh(&app.anonymous(), &newest).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    former("unknown").await.expect_problem(401, "INVALID_REFRESH_TOKEN");
}

/// A year in steps of five days. Three users stay logged in as long as possible, and a fourth refreshes ten times
/// within seconds at each step. The tables stay as small as in the first months.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_year_of_sessions_leaves_small_tables(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let ports = app.ports().for_back_office();
    let retention = EventRetention { delivered: TimeDelta::hours(1), parked: Some(TimeDelta::days(10)) };
    let upkeep = EventUpkeep::new(ports.clone(), retention);
    let housekeeping = HousekeepingFacade::new(ports, upkeep);
    let users: Vec<_> = (0..4).map(|number| format!("jin{number}@example.org")).collect();
    let mut logins = 0;
    let mut tokens: Vec<Option<Reply>> = Vec::new();
    for email in &users {
        sign_up(&app, email).await;
        tokens.push(None);
    }
    for _ in 0..365 / 5 {
        for (number, email) in users.iter().enumerate() {
            for _ in 0..if number == 0 { 10 } else { 1 } {
                let refreshed = match &tokens[number] {
                    Some(old) => Some(refresh(&app.anonymous(), old).await).filter(|reply| reply.status == 200),
                    None => None,
                };
                logins += i64::from(refreshed.is_none());
                tokens[number] = Some(match refreshed {
                    Some(refreshed) => refreshed,
                    None => log_in(&app, email).await,
                });
                app.advance(1);
            }
        }
        app.advance(5 * DAY);
        while housekeeping.clean().await.unwrap() {}
        let sessions = tables.count("SELECT COUNT(*) FROM sessions").await;
        let kept = tables.count("SELECT COUNT(*) FROM refresh_tokens").await;
        assert!(sessions <= 8, "a live one for each user, and one that ended within a week: {sessions}");
        assert!(kept <= 8 * 2 + 2 * 10, "two a session, and those of the last minute: {kept}");
    }
    assert_eq!(logins, 4 * 5, "each user logs in every 90 days");
    assert_eq!(tokens.iter().flatten().map(Reply::json).filter(Value::is_object).count(), 4);
}
