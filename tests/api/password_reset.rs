//! New passwords by mailed codes.

use axum::http::Method;
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{PASSWORD, Reply, SmtpServer, Tables, TestApp};

const REQUEST: &str = "/api/v1/auth/password-reset";
const CONFIRM: &str = "/api/v1/auth/password-reset/confirm";
const SESSIONS: &str = "/api/v1/users/me/sessions";
const EMAIL: &str = "jin@example.org";
const NEW: &str = "staple battery horse";

async fn request(app: &TestApp, email: &str) -> Reply {
    app.anonymous().post(REQUEST, json!({"email": email})).await.expect(202)
}

async fn confirm(app: &TestApp, code: &str, password: &str) -> Reply {
    app.anonymous().post(CONFIRM, json!({"code": code, "newPassword": password})).await
}

/// A forgotten password: the account is locked out, and logged in on two devices.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_mailed_code_sets_a_new_password_and_ends_every_session(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let limit = ("RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT", "2");
    let app = TestApp::start_with(options, 2, &[&mails.settings(&mut url)[..], &[limit]].concat());
    let anonymous = app.anonymous();
    let first = anonymous.signed_up(EMAIL, &[]).await;
    let second = app.at_instance(&anonymous.logged_in(EMAIL, PASSWORD).await, 1);
    for _ in 0..2 {
        anonymous.log_in(EMAIL, "another password").await.expect_problem(401, "INVALID_CREDENTIALS");
    }
    anonymous.log_in(EMAIL, PASSWORD).await.expect_problem(429, "RATE_LIMITED");
    app.relay().await;
    mails.drain().await;
    let headers = [("Accept-Language", "ko")];
    anonymous.send(Method::POST, REQUEST, &headers, Some(json!({"email": "JIN@example.org"}))).await.expect(202);
    app.relay().await;
    let received = mails.drain().await;
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!((received[0].to(), received[0].subject()), (EMAIL, "비밀번호를 다시 설정해 주세요"));
    let code = received[0].code();
    assert!(!tables.contain(&code).await && !tables.contain(&code.replace('-', "")).await);

    confirm(&app, &code, "short").await.expect_problem(422, "VALIDATION_FAILED");
    assert_eq!(first.get(SESSIONS).await.expect(200).json()["items"].as_array().unwrap().len(), 2);
    confirm(&app, &code, NEW).await.expect(204);
    confirm(&app, &code, "a third password").await.expect_problem(401, "INVALID_CODE");
    app.tick().await;
    for client in [&first, &second] {
        for client in app.on_every_server(client) {
            client.get(SESSIONS).await.expect_problem(401, "UNAUTHENTICATED");
        }
    }
    anonymous.log_in(EMAIL, PASSWORD).await.expect_problem(401, "INVALID_CREDENTIALS");
    anonymous.logged_in(EMAIL, NEW).await.get(SESSIONS).await.expect(200);
}

/// The same statements run for an address without an account: their rows differ in the account alone.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unknown_address_gets_the_same_answer_and_no_mail(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 1, &mails.settings(&mut url));
    app.user().await;
    let rows = async || {
        let codes = tables.count("SELECT COUNT(*) FROM mailed_codes").await;
        (codes, tables.count("SELECT COUNT(*) FROM outbox_events").await)
    };
    let known = request(&app, "user0@example.org").await;
    assert_eq!(rows().await, (1, 1));
    let unknown = request(&app, "unknown@example.org").await;
    assert_eq!(rows().await, (2, 2));
    assert_eq!((known.bytes.as_slice(), unknown.bytes.as_slice()), (&b""[..], &b""[..]));
    let names = |reply: &Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&known), names(&unknown));
    app.relay().await;
    let received = mails.drain().await;
    assert_eq!((received.len(), received[0].to()), (1, "user0@example.org"));
    assert_eq!(tables.count("SELECT COUNT(*) FROM event_deliveries WHERE status <> 'DELIVERED'").await, 0);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_code_works_for_thirty_minutes_until_another_is_used(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let jin = app.anonymous().signed_up(EMAIL, &[]).await;
    let codes = async || app.codes(&tables.pool, jin.user_id(), "RESET_PASSWORD").await;
    request(&app, EMAIL).await;
    let expired = codes().await.remove(0);
    app.advance(30 * 60);
    confirm(&app, &expired, NEW).await.expect_problem(401, "INVALID_CODE");
    request(&app, EMAIL).await;
    request(&app, EMAIL).await;
    let mut alive = codes().await.split_off(1);
    app.advance(30 * 60 - 1);
    confirm(&app, &alive.remove(0), NEW).await.expect(204);
    confirm(&app, &alive.remove(0), PASSWORD).await.expect_problem(401, "INVALID_CODE");
    // A code to verify the address sets no password.
    let verification = app.codes(&tables.pool, jin.user_id(), "VERIFY_EMAIL").await.remove(0);
    confirm(&app, &verification, PASSWORD).await.expect_problem(401, "INVALID_CODE");
    // A change of the password ends the code.
    let jin = app.anonymous().logged_in(EMAIL, NEW).await;
    request(&app, EMAIL).await;
    let code = codes().await.pop().unwrap();
    let change = json!({"currentPassword": NEW, "newPassword": PASSWORD});
    jin.post("/api/v1/users/me/password", change).await.expect(204);
    confirm(&app, &code, NEW).await.expect_problem(401, "INVALID_CODE");
}

/// Requests for one address are answered alike, and few of them are mailed. Later ones are mailed again.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_account_is_sent_few_codes(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let jin = app.user().await;
    for expected in [5, 0] {
        for _ in 0..7 {
            request(&app, "user0@example.org").await;
        }
        app.relay().await;
        assert_eq!(mails.drain().await.len(), expected);
    }
    for _ in 0..7 {
        jin.post("/api/v1/users/me/email-verification", json!({})).await.expect(202);
    }
    app.advance(3_601);
    request(&app, "user0@example.org").await;
    app.relay().await;
    assert_eq!(mails.drain().await.len(), 5 + 1, "the other purpose's, and one after an hour");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn requests_and_tries_are_bounded_per_client_address(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("RATE_LIMIT_CODES_PER_ADDRESS", "3")]);
    request(&app, "a@example.org").await;
    request(&app, "b@example.org").await;
    confirm(&app, "0000", NEW).await.expect_problem(401, "INVALID_CODE");
    confirm(&app, "0000", NEW).await.expect_problem(429, "RATE_LIMITED");
    app.anonymous().post(REQUEST, json!({"email": "c@example.org"})).await.expect_problem(429, "RATE_LIMITED");
}

/// A deleted or blocked user gets no mail, also if it was requested before, and its codes don't work.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn neither_a_deleted_nor_a_blocked_user_gets_mail(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 1, &mails.settings(&mut url));
    let (deleted, blocked, admin) = (app.user().await, app.user().await, app.admin().await);
    let mut codes = Vec::new();
    for (user, email) in [(&deleted, "user0@example.org"), (&blocked, "user1@example.org")] {
        request(&app, email).await;
        codes.extend(app.codes(&tables.pool, user.user_id(), "RESET_PASSWORD").await);
    }
    deleted.delete("/api/v1/users/me").await.expect(204);
    let path = format!("/api/v1/admin/users/{}", blocked.user_id());
    let block = json!({"blocked": true, "reason": "Fraud."});
    admin.send(Method::PATCH, &path, &[], Some(block)).await.expect(200);
    request(&app, "user1@example.org").await;
    app.relay().await;
    assert_eq!(mails.drain().await.len(), 0);
    assert_eq!(tables.count("SELECT COUNT(*) FROM event_deliveries WHERE status <> 'DELIVERED'").await, 0);
    assert_eq!(codes.len(), 2);
    for code in codes {
        confirm(&app, &code, NEW).await.expect_problem(401, "INVALID_CODE");
    }
    assert!(!tables.contain("user0@example.org").await, "the address is erased");
}
