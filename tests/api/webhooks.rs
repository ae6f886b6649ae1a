//! Webhooks, and the administration of deliveries.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode, response::IntoResponse};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use concert_reservation::{
    application::{
        event::{EventRetention, EventUpkeep},
        housekeeping::HousekeepingFacade,
    },
    domain::{
        event::{Event, Fact},
        id::{EventId, TransactionId, UserId},
    },
};
use futures::stream;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use crate::support::{Client, Process, Received, Receiver, TestApp};

const WEBHOOKS: &str = "/api/v1/admin/webhooks";
const EVENTS: &str = "/api/v1/admin/events";

/// Webhooks of tests are on this machine.
const ALLOWED: (&str, &str) = ("WEBHOOK_ALLOW_PRIVATE", "true");

async fn register(admin: &Client, receiver: &Receiver, types: &[&str]) -> Value {
    admin.post(WEBHOOKS, json!({"url": receiver.url, "types": types})).await.expect(201).json()
}

async fn relay(app: &TestApp) {
    for instance in &app.instances {
        instance.relay.run_once().await.unwrap();
    }
}

async fn list(admin: &Client, query: &str) -> Vec<Value> {
    let page = admin.get(&format!("{EVENTS}?{query}")).await.expect(200).json();
    page["items"].as_array().unwrap().clone()
}

/// Runs housekeeping once; it keeps events for an hour, parked ones for ten days.
async fn clean(app: &TestApp) {
    let retention = EventRetention { delivered: TimeDelta::hours(1), parked: Some(TimeDelta::days(10)) };
    let events = EventUpkeep::new(app.ports().clone(), retention);
    HousekeepingFacade::new(app.ports().clone(), events).clean().await.unwrap();
}

/// The signature by the specification, computed without the server's code.
fn signature(secret: &str, event: &Received) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let signed = [event.header("webhook-id"), event.header("webhook-timestamp"), ""].join(".");
    mac.update(&[signed.as_bytes(), &event.bytes].concat());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_webhook_gets_its_subscribed_events_with_a_signature(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    let webhook = register(&admin, &receiver, &["booking.held", "points.charged"]).await;
    let secret = webhook["secret"].as_str().unwrap();
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    buyer.pay(&booking, "key").await.expect(201);
    relay(&app).await;

    let received = receiver.drain();
    let mut kinds: Vec<_> = received.iter().map(|event| event.text("type")).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["booking.held", "points.charged"]);
    for event in &received {
        assert_eq!(event.header("webhook-id"), event.text("id"));
        assert_eq!(event.header("webhook-timestamp"), app.now().timestamp().to_string());
        assert_eq!(event.header("webhook-signature"), signature(secret, event));
    }
    let listed = admin.get(WEBHOOKS).await.expect(200).json();
    assert_eq!(listed["items"][0]["webhookId"], webhook["webhookId"]);
    assert_eq!(listed["items"][0]["types"], json!(["booking.held", "points.charged"]));
    assert_eq!(listed["items"][0]["secret"], Value::Null, "it is shown once");

    let path = format!("{WEBHOOKS}/{}", webhook["webhookId"].as_str().unwrap());
    admin.delete(&path).await.expect(204);
    admin.delete(&path).await.expect_problem(404, "WEBHOOK_NOT_FOUND");
    assert_eq!(admin.get(WEBHOOKS).await.expect(200).json()["items"], json!([]));
    buyer.charge("1").await;
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 0);
}

/// An event without a receiver isn't dispatched later; a receiver gets every event recorded after its registration.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn events_recorded_without_receivers_are_never_sent(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options.clone(), 2, &[ALLOWED]);
    let admin = app.admin().await;
    let user = app.user().await;
    let undispatched = async || -> Vec<String> {
        let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
        let text = "SELECT data FROM outbox_events WHERE dispatched_at IS NULL ORDER BY id";
        sqlx::query_scalar(text).fetch_all(&mut connection).await.unwrap()
    };

    user.charge("1").await;
    assert_eq!(undispatched().await, [""; 0]);
    // Registered at one instance; the other one applies it as well.
    let webhook = register(&admin, &receiver, &["points.charged"]).await;
    app.at_instance(&user, 1).charge("2").await;
    user.charge("3").await;
    assert_eq!(undispatched().await.len(), 2);
    relay(&app).await;
    assert_eq!(undispatched().await, [""; 0]);
    let amounts: Vec<_> = receiver.drain().iter().map(|event| event.json()["data"]["amount"].clone()).collect();
    assert_eq!(amounts.len(), 2);
    assert!(amounts.contains(&json!("2")) && amounts.contains(&json!("3")), "{amounts:?}");

    admin.delete(&format!("{WEBHOOKS}/{}", webhook["webhookId"].as_str().unwrap())).await.expect(204);
    user.charge("4").await;
    assert_eq!(undispatched().await, [""; 0]);
}

/// A webhook is registered while a charge, which has found no receiver for its event, is not yet committed.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_event_that_is_committed_after_a_registration_is_sent(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options.clone(), 1, &[ALLOWED]);
    let admin = app.admin().await;
    let database = options.get_database().unwrap().to_owned();
    let server = MySqlPool::connect_lazy_with(options);
    let mut charge = app.ports().database.begin().await.unwrap();
    let is_received = charge.webhooks().any_active().await.unwrap();
    let event = Event {
        id: EventId(Uuid::from_u128(1)),
        fact: Fact::PointsCharged {
            transaction_id: TransactionId(Uuid::from_u128(2)),
            user_id: UserId(Uuid::from_u128(3)),
            amount: "1".parse().unwrap(),
            balance: "1".parse().unwrap(),
        },
        at: app.now(),
    };
    charge.outbox().insert(&[event], (!is_received).then(|| app.now())).await.unwrap();

    let is_registered = {
        let mut registration = pin!(register(&admin, &receiver, &["points.charged"]));
        let stands_in_line = async {
            while Process::waiting(&server, &database).await.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let is_registered = tokio::select! {
            _ = &mut registration => true,
            () = stands_in_line => false,
        };
        charge.commit().await.unwrap();
        if !is_registered {
            registration.await;
        }
        is_registered
    };
    relay(&app).await;
    let expected = usize::from(is_registered);
    assert_eq!(receiver.drain().len(), expected, "the event was committed after the registration: {is_registered}");
    app.user().await.charge("1").await;
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 1);
}

/// Rows written by another version of the server, or by hand.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unreadable_webhook_delays_no_other(pool_options: MySqlPoolOptions, options: MySqlConnectOptions) {
    let pool = pool_options.connect_with(options.clone()).await.unwrap();
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    for change in ["types = 'ticket.sold ticket.used'", "url = 'http://'", "secret = 'short'"] {
        let changed = register(&admin, &receiver, &["points.charged"]).await;
        let id: Uuid = changed["webhookId"].as_str().unwrap().parse().unwrap();
        let text = AssertSqlSafe(format!("UPDATE webhooks SET {change} WHERE id = ?"));
        sqlx::query(text).bind(id).execute(&pool).await.unwrap();
    }
    register(&admin, &receiver, &["points.charged"]).await;
    app.user().await.charge("1").await;
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 1, "one receives it");
    let listed = admin.get(WEBHOOKS).await.expect(200).json();
    let types: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| &item["types"]).collect();
    assert!(types.contains(&&json!(["ticket.sold", "ticket.used"])), "{listed}");
}

/// An older version dispatches events of types that it doesn't know.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_event_type_of_another_version_reaches_its_subscribers(
    pool_options: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let pool = pool_options.connect_with(options.clone()).await.unwrap();
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    register(&app.admin().await, &receiver, &["points.charged"]).await;
    sqlx::query("UPDATE webhooks SET types = 'ticket.used'").execute(&pool).await.unwrap();
    app.user().await.charge("1").await;
    sqlx::query("UPDATE outbox_events SET type = 'ticket.used'").execute(&pool).await.unwrap();
    relay(&app).await;
    assert_eq!(receiver.drain().iter().map(|event| event.text("type")).collect::<Vec<_>>(), ["ticket.used"]);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_webhook_names_a_public_url_and_known_types(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let pointer = async |url: Value, types: Value| {
        let reply = admin.post(WEBHOOKS, json!({"url": url, "types": types})).await;
        reply.expect_problem(422, "VALIDATION_FAILED").json()["errors"][0]["pointer"].clone()
    };
    let private = [
        "http://127.0.0.1/",
        "http://localhost:8080/",
        "http://[::1]/",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://0x7f.1/",
    ];
    let bad = ["", "example.org", "ftp://example.org/", "https://user:password@example.org/", "https://"];
    for url in private.iter().chain(&bad) {
        assert_eq!(pointer(json!(url), json!(["booking.held"])).await, "/url", "{url}");
    }
    assert_eq!(pointer(json!(1), json!(["booking.held"])).await, "/url");
    for types in [json!([]), json!("booking.held"), Value::Null] {
        assert_eq!(pointer(json!("https://example.org/"), types).await, "/types");
    }
    assert_eq!(pointer(json!("https://example.org/"), json!(["booking.held", "booking"])).await, "/types/1");
    let good =
        json!({"url": "https://example.org/events", "types": ["seats.changed", "booking.held", "seats.changed"]});
    let webhook = admin.post(WEBHOOKS, good.clone()).await.expect(201).json();
    assert_eq!(webhook["types"], json!(["booking.held", "seats.changed"]));
    app.user().await.post(WEBHOOKS, good).await.expect_problem(403, "FORBIDDEN");
    admin.delete(&format!("{WEBHOOKS}/1")).await.expect_problem(404, "WEBHOOK_NOT_FOUND");
}

/// Registered where private addresses are allowed, and delivered from a server that forbids them.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_private_address_is_refused_at_delivery(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::start().await;
    let allowing = TestApp::start_with(options.clone(), 1, &[ALLOWED]);
    register(&allowing.admin().await, &receiver, &["points.charged"]).await;
    let guarded = TestApp::start_with(options, 1, &[("EVENT_ATTEMPTS", "1")]);
    // Of another server, so that its address differs.
    allowing.user().await.charge("1").await;
    relay(&guarded).await;
    assert_eq!(receiver.drain().len(), 0);
    let parked = list(&allowing.admin().await, "status=PARKED").await;
    assert_eq!(parked[0]["lastError"], "the address is not on the public internet");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_receiver_that_answers_gone_gets_no_more_events(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::answering(|_| StatusCode::GONE.into_response()).await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    register(&admin, &receiver, &["points.charged"]).await;
    let user = app.user().await;
    user.charge("1").await;
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 1);
    user.charge("1").await;
    app.advance(3_600);
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 0);
    let webhooks = admin.get(WEBHOOKS).await.expect(200).json();
    assert_eq!(webhooks["items"][0]["disabledAt"], "2026-11-20T08:00:00.000Z", "{webhooks}");
    let listed = list(&admin, "").await;
    assert_eq!(listed.len(), 1, "what was written later isn't for it");
    assert_eq!((&listed[0]["status"], &listed[0]["attempts"]), (&json!("PARKED"), &json!(1)));
}

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
async fn misbehaving_receivers_count_as_failures(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut elsewhere = Receiver::start().await;
    let target = elsewhere.url.clone();
    let redirect =
        Receiver::answering(move |_| (StatusCode::FOUND, [("location", target.clone())]).into_response()).await;
    // Accepted by its status; its body would never end.
    let endless = Receiver::answering(|_| {
        Body::from_stream(stream::repeat(Ok::<_, Infallible>("all work and no play "))).into_response()
    })
    .await;
    let busy = Receiver::answering(|_| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "120")]).into_response()).await;
    let mut gone = Receiver::start().await;
    gone.url = "http://127.0.0.1:1/".to_owned();
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    let mut ids = Vec::new();
    for receiver in [&redirect, &endless, &busy, &gone] {
        ids.push(register(&admin, receiver, &["points.charged"]).await["webhookId"].clone());
    }
    app.user().await.charge("1").await;
    relay(&app).await;
    let listed = list(&admin, "").await;
    let of = |index: usize| listed.iter().find(|item| item["destination"] == ids[index]).unwrap();
    assert_eq!(of(0)["lastError"], "status 302: redirects are not followed");
    assert_eq!(of(1)["status"], "DELIVERED");
    assert_eq!(of(2)["lastError"], "status 429");
    assert_eq!(of(2)["nextAttemptAt"], "2026-11-20T08:02:00.000Z");
    assert!(of(3)["lastError"].as_str().unwrap().starts_with("no connection: "), "{}", of(3));
    assert_eq!(elsewhere.drain().len(), 0);
}

/// One receiver never answers; the other gets everything meanwhile.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_receiver_that_hangs_delays_no_other(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    const CHARGES: usize = 100;
    let mut hanging = Receiver::with_behaviour(|_| Box::pin(std::future::pending())).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 1, &[ALLOWED, ("DATA_PLATFORM_URL", &hanging.url)]);
    register(&app.admin().await, &receiver, &["points.charged"]).await;
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    let _relay =
        AbortOnDropHandle::new(tokio::spawn(Arc::clone(&app.instances[0].relay).run(CancellationToken::new())));
    let users = app.users(CHARGES).await;
    // First, all deliveries in flight of this receiver are stuck.
    users[0].charge("1").await;
    hanging.next().await;
    futures::future::join_all(users[1..].iter().map(|user| user.charge("1"))).await;
    let all = async {
        for _ in 0..CHARGES {
            receiver.next().await;
        }
    };
    // No attempt at the other has timed out by then.
    tokio::time::timeout(Duration::from_secs(9), all).await.expect("nothing waits for the receiver that hangs");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn data_platform_deliveries_are_signed_like_webhooks(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let mut platform = Receiver::start().await;
    let settings = [("DATA_PLATFORM_URL", platform.url.as_str()), ("DATA_PLATFORM_SECRET", SECRET)];
    let app = TestApp::start_with(options, 1, &settings);
    app.user().await.charge("1").await;
    relay(&app).await;
    let event = platform.next().await;
    assert_eq!(event.header("webhook-id"), event.text("id"));
    assert_eq!(event.header("webhook-signature"), signature(SECRET, &event));
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
