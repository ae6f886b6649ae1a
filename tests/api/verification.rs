//! Verification of e-mail addresses, by codes from real mails.

use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, SmtpServer, Tables, TestApp};

const ME: &str = "/api/v1/users/me";
const REQUEST: &str = "/api/v1/users/me/email-verification";
const CONFIRM: &str = "/api/v1/users/me/email-verification/confirm";
const EMAIL: &str = "Jin@Example.org";

async fn confirm(client: &Client, code: &str) -> Reply {
    client.post(CONFIRM, json!({"code": code})).await
}

async fn is_verified(client: &Client) -> bool {
    client.get(ME).await.expect(200).json()["emailVerified"].as_bool().unwrap()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn signing_up_mails_a_code_that_verifies_the_address(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let jin = app.anonymous().signed_up(EMAIL, &[("Accept-Language", "ko-KR,ko;q=0.9,en;q=0.8")]).await;
    app.relay().await;
    let received = mails.drain().await;
    assert_eq!(received.len(), 1, "{received:?}");
    let mail = &received[0];
    assert_eq!((mail.to(), mail.sender.as_str()), (EMAIL, "tickets@concerts.example"));
    assert_eq!(mail.subject(), "이메일 주소를 확인해 주세요");
    assert_eq!(mail.headers["from"], "Tickets <tickets@concerts.example>");
    assert_eq!(mail.headers["auto-submitted"], "auto-generated");
    let id: String = sqlx::query_scalar("SELECT LOWER(HEX(id)) FROM outbox_events WHERE type = 'code.issued'")
        .fetch_one(&tables.pool)
        .await
        .unwrap();
    assert_eq!(mail.headers["message-id"].replace('-', ""), format!("<{id}@concerts.example>"));
    let code = mail.code();
    assert!(mail.html.contains(&code) && mail.html.contains("lang=\"ko\""), "{}", mail.html);
    assert!(!mail.text.contains("Jin"), "it says nothing that a stranger may have typed");
    assert!(
        tables.contain(EMAIL).await && !tables.contain(&code).await && !tables.contain(&code.replace('-', "")).await
    );

    assert!(!is_verified(&jin).await);
    confirm(&jin, &code.to_lowercase().replace('-', " ")).await.expect(204);
    confirm(&jin, &code).await.expect_problem(401, "INVALID_CODE");
    let admin = app.admin().await;
    let path = format!("/api/v1/admin/users/{}", jin.user_id());
    assert_eq!(admin.get(&path).await.expect(200).json()["emailVerified"], true);
    for jin in app.on_every_server(&jin) {
        assert!(is_verified(&jin).await);
    }
    jin.post(REQUEST, json!({})).await.expect(202);
    app.relay().await;
    assert_eq!(mails.drain().await.len(), 0, "the address is verified already");
}

/// A code works for its account, its purpose, and a day. The newest ones work side by side until one is used.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_code_works_for_its_own_account_and_purpose_alone(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (jin, mina) = (app.user().await, app.user().await);
    let verify = async |user: &Client| app.codes(&tables.pool, user.user_id(), "VERIFY_EMAIL").await;
    for user in [&jin, &jin, &mina] {
        user.post(REQUEST, json!({})).await.expect(202);
    }
    app.anonymous().post("/api/v1/auth/password-reset", json!({"email": "user0@example.org"})).await.expect(202);
    let (of_jin, of_mina) = (verify(&jin).await, verify(&mina).await);
    let reset = app.codes(&tables.pool, jin.user_id(), "RESET_PASSWORD").await;
    assert_eq!((of_jin.len(), of_mina.len(), reset.len()), (2, 1, 1));
    for wrong in [&of_mina[0], &reset[0], "", "0", &of_jin[0][1..], &"0".repeat(10_000)] {
        confirm(&jin, wrong).await.expect_problem(401, "INVALID_CODE");
    }
    confirm(&jin, &of_jin[0]).await.expect(204);
    confirm(&jin, &of_jin[1]).await.expect_problem(401, "INVALID_CODE");
    app.advance(86_400);
    confirm(&mina, &of_mina[0]).await.expect_problem(401, "INVALID_CODE");
    assert!(is_verified(&jin).await && !is_verified(&mina).await);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn wrong_codes_are_bounded_per_account(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings = [("RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT", "3")];
    let tables = Tables::of(&options).await;
    let app = TestApp::start_with(options, 1, &settings);
    let (jin, mina) = (app.user().await, app.user().await);
    jin.post(REQUEST, json!({})).await.expect(202);
    let code = app.codes(&tables.pool, jin.user_id(), "VERIFY_EMAIL").await.remove(0);
    for _ in 0..3 {
        confirm(&jin, "0000").await.expect_problem(401, "INVALID_CODE");
    }
    confirm(&jin, &code).await.expect_problem(429, "RATE_LIMITED");
    confirm(&mina, "0000").await.expect_problem(401, "INVALID_CODE");
    app.advance(20 * 60);
    confirm(&jin, &code).await.expect(204);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn joining_a_queue_needs_a_verified_address_where_that_is_required(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start_with(options, 2, &[("REQUIRE_VERIFIED_EMAIL", "true")]);
    let sale = app.sale(1, 1).await;
    let jin = app.user().await;
    let join = async |instance| {
        let client = app.at_instance(&jin, instance);
        client.post("/api/v1/queue/tokens", json!({"concertId": sale.concert_id})).await
    };
    for instance in [0, 1] {
        join(instance).await.expect_problem(403, "EMAIL_NOT_VERIFIED");
    }
    jin.post(REQUEST, json!({})).await.expect(202);
    let code = app.codes(&tables.pool, jin.user_id(), "VERIFY_EMAIL").await.remove(0);
    app.at_instance(&jin, 1).post(CONFIRM, json!({"code": code})).await.expect(204);
    join(0).await.expect(201);
    join(1).await.expect(200);
    app.assert_invariants_hold().await;
}
