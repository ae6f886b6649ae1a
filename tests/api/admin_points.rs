//! Changes of balances by administrators.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Reply, TestApp};

const ACTIONS: &str = "/api/v1/admin/actions";

fn path_of(user: Uuid) -> String {
    format!("/api/v1/admin/users/{user}/points")
}

async fn adjust(admin: &Client, user: Uuid, key: &str, amount: &str) -> Reply {
    admin.post_keyed(&path_of(user), key, json!({"amount": amount, "reason": "charged twice"})).await
}

async fn items(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).await.expect(200).json()["items"].as_array().unwrap().clone()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn points_are_added_and_taken_with_an_entry_in_ledger_and_action_log(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let (admin, user) = (app.admin().await, app.user().await);
    // The first change of a wallet, then one of a wallet that exists.
    let added = adjust(&admin, user.user_id(), "add", "500.50").await.expect(201).json();
    app.advance(1);
    let taken = adjust(&admin, user.user_id(), "take", "-200").await.expect(201).json();
    for (entry, amount, balance, version) in [(&added, "500.50", "500.50", 1), (&taken, "-200", "300.50", 2)] {
        assert_eq!((&entry["type"], &entry["amount"]), (&json!("ADJUSTMENT"), &json!(amount)));
        assert_eq!((&entry["balance"], &entry["version"]), (&json!(balance), &json!(version)));
        assert_eq!(entry["userId"], user.user_id().to_string());
    }
    let points = user.get("/api/v1/points").await.expect(200).json();
    assert_eq!((&points["balance"], &points["version"]), (&json!("300.50"), &json!(2)));
    let ledger = items(&user, "/api/v1/points/transactions").await;
    assert_eq!(ledger.iter().map(|entry| &entry["amount"]).collect::<Vec<_>>(), ["-200", "500.50"]);
    assert!(ledger.iter().all(|entry| entry["type"] == "ADJUSTMENT" && entry["bookingId"].is_null()));
    let actions = items(&admin, ACTIONS).await;
    assert_eq!(actions.len(), 2);
    assert_eq!((&actions[0]["action"], &actions[0]["reason"]), (&json!("points.adjusted"), &json!("charged twice")));
    assert_eq!(actions[0]["targetId"], taken["transactionId"]);
    assert_eq!(actions[0]["details"], format!("user {}: -200, balance 300.50", user.user_id()));
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_repeated_adjustment_has_one_effect(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let (admin, user) = (app.admin().await, app.user().await);
    let first = adjust(&admin, user.user_id(), "once", "100").await.expect(201);
    for client in app.on_every_server(&admin) {
        let again = adjust(&client, user.user_id(), "once", "100").await.expect(201);
        assert_eq!((again.header("idempotency-replayed"), &again.bytes), ("true", &first.bytes));
        adjust(&client, user.user_id(), "once", "101").await.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    // Another administrator's key is another key.
    adjust(&app.admin().await, user.user_id(), "once", "100").await.expect(201);
    assert_eq!(user.balance().await, "200");
    assert_eq!(items(&admin, ACTIONS).await.len(), 2);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_adjustment_beyond_the_bounds_of_a_balance_changes_nothing(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let (admin, user) = (app.admin().await, app.user().await);
    user.charge("1000").await;
    let problem = adjust(&admin, user.user_id(), "take", "-1000.01").await.expect_problem(402, "INSUFFICIENT_POINTS");
    let problem = problem.json();
    assert_eq!((&problem["balance"], &problem["required"]), (&json!("1000"), &json!("1000.01")));
    let full = adjust(&admin, user.user_id(), "add", "999999999000").await;
    full.expect_problem(409, "BALANCE_LIMIT_EXCEEDED");
    adjust(&admin, Uuid::nil(), "unknown", "1").await.expect_problem(404, "USER_NOT_FOUND");
    let deleted = app.user().await;
    deleted.delete("/api/v1/users/me").await.expect(204);
    adjust(&admin, deleted.user_id(), "deleted", "1").await.expect_problem(404, "USER_NOT_FOUND");
    assert_eq!(user.balance().await, "1000");
    assert!(items(&admin, ACTIONS).await.is_empty());
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn what_cannot_be_an_adjustment_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (admin, user) = (app.admin().await, app.user().await);
    let path = path_of(user.user_id());
    for body in [
        json!({"amount": "0", "reason": "x"}),
        json!({"amount": "-0.00", "reason": "x"}),
        json!({"amount": "+1", "reason": "x"}),
        json!({"amount": "1.001", "reason": "x"}),
        json!({"amount": "10000000000000", "reason": "x"}),
        json!({"amount": true, "reason": "x"}),
        json!({"amount": "1"}),
        json!({"amount": "1", "reason": " "}),
        json!({"reason": "x"}),
        json!({"amount": "1", "reason": "x", "more": 1}),
    ] {
        admin.post_keyed(&path, "key", body).await.expect_problem(422, "VALIDATION_FAILED");
    }
    let body = json!({"amount": "1", "reason": "x"});
    admin.post(&path, body.clone()).await.expect_problem(400, "IDEMPOTENCY_KEY_REQUIRED");
    user.post_keyed(&path, "key", body.clone()).await.expect_problem(403, "FORBIDDEN");
    app.anonymous().post_keyed(&path, "key", body.clone()).await.expect_problem(401, "UNAUTHENTICATED");
    admin.post_keyed("/api/v1/admin/users/1/points", "key", body).await.expect_problem(404, "USER_NOT_FOUND");
    // A number is a decimal, too, with a sign.
    let headers = [("Idempotency-Key", "number"), ("Content-Type", "application/json")];
    let added = r#"{"amount": 10.5, "reason": "x"}"#;
    admin.send_raw(Method::POST, &path, &headers, added).await.expect(201);
    let headers = [("Idempotency-Key", "negative"), ("Content-Type", "application/json")];
    let taken = r#"{"amount": -10.5, "reason": "x"}"#;
    admin.send_raw(Method::POST, &path, &headers, taken).await.expect(201);
    assert_eq!(user.balance().await, "0");
}
