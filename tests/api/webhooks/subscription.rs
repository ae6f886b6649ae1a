//! Which events a receiver gets, and how they are signed.

use std::pin::pin;

use concert_reservation::domain::{
    event::{Event, Fact},
    id::{EventId, TransactionId, UserId},
};
use serde_json::{Value, json};
use sqlx::{
    Connection, MySqlConnection, MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use uuid::Uuid;

use super::{ALLOWED, WEBHOOKS, register, relay, signature};
use crate::support::{Process, Receiver, Tables, TestApp};

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

/// Each request commits both the cancellation and its event, or neither; repetitions, on any server, add none.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_cancelled_performance_is_one_event(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 2, &[ALLOWED]);
    let admin = app.admin().await;
    register(&admin, &receiver, &["performance.cancelled"]).await;
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    buyer.pay(&booking, "key").await.expect(201);
    let performance = format!("/api/v1/admin/performances/{}", sale.performance_id);
    let shown = admin.get(&performance).await.expect(200).json();
    let cancel = format!("{performance}/cancel");

    let rename = async |statement| sqlx::query(statement).execute(&tables.pool).await.unwrap();
    rename("RENAME TABLE admin_actions TO lost_actions").await;
    admin.post(&cancel, json!({})).await.expect_problem(500, "INTERNAL");
    rename("RENAME TABLE lost_actions TO admin_actions").await;
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 0);
    assert_eq!(admin.get(&performance).await.expect(200).json()["status"], shown["status"]);

    for client in [app.on_every_server(&admin), app.on_every_server(&admin)].concat() {
        client.post(&cancel, json!({})).await.expect(202);
        app.advance(1);
    }
    relay(&app).await;
    let received = receiver.drain();
    let [event] = received.as_slice() else { panic!("{received:?}") };
    let id = sale.performance_id;
    assert_eq!((event.text("type").as_str(), event.text("subject")), ("performance.cancelled", id.to_string()));
    let data = json!({"performanceId": id, "concertId": sale.concert_id, "startsAt": shown["startsAt"]});
    assert_eq!(event.json()["data"], data);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_performances_of_a_deleted_concert_are_events(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 1, &[ALLOWED]);
    let admin = app.admin().await;
    register(&admin, &receiver, &["performance.cancelled"]).await;
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    let concert = format!("/api/v1/admin/concerts/{}", sale.concert_id);
    admin.delete(&concert).await.expect_problem(409, "CONCERT_HAS_BOOKINGS");
    relay(&app).await;
    assert_eq!(receiver.drain().len(), 0);
    buyer.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200);
    admin.delete(&concert).await.expect(204);
    admin.delete(&concert).await.expect_problem(404, "CONCERT_NOT_FOUND");
    relay(&app).await;
    let subjects: Vec<_> = receiver.drain().iter().map(|event| event.text("subject")).collect();
    assert_eq!(subjects, [sale.performance_id.to_string()]);
    app.assert_invariants_hold().await;
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
    sqlx::query("UPDATE webhooks SET types = 'seat.moved'").execute(&pool).await.unwrap();
    app.user().await.charge("1").await;
    sqlx::query("UPDATE outbox_events SET type = 'seat.moved'").execute(&pool).await.unwrap();
    relay(&app).await;
    assert_eq!(receiver.drain().iter().map(|event| event.text("type")).collect::<Vec<_>>(), ["seat.moved"]);
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
