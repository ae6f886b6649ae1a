//! Top-ups: points bought through the payment sandbox, with every message that a provider may send.

use axum::http::Method;
use serde_json::json;
use sqlx::{
    MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::support::{SANDBOX, SANDBOX_EVENTS, TOP_UPS, TestApp, checkout_path, id_of, notification};

const CHARGES: &str = "/api/v1/points/charges";

fn start(options: MySqlConnectOptions) -> TestApp {
    TestApp::start_with(options, 1, &SANDBOX)
}

async fn execute(pool: &MySqlPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.unwrap();
}

async fn count(pool: &MySqlPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_paid_top_up_credits_the_wallet(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options);
    let user = app.user().await;
    let reply = user.post_keyed(TOP_UPS, "k", json!({"amount": "50000.50"})).await.expect(201);
    let top_up = reply.json();
    assert_eq!(reply.header("location"), format!("{TOP_UPS}/{}", id_of(&top_up)));
    assert_eq!((&top_up["status"], &top_up["amount"]), (&json!("PENDING"), &json!("50000.50")));
    assert_eq!((&top_up["secondsLeft"], &top_up["completedAt"]), (&json!(3_600), &json!(null)));
    assert_eq!(user.balance().await, "0");

    let page = user.get(&checkout_path(&top_up)).await.expect(200);
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(page.bytes).unwrap();
    assert!(html.contains(&format!("href=\"/?topUpId={}\"", id_of(&top_up))), "the way back: {html}");
    assert!(html.contains("50000.50 points") && html.contains(id_of(&top_up)) && !html.contains("<script"), "{html}");

    let chosen = user.choose(&top_up, "success").await;
    assert_eq!(chosen.header("location"), checkout_path(&top_up));
    let completed = user.top_up_again(&top_up).await;
    assert_eq!((&completed["status"], &completed["secondsLeft"]), (&json!("COMPLETED"), &json!(null)));
    assert!(completed["completedAt"].is_string());
    assert_eq!(user.balance().await, "50000.50");
    let transactions = user.get("/api/v1/points/transactions").await.expect(200).json();
    assert_eq!(transactions["items"].as_array().unwrap().len(), 1);
    let entry = &transactions["items"][0];
    assert_eq!((&entry["type"], &entry["amount"]), (&json!("CHARGE"), &json!("50000.50")));
    assert_eq!(entry["transactionId"], top_up["topUpId"]);

    // The answer of the key is the first one, whatever became of the top-up.
    let again = user.post_keyed(TOP_UPS, "k", json!({"amount": "50000.50"})).await.expect(201);
    assert_eq!((again.bytes.clone(), again.header("idempotency-replayed")), (reply.bytes, "true"));
    let other = user.post_keyed(TOP_UPS, "k", json!({"amount": "1"})).await;
    other.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_sandbox_plays_every_outcome(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options);
    let user = app.user().await;
    let mut balance = 0;
    for (outcome, status, then) in [
        ("success", "COMPLETED", "COMPLETED"),
        ("failure", "FAILED", "FAILED"),
        ("double", "COMPLETED", "COMPLETED"),
        ("late", "PENDING", "COMPLETED"),
    ] {
        let top_up = user.top_up("100").await;
        user.choose(&top_up, outcome).await;
        assert_eq!(user.top_up_again(&top_up).await["status"], status, "{outcome}");
        user.choose(&top_up, "notify").await;
        // What is concluded stays so.
        user.choose(&top_up, "success").await;
        let ended = user.top_up_again(&top_up).await;
        assert_eq!(ended["status"], then, "{outcome}");
        assert_eq!(ended["failure"], if then == "FAILED" { json!("DECLINED") } else { json!(null) });
        balance += if then == "COMPLETED" { 100 } else { 0 };
        assert_eq!(user.balance().await, balance.to_string(), "{outcome}");
    }
    let bad = [("Content-Type", "application/x-www-form-urlencoded")];
    let top_up = user.top_up("100").await;
    let path = checkout_path(&top_up);
    user.send_raw(Method::POST, &path, &bad, "outcome=x").await.expect_problem(400, "MALFORMED_REQUEST");
    user.send_raw(Method::POST, &path, &[], "outcome=success").await.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
    for id in ["x", "0192f3c4-5b6a-7c8d-9e0f-112233445566"] {
        let unknown = format!("/payment-providers/sandbox/checkouts/{id}");
        user.get(&unknown).await.expect_problem(404, "NOT_FOUND");
        user.send_raw(Method::POST, &unknown, &bad, "outcome=success").await.expect_problem(404, "NOT_FOUND");
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn points_are_charged_or_bought_never_both(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (with, without) = (start(options.clone()), TestApp::start(options));
    for (app, path, code) in [(&with, CHARGES, "TOP_UP_REQUIRED"), (&without, TOP_UPS, "NO_PAYMENT_PROVIDER")] {
        // The accounts are one server's: each numbers its own.
        let user = with.user().await.with_router(app.instances[0].router());
        let refused = user.post_keyed(path, "k", json!({"amount": "10"})).await.expect_problem(409, code);
        let again = user.post_keyed(path, "k", json!({"amount": "10"})).await.expect_problem(409, code);
        assert_eq!((again.bytes.clone(), again.header("idempotency-replayed")), (refused.bytes, "true"));
        let reused = user.post_keyed(path, "k", json!({"amount": "11"})).await;
        reused.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
        // Validation comes first, then the key.
        user.post(path, json!({"amount": "0"})).await.expect_problem(422, "VALIDATION_FAILED");
        user.post(path, json!({"amount": "10"})).await.expect_problem(400, "IDEMPOTENCY_KEY_REQUIRED");
        assert_eq!(user.balance().await, "0");
    }
    let user = with.user().await.with_router(without.instances[0].router());
    user.charge("10").await;
    user.send_raw(Method::POST, SANDBOX_EVENTS, &[("Content-Type", "application/json")], "{}")
        .await
        .expect_problem(404, "PAYMENT_PROVIDER_NOT_FOUND");
    user.get("/payment-providers/sandbox/checkouts/0192f3c4-5b6a-7c8d-9e0f-112233445566")
        .await
        .expect_problem(404, "NOT_FOUND");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn users_see_their_own_top_ups_alone(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options);
    let (user, other) = (app.user().await, app.user().await);
    let mut ids = Vec::new();
    for amount in ["1", "2", "3"] {
        app.advance(1);
        ids.push(id_of(&user.top_up(amount).await).to_owned());
    }
    let page = user.get(&format!("{TOP_UPS}?limit=2")).await.expect(200).json();
    let listed = |page: &serde_json::Value| -> Vec<_> {
        page["items"].as_array().unwrap().iter().map(|item| id_of(item).to_owned()).collect()
    };
    assert_eq!(listed(&page), [ids[2].clone(), ids[1].clone()]);
    let next = page["nextCursor"].as_str().unwrap();
    let page = user.get(&format!("{TOP_UPS}?limit=2&cursor={next}")).await.expect(200).json();
    assert_eq!((listed(&page), &page["nextCursor"]), (vec![ids[0].clone()], &json!(null)));
    other.get(&format!("{TOP_UPS}/{}", ids[0])).await.expect_problem(404, "TOP_UP_NOT_FOUND");
    user.get(&format!("{TOP_UPS}/x")).await.expect_problem(404, "TOP_UP_NOT_FOUND");
    assert!(listed(&other.get(TOP_UPS).await.expect(200).json()).is_empty());
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_notification_is_believed_by_its_signature_alone(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options);
    let user = app.user().await;
    let top_up = user.top_up("100").await;
    let paid = notification(&top_up, "PAID");
    let provider = app.anonymous();
    let signature = format!("t={},v1={}", app.now().timestamp(), "0".repeat(64));
    for header in [None, Some("x"), Some(signature.as_str())] {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(header.map(|value| ("Sandbox-Signature", value)));
        let forged = provider.send_raw(Method::POST, SANDBOX_EVENTS, &headers, paid.to_string()).await;
        forged.expect_problem(401, "INVALID_SIGNATURE");
    }
    for minutes in [-6, 6] {
        let at = app.now() + chrono::TimeDelta::minutes(minutes);
        provider.notify(&paid, at).await.expect_problem(401, "INVALID_SIGNATURE");
    }
    provider.notify(&json!({"state": "PAID"}), app.now()).await.expect_problem(400, "MALFORMED_REQUEST");
    for name in ["stripe", "none", "x"] {
        let path = format!("/api/v1/payment-providers/{name}/events");
        provider.post(&path, json!({})).await.expect_problem(404, "PAYMENT_PROVIDER_NOT_FOUND");
    }
    // An unknown top-up, or another checkout of a known one, has no effect, and the provider needn't repeat it.
    for (member, value) in [("topUpId", user.user_id()), ("checkoutId", user.user_id())] {
        let mut other = paid.clone();
        other[member] = json!(value);
        provider.notify(&other, app.now()).await.expect(204);
    }
    assert_eq!(user.top_up_again(&top_up).await["status"], "PENDING");
    assert_eq!(user.balance().await, "0");

    provider.notify(&paid, app.now()).await.expect(204);
    assert_eq!(user.balance().await, "100");
}

/// Every order of three messages, each sent twice, also after the deadline: a payment is credited once, and nothing
/// else is.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn notifications_have_one_effect_in_whatever_order_they_come(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options);
    let user = app.user().await;
    let mut balance = 0;
    for states in [
        ["PAID", "FAILED", "EXPIRED"],
        ["FAILED", "PAID", "EXPIRED"],
        ["EXPIRED", "FAILED", "PAID"],
        ["FAILED", "EXPIRED", "OPEN"],
    ] {
        for late in [false, true] {
            let top_up = user.top_up("100").await;
            if late {
                app.advance(3_601);
                app.tick().await;
                assert_eq!(user.top_up_again(&top_up).await["status"], "EXPIRED");
            }
            for state in states.into_iter().chain(states) {
                user.notify(&notification(&top_up, state), app.now()).await.expect(204);
            }
            let is_paid = states.contains(&"PAID");
            balance += if is_paid { 100 } else { 0 };
            let expected = match (is_paid, late) {
                (true, _) => "COMPLETED",
                (false, true) => "EXPIRED",
                (false, false) => "FAILED",
            };
            assert_eq!(user.top_up_again(&top_up).await["status"], expected, "{states:?}, {late}");
            assert_eq!(user.balance().await, balance.to_string(), "{states:?}, {late}");
        }
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_job_asks_the_provider_when_no_notification_comes(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let user = app.user().await;
    let (paid, unpaid, too_late) = (user.top_up("100").await, user.top_up("10").await, user.top_up("1").await);
    user.choose(&paid, "late").await;
    app.tick().await;
    assert_eq!(user.top_up_again(&paid).await["status"], "PENDING", "it isn't due");
    app.advance(10);
    app.tick().await;
    assert_eq!(user.top_up_again(&paid).await["status"], "COMPLETED");
    assert_eq!(user.top_up_again(&unpaid).await["status"], "PENDING");

    app.advance(3_590);
    assert_eq!(user.top_up_again(&unpaid).await["status"], "EXPIRED", "before any job has run");
    app.tick().await;
    for top_up in [&unpaid, &too_late] {
        assert_eq!(user.top_up_again(top_up).await["status"], "EXPIRED");
        // The job has ended the checkout, so that a payer can't pay for nothing.
        user.choose(top_up, "success").await;
        assert_eq!(user.top_up_again(top_up).await["status"], "EXPIRED");
    }
    assert_eq!(user.balance().await, "100");
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM top_ups WHERE next_attempt_at IS NOT NULL").await, 0);
    app.assert_invariants_hold().await;
}

/// A payment that can't be credited goes back to the payer.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_payment_that_the_wallet_cannot_take_goes_back(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let (full, gone) = (app.user().await, app.user().await);
    let (first, second) = (full.top_up("100").await, full.top_up("100").await);
    full.choose(&first, "success").await;
    // Points that were moved by other means would break the invariants of the ledger; here only the limit counts.
    execute(&pool, "UPDATE point_wallets SET balance = 999999999999.99").await;
    let refused = full.post_keyed(TOP_UPS, "k", json!({"amount": "1"})).await;
    refused.expect_problem(409, "BALANCE_LIMIT_EXCEEDED");
    full.choose(&second, "success").await;
    let returned = full.top_up_again(&second).await;
    assert_eq!((&returned["status"], &returned["failure"]), (&json!("FAILED"), &json!("BALANCE_LIMIT_EXCEEDED")));
    assert_eq!(returned["refundedAt"], json!(null));
    app.tick().await;
    assert!(full.top_up_again(&second).await["refundedAt"].is_string());

    let unpaid = gone.top_up("100").await;
    gone.delete("/api/v1/users/me").await.expect(204);
    app.anonymous().choose(&unpaid, "success").await;
    app.tick().await;
    let returned = "SELECT COUNT(*) FROM top_ups WHERE status = 'FAILED' AND failure = 'ACCOUNT_CLOSED' \
                    AND refunded_at IS NOT NULL";
    assert_eq!(count(&pool, returned).await, 1);
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM sandbox_checkouts WHERE refunded_at IS NOT NULL").await, 2);

    let paid_short = app.user().await;
    let top_up = paid_short.top_up("100").await;
    let mut short = notification(&top_up, "PAID");
    short["amount"] = json!("99");
    paid_short.notify(&short, app.now()).await.expect(204);
    assert_eq!(paid_short.top_up_again(&top_up).await["failure"], "WRONG_AMOUNT");
}

/// The state that a server leaves behind which dies between the top-up's row and the answer.
async fn forget_the_answer(pool: &MySqlPool, with_checkout: bool) {
    execute(
        pool,
        "UPDATE top_ups t JOIN idempotency_keys k SET t.request_digest = k.digest, \
         t.request_fingerprint = k.fingerprint, t.next_attempt_at = DATE_ADD(t.created_at, INTERVAL 30 SECOND)",
    )
    .await;
    execute(pool, "DELETE FROM idempotency_keys").await;
    if !with_checkout {
        execute(pool, "UPDATE top_ups SET checkout_id = NULL, checkout_url = NULL").await;
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_request_that_was_never_answered_is_continued(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options.clone());
    let pool = MySqlPool::connect_lazy_with(options);
    let user = app.user().await;
    let body = json!({"amount": "100"});
    let first = user.post_keyed(TOP_UPS, "k", body.clone()).await.expect(201).json();
    forget_the_answer(&pool, false).await;
    let reused = user.post_keyed(TOP_UPS, "k", json!({"amount": "1"})).await;
    reused.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    // The repetition continues once the dead server's lease has ended, and gets the same checkout.
    app.advance(31);
    let repeated = user.post_keyed(TOP_UPS, "k", body.clone()).await.expect(201);
    assert_eq!(repeated.json()["topUpId"], first["topUpId"]);
    assert_eq!(repeated.json()["checkoutUrl"], first["checkoutUrl"]);
    let replayed = user.post_keyed(TOP_UPS, "k", body.clone()).await.expect(201);
    assert_eq!((replayed.bytes.clone(), replayed.header("idempotency-replayed")), (repeated.bytes, "true"));

    // Without a repetition the job creates the checkout, and a late repetition is answered from it.
    forget_the_answer(&pool, false).await;
    app.advance(31);
    app.tick().await;
    assert_eq!(user.top_up_again(&first).await["checkoutUrl"], first["checkoutUrl"]);
    let late = user.post_keyed(TOP_UPS, "k", body).await.expect(201);
    assert_eq!((late.json()["topUpId"].clone(), late.header("idempotency-replayed")), (first["topUpId"].clone(), ""));
    user.choose(&first, "success").await;
    assert_eq!(user.balance().await, "100");
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM top_ups").await, 1);
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM sandbox_checkouts").await, 1);
    app.assert_invariants_hold().await;
}

/// A difference of each kind, found by the comparison, and cleared.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_reconciliation_finds_every_difference(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options.clone(), 2, &SANDBOX);
    let pool = MySqlPool::connect_lazy_with(options);
    let user = app.user().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let top_up = user.top_up("100").await;
        user.choose(&top_up, "success").await;
        ids.push(id_of(&top_up).to_owned());
        app.advance(1);
    }
    let top_ups = &app.instances[0].shared.top_ups;
    let found = async || {
        let result = top_ups.reconcile(chrono::TimeDelta::days(3)).await.unwrap();
        let mut kinds: Vec<_> =
            result.differences.iter().map(|it| (it.top_up_id.to_string(), it.kind.name())).collect();
        kinds.sort_unstable();
        kinds
    };
    assert!(found().await.is_empty());
    for (number, statement) in [
        "UPDATE sandbox_checkouts SET state = 'EXPIRED' WHERE top_up_id = ?",
        "UPDATE sandbox_checkouts SET amount = 99 WHERE top_up_id = ?",
        "UPDATE top_ups SET status = 'EXPIRED', transaction_id = NULL WHERE id = ?",
        "UPDATE sandbox_checkouts SET top_up_id = REVERSE(top_up_id) WHERE top_up_id = ?",
    ]
    .into_iter()
    .enumerate()
    {
        let id: uuid::Uuid = ids[number].parse().unwrap();
        sqlx::query(statement).bind(id).execute(&pool).await.unwrap();
    }
    let found = found().await;
    let kinds: Vec<_> = found.iter().filter(|(id, _)| ids.contains(id)).map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, ["CREDITED_NOT_PAID", "AMOUNT_DIFFERS", "PAID_NOT_CREDITED", "CREDITED_NOT_PAID"]);
    assert_eq!(found.iter().filter(|(_, kind)| *kind == "UNKNOWN_TOP_UP").count(), 1);

    // One of both instances makes the daily one, and a day later the next.
    let started = "SELECT CAST(COUNT(DISTINCT started_at) AS SIGNED) FROM reconciliations WHERE differences = 5";
    for instance in &app.instances {
        instance.shared.top_ups.reconcile_daily().await.unwrap();
    }
    assert_eq!(count(&pool, started).await, 1);
    let first: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT started_at FROM reconciliations").fetch_one(&pool).await.unwrap();
    for (seconds, is_due) in [(86_399, false), (1, true)] {
        app.advance(seconds);
        app.instances[1].shared.top_ups.reconcile_daily().await.unwrap();
        let latest: chrono::DateTime<chrono::Utc> =
            sqlx::query_scalar("SELECT started_at FROM reconciliations").fetch_one(&pool).await.unwrap();
        assert_eq!(latest > first, is_due, "{seconds}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_administrator_sends_an_unspent_payment_back(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options.clone(), 2, &SANDBOX);
    let pool = MySqlPool::connect_lazy_with(options);
    let (user, admin) = (app.user().await, app.admin().await);
    let reason = json!({"reason": "Paid by mistake."});
    let path = |top_up: &serde_json::Value| format!("/api/v1/admin/top-ups/{}/refund", id_of(top_up));
    let (first, second) = (user.top_up("100").await, user.top_up("50").await);
    admin.post(&path(&first), reason.clone()).await.expect_problem(409, "TOP_UP_NOT_REFUNDABLE");
    user.choose(&first, "success").await;
    user.choose(&second, "success").await;
    user.post(&path(&first), reason.clone()).await.expect_problem(403, "FORBIDDEN");
    admin.post(&path(&first), json!({})).await.expect_problem(422, "VALIDATION_FAILED");
    let unknown = json!({"topUpId": user.user_id()});
    admin.post(&path(&unknown), reason.clone()).await.expect_problem(404, "TOP_UP_NOT_FOUND");

    // On both servers at once: one takes the points.
    let admins = app.on_every_server(&admin);
    let first_path = path(&first);
    let refund = |admin: usize| admins[admin].post(&first_path, reason.clone());
    let (one, other) = tokio::join!(refund(0), refund(1));
    for reply in [one, other] {
        let reply = reply.expect(202).json();
        assert_eq!((&reply["status"], &reply["refundedAt"]), (&json!("COMPLETED"), &json!(null)));
        assert!(reply["refundRequestedAt"].is_string());
    }
    assert_eq!(user.balance().await, "50");
    let entry = user.get("/api/v1/points/transactions").await.expect(200).json()["items"][0].clone();
    assert_eq!((&entry["type"], &entry["amount"]), (&json!("ADJUSTMENT"), &json!("-100")));
    let actions = admin.get("/api/v1/admin/actions").await.expect(200).json();
    let refunds = actions["items"].as_array().unwrap().iter().filter(|it| it["action"] == "top-up.refunded");
    assert_eq!(refunds.count(), 1, "{actions}");
    app.tick().await;
    assert!(user.top_up_again(&first).await["refundedAt"].is_string());
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM sandbox_checkouts WHERE refunded_at IS NOT NULL").await, 1);

    let taken = json!({"amount": "-1", "reason": "Spent."});
    let taken_from = format!("/api/v1/admin/users/{}/points", user.user_id());
    admin.post_keyed(&taken_from, "k", taken).await.expect(201);
    admin.post(&path(&second), reason.clone()).await.expect_problem(402, "INSUFFICIENT_POINTS");
    user.delete("/api/v1/users/me?forfeitBalance=true").await.expect(204);
    admin.post(&path(&second), reason).await.expect_problem(404, "USER_NOT_FOUND");
    app.assert_invariants_hold().await;
}
