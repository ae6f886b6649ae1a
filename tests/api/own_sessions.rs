//! A user's own sessions and password, over HTTP.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, TestApp, race};

const SESSIONS: &str = "/api/v1/users/me/sessions";
const PASSWORD_PATH: &str = "/api/v1/users/me/password";
const EMAIL: &str = "jin@example.org";
const OLD: &str = "correct horse battery";
const NEW: &str = "staple battery horse";

async fn sign_up(app: &TestApp) {
    let account = json!({"email": EMAIL, "password": OLD, "name": "Jin"});
    app.anonymous().post("/api/v1/users", account).await.expect(201);
}

async fn try_log_in(client: &Client, password: &str) -> Reply {
    client.post("/api/v1/auth/login", json!({"email": EMAIL, "password": password})).await
}

/// A client with a session of its own.
async fn log_in(app: &TestApp) -> Client {
    let tokens = try_log_in(&app.anonymous(), OLD).await.expect(200);
    app.anonymous().with_token(tokens.text("accessToken"), tokens.text("userId").parse().unwrap())
}

fn change(current: &str, new: &str) -> Value {
    json!({"currentPassword": current, "newPassword": new})
}

async fn items(client: &Client) -> Vec<Value> {
    client.get(SESSIONS).await.expect(200).json()["items"].as_array().unwrap().clone()
}

fn id(session: &Value) -> &str {
    session["sessionId"].as_str().unwrap()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn own_live_sessions_are_listed_newest_first(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    sign_up(&app).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        app.advance(1);
        clients.push(log_in(&app).await);
    }
    let listed = items(&clients[0]).await;
    assert_eq!(listed.len(), 3);
    assert_eq!(listed.iter().map(|session| session["current"].clone()).collect::<Vec<_>>(), [false, false, true]);
    assert!(listed.is_sorted_by(|newer, older| newer["createdAt"].as_str() > older["createdAt"].as_str()));
    assert!(listed.iter().all(|session| session["lastUsedAt"] == session["createdAt"]));
    let first = clients[0].get(&format!("{SESSIONS}?limit=2")).await.expect(200).json();
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = clients[0].get(&format!("{SESSIONS}?limit=2&cursor={cursor}")).await.expect(200).json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest["nextCursor"], Value::Null);
    // Another user sees none of them.
    assert_eq!(items(&app.user().await).await.len(), 1);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_refresh_counts_as_use_and_the_user_agent_is_shown(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    sign_up(&app).await;
    let login = Some(json!({"email": EMAIL, "password": OLD}));
    let headers = [("User-Agent", "Browser/1.0 (X)")];
    let tokens = app.anonymous().send(Method::POST, "/api/v1/auth/login", &headers, login).await.expect(200);
    app.advance(60);
    let refreshed = json!({"refreshToken": tokens.text("refreshToken")});
    let tokens = app.anonymous().post("/api/v1/auth/refresh", refreshed).await.expect(200);
    let client = app.anonymous().with_token(tokens.text("accessToken"), tokens.text("userId").parse().unwrap());
    let session = &items(&client).await[0];
    assert_eq!(session["userAgent"], "Browser/1.0 (X)");
    assert!(session["lastUsedAt"].as_str() > session["createdAt"].as_str(), "{session}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_session_is_ended_on_every_instance(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    sign_up(&app).await;
    let (first, second) = (log_in(&app).await, log_in(&app).await);
    let listed = items(&first).await;
    let other = listed.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("{SESSIONS}/{}", id(other));
    app.user().await.delete(&path).await.expect_problem(404, "SESSION_NOT_FOUND");
    first.delete(&path).await.expect(204);
    first.delete(&path).await.expect_problem(404, "SESSION_NOT_FOUND");
    first.delete(&format!("{SESSIONS}/1")).await.expect_problem(404, "SESSION_NOT_FOUND");
    app.tick().await;
    for client in app.on_every_server(&second) {
        client.get(SESSIONS).await.expect_problem(401, "UNAUTHENTICATED");
    }
    assert_eq!(items(&first).await.len(), 1);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn logging_out_everywhere_ends_every_own_session(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    sign_up(&app).await;
    let (first, second, stranger) = (log_in(&app).await, log_in(&app).await, app.user().await);
    first.delete(SESSIONS).await.expect(204);
    for client in [first, second] {
        client.get(SESSIONS).await.expect_problem(401, "UNAUTHENTICATED");
    }
    assert_eq!(items(&stranger).await.len(), 1);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_password_change_ends_every_other_session(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    sign_up(&app).await;
    let (first, second) = (log_in(&app).await, log_in(&app).await);
    first.post(PASSWORD_PATH, change("wrong horse battery", NEW)).await.expect_problem(401, "INVALID_CREDENTIALS");
    first.post(PASSWORD_PATH, change(OLD, "short")).await.expect_problem(422, "VALIDATION_FAILED");
    assert_eq!(items(&second).await.len(), 2);
    first.post(PASSWORD_PATH, change(OLD, NEW)).await.expect(204);
    second.get(SESSIONS).await.expect_problem(401, "UNAUTHENTICATED");
    assert_eq!(items(&first).await.len(), 1);
    try_log_in(&app.anonymous(), OLD).await.expect_problem(401, "INVALID_CREDENTIALS");
    try_log_in(&app.anonymous(), NEW).await.expect(200);
}

/// Two requests that change the same password: one wins, and the other finds another password than it has verified.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn of_two_concurrent_password_changes_one_succeeds(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    sign_up(&app).await;
    let client = log_in(&app).await;
    let [first, second] = [0, 1].map(|instance| app.at_instance(&client, instance));
    let changes = [(first, "password number one"), (second, "password number two")];
    let replies =
        race(changes.map(|(client, new)| async move {
            (new, client.post(PASSWORD_PATH, change(OLD, new)).await.status.as_u16())
        }))
        .await;
    let mut statuses: Vec<_> = replies.iter().map(|(_, status)| *status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401], "{replies:?}");
    for (password, status) in replies {
        let expected = if status == 204 { 200 } else { 401 };
        assert_eq!(try_log_in(&app.anonymous(), password).await.status, expected);
    }
}

/// A login that verified the old password before the change either loses, or its session is ended by the change.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn no_session_of_the_old_password_outlives_its_change(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    sign_up(&app).await;
    let client = log_in(&app).await;
    let (mut current, mut next) = (OLD, NEW);
    for _ in 0..4 {
        let anonymous = app.anonymous();
        let (changed, logged_in) =
            tokio::join!(client.post(PASSWORD_PATH, change(current, next)), try_log_in(&anonymous, current));
        changed.expect(204);
        if logged_in.status == 200 {
            let token = logged_in.text("accessToken");
            let other = anonymous.with_token(token, logged_in.text("userId").parse().unwrap());
            other.get(SESSIONS).await.expect_problem(401, "UNAUTHENTICATED");
        }
        (current, next) = (next, current);
    }
    assert_eq!(items(&client).await.len(), 1);
}
