//! The list of deliveries, their restart and their removal.

use axum::{http::StatusCode, response::IntoResponse};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use super::{ALLOWED, EVENTS, WEBHOOKS, clean, list, register, relay};
use crate::support::{Receiver, TestApp};

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn pending_deliveries_of_a_deleted_webhook_are_parked(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let receiver = Receiver::answering(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    let webhook = register(&admin, &receiver, &["points.charged"]).await;
    app.user().await.charge("1").await;
    relay(&app).await;
    assert_eq!(list(&admin, "status=PENDING").await[0]["lastError"], "status 500");
    admin.delete(&format!("{WEBHOOKS}/{}", webhook["webhookId"].as_str().unwrap())).await.expect(204);
    clean(&app).await;
    let parked = list(&admin, "status=PARKED").await;
    assert_eq!(parked[0]["lastError"], "the webhook has ended");
    let event_id = parked[0]["eventId"].as_str().unwrap();
    admin.post(&format!("{EVENTS}/{event_id}/redeliver"), json!({})).await.expect(202);
    assert_eq!(list(&admin, "status=PARKED").await.len(), 1, "it has no receiver");
}

/// A deleted webhook, and one that answered 410.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn undelivered_events_of_an_ended_webhook_are_kept_as_long_as_delivered_ones(
    pool_options: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let pool = pool_options.connect_with(options.clone()).await.unwrap();
    let failing = Receiver::answering(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let gone = Receiver::answering(|_| StatusCode::GONE.into_response()).await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    let deleted = register(&admin, &failing, &["points.charged"]).await;
    register(&admin, &gone, &["points.charged"]).await;
    app.user().await.charge("1").await;
    relay(&app).await;
    admin.delete(&format!("{WEBHOOKS}/{}", deleted["webhookId"].as_str().unwrap())).await.expect(204);
    clean(&app).await;
    assert_eq!(list(&admin, "status=PARKED").await.len(), 2, "it is seen");
    let backlog = app.ports().database.read().await.unwrap().deliveries().backlog(10).await.unwrap();
    assert_eq!(backlog.parked, 0, "it raises no alert");

    app.advance(3_601);
    // Deliveries, then webhooks, then events.
    for _ in 0..3 {
        clean(&app).await;
    }
    assert_eq!(list(&admin, "").await.len(), 0);
    let events: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM outbox_events").fetch_one(&pool).await.unwrap();
    let webhooks: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM webhooks").fetch_one(&pool).await.unwrap();
    assert_eq!((events, webhooks), (0, 1), "the one that answered 410 is listed until it is deleted");
    app.assert_invariants_hold().await;
}

/// The data platform works, then fails, and then isn't configured any more.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn parked_events_and_those_of_a_former_platform_are_removed_after_retention(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let failing = Receiver::answering(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let settings = [("DATA_PLATFORM_URL", failing.url.as_str()), ("EVENT_ATTEMPTS", "2")];
    let app = TestApp::start_with(options.clone(), 1, &settings);
    let admin = app.admin().await;
    app.user().await.charge("1").await;
    relay(&app).await;
    app.advance(60);
    relay(&app).await;
    app.user().await.charge("2").await;
    relay(&app).await;
    assert_eq!((list(&admin, "status=PARKED").await.len(), list(&admin, "status=PENDING").await.len()), (1, 1));

    let without = TestApp::start(options);
    without.advance(60);
    clean(&without).await;
    assert_eq!(list(&admin, "status=PENDING").await.len(), 1, "another instance may still have it");
    without.advance(3_700);
    clean(&without).await;
    assert_eq!(list(&admin, "status=PARKED").await.len(), 2);
    without.advance(86_400 * 10);
    clean(&without).await;
    assert_eq!(list(&admin, "").await.len(), 0);
    without.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn deliveries_are_listed_and_can_be_restarted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut platform = Receiver::start().await;
    let mut failing = Receiver::answering(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let settings = [ALLOWED, ("DATA_PLATFORM_URL", platform.url.as_str()), ("EVENT_ATTEMPTS", "1")];
    let app = TestApp::start_with(options, 1, &settings);
    let admin = app.admin().await;
    let webhook = register(&admin, &failing, &["points.charged"]).await["webhookId"].clone();
    for user in app.users(3).await {
        user.charge("1").await;
        app.advance(1);
    }
    relay(&app).await;
    assert_eq!((platform.drain().len(), failing.drain().len()), (3, 3));

    let delivered = list(&admin, "status=DELIVERED").await;
    assert!(delivered.iter().all(|item| item["destination"] == "data-platform"), "{delivered:?}");
    let parked = list(&admin, "status=PARKED").await;
    assert!(parked.iter().all(|item| item["destination"] == webhook), "{parked:?}");
    assert_eq!((delivered.len(), parked.len(), list(&admin, "status=PENDING").await.len()), (3, 3, 0));
    let newest = &parked[0];
    assert_eq!((&newest["type"], &newest["lastError"]), (&json!("points.charged"), &json!("status 500")));
    assert_eq!((&newest["attempts"], &newest["nextAttemptAt"]), (&json!(1), &Value::Null));
    assert_eq!(newest["createdAt"], "2026-11-20T08:00:02.000Z");

    // Page by page it is the same as at once.
    let whole = list(&admin, "limit=100").await;
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{EVENTS}?limit=1{cursor}")).await.expect(200).json();
        pages.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((pages.len(), &pages), (6, &whole));
    for query in ["status=LOST", "limit=0", "limit=101"] {
        admin.get(&format!("{EVENTS}?{query}")).await.expect_problem(422, "VALIDATION_FAILED");
    }
    admin.get(&format!("{EVENTS}?cursor=x")).await.expect_problem(400, "MALFORMED_REQUEST");

    let event_id = newest["eventId"].as_str().unwrap();
    admin.post(&format!("{EVENTS}/{event_id}/redeliver"), json!({})).await.expect(202);
    relay(&app).await;
    for receiver in [&mut platform, &mut failing] {
        assert_eq!(receiver.drain().iter().map(|event| event.text("id")).collect::<Vec<_>>(), [event_id]);
    }
    for id in ["01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10", "1"] {
        let path = format!("{EVENTS}/{id}/redeliver");
        admin.post(&path, json!({})).await.expect_problem(404, "EVENT_NOT_FOUND");
    }
    app.user().await.get(EVENTS).await.expect_problem(403, "FORBIDDEN");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn delivered_events_are_removed_after_retention(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let receiver = Receiver::answering(|received| {
        let parked = received.text("type") == "payment.completed";
        if parked { StatusCode::BAD_REQUEST } else { StatusCode::OK }.into_response()
    })
    .await;
    let settings = [("DATA_PLATFORM_URL", receiver.url.as_str()), ("EVENT_ATTEMPTS", "1")];
    let app = TestApp::start_with(options, 1, &settings);
    let admin = app.admin().await;
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let paid = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    buyer.pay(&paid, "key").await.expect(201);
    let buyer = app.buyer(&sale).await;
    buyer.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201);
    app.advance(301);
    app.tick().await;
    relay(&app).await;
    app.advance(3_600);
    // Dispatched exactly an hour ago: not yet removed.
    clean(&app).await;
    let before = list(&admin, "limit=100").await.len();
    assert!(before > 5, "{before}");
    app.advance(1);
    // This one is recorded, but not dispatched.
    buyer.charge("1").await;
    clean(&app).await;
    let left = list(&admin, "limit=100").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&left[0]["type"], &left[0]["status"]), (&json!("payment.completed"), &json!("PARKED")));
    app.assert_invariants_hold().await;

    // The booking has further events.
    buyer.get("/api/v1/bookings").await.expect(200);
    relay(&app).await;
    assert_eq!(list(&admin, "limit=100").await.len(), 2);
    app.assert_invariants_hold().await;
}
