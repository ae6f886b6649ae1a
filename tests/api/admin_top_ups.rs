//! Top-ups of all users: the search by administrators.

use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, SANDBOX, TestApp, id_of};

const TOP_UPS: &str = "/api/v1/admin/top-ups";

/// The ids of a search.
async fn found(admin: &Client, query: &str) -> Vec<String> {
    let found = admin.get(&format!("{TOP_UPS}?{query}")).await.expect(200).json();
    found["items"].as_array().unwrap().iter().map(|top_up| id_of(top_up).to_owned()).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn top_ups_are_found_by_user_and_current_status(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &SANDBOX);
    let (admin, jin, mina) = (app.admin().await, app.user().await, app.user().await);
    let mut top_ups: Vec<Value> = Vec::new();
    // Ids of one instant have no order.
    for (user, outcome) in [(&jin, "success"), (&jin, "failure"), (&mina, "late"), (&mina, "success"), (&jin, "late")] {
        let top_up = user.top_up("100").await;
        user.choose(&top_up, outcome).await;
        top_ups.push(top_up);
        app.advance(if outcome == "late" { 3_600 } else { 1 });
    }
    let unpaid = jin.top_up("100").await;
    // The job records one end; the other top-up has expired by the clock alone.
    app.tick().await;
    top_ups.push(unpaid);
    app.advance(3_600);
    top_ups.push(mina.top_up("100").await);
    let ids: Vec<_> = top_ups.iter().map(|top_up| id_of(top_up).to_owned()).collect();
    let pick = |numbers: &[usize]| numbers.iter().map(|number| ids[*number].clone()).collect::<Vec<_>>();
    let (of_jin, of_mina) = (format!("userId={}", jin.user_id()), format!("userId={}", mina.user_id()));
    for (query, expected) in [
        (String::new(), pick(&[6, 5, 4, 3, 2, 1, 0])),
        (of_jin.clone(), pick(&[5, 4, 1, 0])),
        (format!("userId={}", Uuid::nil()), vec![]),
        ("status=PENDING".to_owned(), pick(&[6])),
        ("status=COMPLETED".to_owned(), pick(&[4, 3, 2, 0])),
        ("status=FAILED".to_owned(), pick(&[1])),
        ("status=EXPIRED".to_owned(), pick(&[5])),
        (format!("{of_jin}&status=EXPIRED"), pick(&[5])),
        (format!("{of_jin}&status=PENDING"), vec![]),
        (format!("{of_mina}&status=COMPLETED"), pick(&[3, 2])),
    ] {
        assert_eq!(found(&admin, &query).await, expected, "{query}");
    }
    // A range holds its first instant, and not its last.
    let created: Vec<_> = top_ups.iter().map(|top_up| top_up["createdAt"].as_str().unwrap()).collect();
    let range = |from: usize, to: usize| format!("from={}&to={}", created[from], created[to]);
    for (query, expected) in [
        (range(1, 4), pick(&[3, 2, 1])),
        (range(2, 2), vec![]),
        (format!("from={}", created[5]), pick(&[6, 5])),
        (format!("to={}", created[2]), pick(&[1, 0])),
        (format!("{of_jin}&{}", range(1, 6)), pick(&[5, 4, 1])),
        (format!("{of_jin}&status=COMPLETED&{}", range(1, 6)), pick(&[4])),
        (format!("status=EXPIRED&from={}", created[5]), pick(&[5])),
        (format!("status=COMPLETED&limit=2&{}", range(0, 4)), pick(&[3, 2])),
        ("from=9998-12-31".to_owned(), vec![]),
        ("to=1970-01-01".to_owned(), vec![]),
    ] {
        assert_eq!(found(&admin, &query).await, expected, "{query}");
    }
    app.tick().await;
    app.advance(1);
    let again = jin.top_up("100").await;
    app.advance(3_600);
    // One whose end is recorded, and later ones whose end isn't: a page has both in order.
    let expired = [id_of(&again).to_owned(), ids[6].clone(), ids[5].clone()];
    assert_eq!(found(&admin, "status=EXPIRED").await, expired);
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("{TOP_UPS}?status=EXPIRED&limit=1{cursor}")).await.expect(200).json();
        pages.extend(page["items"].as_array().unwrap().iter().map(|top_up| id_of(top_up).to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, expired);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_search_shows_payers_checkouts_and_refunds(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &SANDBOX);
    let (admin, user) = (app.admin().await, app.user().await);
    let top_up = user.top_up("100").await;
    user.choose(&top_up, "success").await;
    let refund = format!("{TOP_UPS}/{}/refund", id_of(&top_up));
    admin.post(&refund, json!({"reason": "Paid by mistake."})).await.expect(202);
    app.tick().await;
    let shown = async || admin.get(TOP_UPS).await.expect(200).json()["items"][0].clone();
    let item = shown().await;
    assert_eq!((&item["userId"], &item["provider"]), (&json!(user.user_id()), &json!("sandbox")));
    assert_eq!((&item["status"], &item["amount"]), (&json!("COMPLETED"), &json!("100")));
    assert!(item["email"].as_str().unwrap().contains('@'), "{item}");
    assert!(item["refundRequestedAt"].is_string() && item["refundedAt"].is_string(), "{item}");
    let checkout_id = item["checkoutId"].as_str().unwrap();
    assert!(item["checkoutUrl"].as_str().unwrap().ends_with(checkout_id), "{item}");
    user.delete("/api/v1/users/me").await.expect(204);
    assert_eq!(shown().await["email"], json!(null));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn what_cannot_be_a_search_for_top_ups_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (admin, user) = (app.admin().await, app.user().await);
    for query in [
        "userId=1",
        "status=pending",
        "status=REFUNDED",
        "limit=101",
        "limit=0",
        "status=FAILED&status=FAILED",
        "from=today",
        "from=2026-11-20&to=2026-11-19",
    ] {
        admin.get(&format!("{TOP_UPS}?{query}")).await.expect_problem(422, "VALIDATION_FAILED");
    }
    admin.get(&format!("{TOP_UPS}?cursor=x")).await.expect_problem(400, "MALFORMED_REQUEST");
    user.get(TOP_UPS).await.expect_problem(403, "FORBIDDEN");
    app.anonymous().get(TOP_UPS).await.expect_problem(401, "UNAUTHENTICATED");
    // Also without a payment provider: earlier top-ups stay visible.
    assert_eq!(admin.get(TOP_UPS).await.expect(200).json(), json!({"items": [], "nextCursor": null}));
}
