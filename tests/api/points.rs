//! Points, over HTTP.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, Tables, TestApp, race};

const POINTS: &str = "/api/v1/points";
const CHARGES: &str = "/api/v1/points/charges";
const TRANSACTIONS: &str = "/api/v1/points/transactions";

/// Charges with `If-Match`.
async fn charge_if(client: &Client, key: &str, if_match: &str, points: &str) -> Reply {
    let headers = [("Idempotency-Key", key), ("If-Match", if_match)];
    client.send(Method::POST, CHARGES, &headers, Some(json!({"amount": points}))).await
}

/// Charges an amount given as raw JSON.
async fn charge_literally(client: &Client, key: &str, amount: &str) -> Reply {
    let headers = [("Idempotency-Key", key), ("Content-Type", "application/json")];
    client.send_raw(Method::POST, CHARGES, &headers, format!(r#"{{"amount": {amount}}}"#)).await
}

#[track_caller]
fn pointers(reply: &Reply) -> Vec<String> {
    let body = reply.json();
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors in {body}"));
    errors.iter().map(|error| error["pointer"].as_str().unwrap_or_default().to_owned()).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_new_user_has_a_zero_balance(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let user = app.user().await;
    let reply = user.get(POINTS).await.expect(200);
    assert_eq!(reply.json(), json!({"userId": user.user_id(), "balance": "0", "version": 0, "updatedAt": null}));
    assert_eq!((reply.header("etag"), reply.header("cache-control")), ("\"0\"", "private, no-cache"));
    assert_eq!(user.get(TRANSACTIONS).await.expect(200).json(), json!({"items": [], "nextCursor": null}));
    for path in [POINTS, TRANSACTIONS] {
        app.anonymous().get(path).await.expect_problem(401, "UNAUTHENTICATED");
    }
    let anonymous = app.anonymous().post_keyed(CHARGES, "k", json!({"amount": "1"})).await;
    anonymous.expect_problem(401, "UNAUTHENTICATED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_charge_adds_to_the_balance_and_returns_its_transaction(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let user = app.user().await;
    let first = json!({"amount": "50000.50", "paymentMethod": "CARD"});
    let first = user.post_keyed(CHARGES, "1", first).await.expect(201);
    let id = first.text("transactionId");
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    assert_eq!(
        first.json(),
        json!({
            "transactionId": id, "type": "CHARGE", "amount": "50000.50", "balance": "50000.50", "version": 1,
            "createdAt": "2026-11-20T08:00:00.000Z",
        })
    );
    assert_eq!(first.header("cache-control"), "no-store");
    assert_eq!(first.header("idempotency-replayed"), "");
    app.advance(7);
    let second = json!({"amount": "0.5", "paymentMethod": null});
    let second = app.at_instance(&user, 1).post_keyed(CHARGES, "2", second).await.expect(201).json();
    assert_eq!(
        (&second["amount"], &second["balance"], &second["version"]),
        (&json!("0.50"), &json!("50001"), &json!(2))
    );
    let reply = user.get(POINTS).await.expect(200);
    let updated_at = "2026-11-20T08:00:07.000Z";
    assert_eq!(
        reply.json(),
        json!({"userId": user.user_id(), "balance": "50001", "version": 2, "updatedAt": updated_at})
    );
    assert_eq!(reply.header("etag"), "\"2\"");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn amounts_are_exact_decimals_within_their_limits(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let user = app.user().await;
    for (number, (literal, amount)) in [
        (r#""0.01""#, "0.01"),
        ("0.01", "0.01"),
        ("0.1", "0.10"),
        (r#""10000000""#, "10000000"),
        ("10000000.00", "10000000"),
        ("9999999.99", "9999999.99"),
        (r#""1.50""#, "1.50"),
        ("3", "3"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = charge_literally(&user, &format!("good-{number}"), literal).await.expect(201);
        assert_eq!(reply.text("amount"), amount, "{literal}");
    }
    // 0.01 + 0.01 + 0.10 + 10000000 + 10000000 + 9999999.99 + 1.50 + 3
    assert_eq!(user.balance().await, "30000004.61");

    let before = tables.checksums().await;
    for literal in [
        "0",
        r#""0""#,
        r#""0.00""#,
        "-1",
        r#""-1""#,
        "-0",
        "10000000.01",
        r#""10000000.01""#,
        "10000001",
        "1.234",
        r#""1.234""#,
        "1e3",
        "1E+2",
        r#""1e3""#,
        "1e400",
        "9999999999999",
        "10000000000000",
        r#""""#,
        r#"" 1""#,
        r#""1 ""#,
        r#""01""#,
        r#""+1""#,
        r#""1.""#,
        r#"".5""#,
        r#""1,5""#,
        r#""NaN""#,
        r#""Infinity""#,
        r#""0x10""#,
        r#""٣""#,
        r#""1\u0000""#,
        "null",
        "true",
        "[1]",
        "{}",
    ] {
        let reply = charge_literally(&user, "bad", literal).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(pointers(&reply), ["/amount"], "{literal}");
    }
    for (method, text) in [("", "nothing"), (&*"x".repeat(51), "too long")] {
        let body = json!({"amount": "1", "paymentMethod": method});
        let reply = user.post_keyed(CHARGES, "bad", body).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(pointers(&reply), ["/paymentMethod"], "{text}");
    }
    assert_eq!(tables.checksums().await, before);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unchanged_balance_is_not_sent_again(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let user = app.user().await;
    user.charge("100").await;
    let ask = |tags: &'static str| {
        let user = user.clone();
        async move { user.send(Method::GET, POINTS, &[("If-None-Match", tags)], None).await }
    };
    for tags in ["\"1\"", "W/\"1\"", "*", "\"0\", \"1\"", "\"x\",\"1\""] {
        let reply = ask(tags).await.expect(304);
        assert!(reply.bytes.is_empty(), "{tags}: {reply:?}");
        assert_eq!((reply.header("etag"), reply.header("cache-control")), ("\"1\"", "private, no-cache"), "{tags}");
    }
    for tags in ["\"0\"", "1", "", "\"11\"", "garbage"] {
        assert_eq!(ask(tags).await.expect(200).json()["balance"], "100", "{tags}");
    }
    user.charge("1").await;
    assert_eq!(ask("\"1\"").await.expect(200).header("etag"), "\"2\"");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_conditional_charge_needs_the_version_that_the_balance_has(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let user = app.user().await;
    charge_if(&user, "1", "\"0\"", "10").await.expect(201);
    let before = tables.checksums().await;
    for tag in [
        "\"0\"",
        "\"2\"",
        "W/\"1\"",
        "1",
        "\"\"",
        "",
        "\"1",
        "\"01\"",
        "\"+1\"",
        "\" 1\"",
        "\"x\"",
        "garbage",
        "\"18446744073709551615\"",
        "\"18446744073709551616\"",
        "**",
        "\"0\", \"2\"",
        "\"0\", W/\"1\", 1",
    ] {
        charge_if(&user, "2", tag, "10").await.expect_problem(412, "PRECONDITION_FAILED");
    }
    assert_eq!(tables.checksums().await, before);
    // The refusal was not recorded: with the right version the same key works.
    let etag = user.get(POINTS).await.expect(200).header("etag").to_owned();
    let charged = charge_if(&user, "2", &etag, "10").await.expect(201);
    assert_eq!(charged.json()["version"], 2);
    charge_if(&user, "3", "*", "10").await.expect(201);
    // One of several.
    charge_if(&user, "4", "\"2\",W/\"7\", \"3\"", "10").await.expect(201);
    assert_eq!(user.balance().await, "40");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concurrent_charges_all_succeed_and_conditional_ones_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let user = app.user().await;
    let runners = (0..24).map(|number| {
        let client = app.at_instance(&user, number % 2);
        async move { client.post_keyed(CHARGES, &format!("free-{number}"), json!({"amount": "0.01"})).await }
    });
    let mut versions = Vec::new();
    for reply in race(runners).await {
        versions.push(reply.expect(201).json()["version"].as_u64().unwrap());
    }
    versions.sort_unstable();
    assert!(versions.iter().copied().eq(1..=24), "{versions:?}");
    assert_eq!(user.balance().await, "0.24");

    let runners = (0..10).map(|number| {
        let client = app.at_instance(&user, number % 2);
        async move { charge_if(&client, &format!("bound-{number}"), "\"24\"", "1").await }
    });
    let mut done = 0;
    for reply in race(runners).await {
        if reply.status == 201 {
            done += 1;
        } else {
            reply.expect_problem(412, "PRECONDITION_FAILED");
        }
    }
    assert_eq!((done, user.balance().await.as_str()), (1, "1.24"));
    app.assert_invariants_hold().await;
}

/// A wallet is filled by SQL to one hundredth below its limit.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_wallet_has_an_upper_limit(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let user = app.user().await;
    user.charge("1").await;
    sqlx::query("UPDATE point_wallets SET balance = 999999999999.98").execute(&tables.pool).await.unwrap();
    for (key, amount) in [("1", "0.02"), ("2", "10000000")] {
        let before = tables.count("SELECT COUNT(*) FROM point_transactions").await;
        let reply = user.post_keyed(CHARGES, key, json!({"amount": amount})).await;
        reply.expect_problem(409, "BALANCE_LIMIT_EXCEEDED");
        assert_eq!(tables.count("SELECT COUNT(*) FROM point_transactions").await, before);
    }
    let full = user.post_keyed(CHARGES, "3", json!({"amount": "0.01"})).await.expect(201).json();
    assert_eq!((&full["balance"], &full["version"]), (&json!("999999999999.99"), &json!(2)));
    user.post_keyed(CHARGES, "4", json!({"amount": "0.01"})).await.expect_problem(409, "BALANCE_LIMIT_EXCEEDED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_ledger_lists_every_change_newest_first(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let user = app.buyer_with_points(&sale, "60000.50").await;
    app.advance(1);
    let booking = user.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    let payment = user.pay(&booking, "pay").await.expect(201).text("paymentId");
    app.advance(1);
    user.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200);
    let list = user.get(TRANSACTIONS).await.expect(200);
    assert_eq!(list.header("cache-control"), "no-store");
    let list = list.json();
    let entry = |index: usize, kind: &str, amount: &str, balance: &str, of: Value, booking: Value| {
        json!({
            "transactionId": list["items"][index]["transactionId"], "type": kind, "amount": amount,
            "balanceAfter": balance, "version": 3 - index, "bookingId": booking, "paymentId": of,
            "createdAt": format!("2026-11-20T08:00:0{}.000Z", 2 - index),
        })
    };
    let expected = [
        entry(0, "REFUND", "50000", "60000.50", json!(payment), json!(booking)),
        entry(1, "PAYMENT", "-50000", "10000.50", json!(payment), json!(booking)),
        entry(2, "CHARGE", "60000.50", "60000.50", Value::Null, Value::Null),
    ];
    assert_eq!(list, json!({"items": expected, "nextCursor": null}));
    for item in list["items"].as_array().unwrap() {
        assert_eq!(item["transactionId"].as_str().unwrap().parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    }
    app.assert_invariants_hold().await;
}

/// The versions of a list's pages, following their cursors; `between` runs after the first page.
async fn versions(client: &Client, limit: u32, between: impl AsyncFn()) -> Vec<Vec<u64>> {
    let mut path = format!("{TRANSACTIONS}?limit={limit}");
    let mut pages = Vec::new();
    loop {
        let page = client.get(&path).await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        pages.push(items.iter().map(|item| item["version"].as_u64().unwrap()).collect());
        let Some(cursor) = page["nextCursor"].as_str() else { return pages };
        if pages.len() == 1 {
            between().await;
        }
        path = format!("{TRANSACTIONS}?limit={limit}&cursor={cursor}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_ledger_is_read_page_by_page_without_gap_or_repeat(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let user = app.user().await;
    for _ in 0..5 {
        user.charge("1").await;
    }
    let nothing = async || ();
    assert_eq!(versions(&user, 2, nothing).await, [vec![5, 4], vec![3, 2], vec![1]]);
    assert_eq!(versions(&user, 5, nothing).await, [vec![5, 4, 3, 2, 1]]);
    assert_eq!(versions(&user, 100, nothing).await, [vec![5, 4, 3, 2, 1]]);
    assert_eq!(versions(&user, 1, nothing).await.len(), 5);
    // Entries added between pages don't move the following pages.
    let charge = async || {
        user.charge("1").await;
    };
    assert_eq!(versions(&user, 3, charge).await, [vec![5, 4, 3], vec![2, 1]]);
    for _ in 0..15 {
        user.charge("1").await;
    }
    let page = user.get(TRANSACTIONS).await.expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 20, "the page's length when nothing is said");
    assert!(page["nextCursor"].is_string());
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn users_access_only_their_own_points(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (rich, poor, admin) = (app.user().await, app.user().await, app.admin().await);
    for _ in 0..3 {
        rich.charge("100").await;
    }
    poor.charge("1").await;
    let cursor = rich.get(&format!("{TRANSACTIONS}?limit=1")).await.expect(200).text("nextCursor");
    for (client, balance, count) in [(&poor, "1", 1), (&admin, "0", 0)] {
        assert_eq!(client.get(POINTS).await.expect(200).json()["userId"], json!(client.user_id()));
        assert_eq!(client.balance().await, balance);
        for path in [TRANSACTIONS.to_owned(), format!("{TRANSACTIONS}?cursor={cursor}")] {
            let items = client.get(&path).await.expect(200).json()["items"].clone();
            assert_eq!(items.as_array().unwrap().len(), count, "{path}: {items}");
        }
    }
    // Another user's version doesn't match, and keys of different users are independent.
    charge_if(&poor, "k", "\"3\"", "5").await.expect_problem(412, "PRECONDITION_FAILED");
    let foreign = json!({"amount": "5", "userId": rich.user_id()});
    poor.post_keyed(CHARGES, "k", foreign).await.expect_problem(422, "VALIDATION_FAILED");
    assert_eq!((rich.balance().await.as_str(), poor.balance().await.as_str()), ("300", "1"));
}
