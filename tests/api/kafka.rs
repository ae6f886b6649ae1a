//! A Kafka topic as a destination of events.

use std::collections::{BTreeMap, BTreeSet};

use concert_reservation::{
    domain::{
        clock::Instant,
        event::{AttemptOutcome, EventSender, Receiver as EventReceiver, RecordedEvent},
        id::EventId,
    },
    infrastructure::kafka::{KafkaEventSender, KafkaSettings, SaslMechanism, SaslSettings, SecurityProtocol},
};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, KafkaBroker, KafkaMessage, Receiver, Sale, Tables, TestApp, Topic};

const EVENTS: &str = "/api/v1/admin/events";

fn start(options: MySqlConnectOptions, instances: usize, topic: &Topic, settings: &[(&str, &str)]) -> TestApp {
    TestApp::start_with(options, instances, &[&topic.settings()[..], settings].concat())
}

/// Each buyer holds, pays and refunds a seat: five events of a booking, in this order.
async fn buy_and_refund(sale: &Sale, buyers: &[Client], seats: &[u64]) {
    for (buyer, seat) in buyers.iter().zip(seats) {
        let booking = buyer.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId");
        buyer.pay(&booking, &booking).await.expect(201);
        buyer.post(&format!("/api/v1/bookings/{booking}/cancel"), json!({})).await.expect(200);
    }
}

async fn deliveries(admin: &Client, query: &str) -> Vec<Value> {
    admin.get(&format!("{EVENTS}?{query}")).await.expect(200).json()["items"].as_array().unwrap().clone()
}

/// Relays until no delivery is open: an event may be postponed for one before it.
async fn relay_everything(app: &TestApp, admin: &Client) {
    app.relay().await;
    while !deliveries(admin, "status=PENDING").await.is_empty() {
        app.advance(60);
        app.relay().await;
    }
}

/// Fails unless the topic has every event, keyed by its subject, and those of each booking in order. Repetitions are
/// permitted, and don't count.
async fn assert_complete_and_in_order(tables: &Tables, messages: &[KafkaMessage]) {
    let recorded: Vec<(String,)> = sqlx::query_as(
        "SELECT LOWER(CONCAT_WS('-', SUBSTR(HEX(id), 1, 8), SUBSTR(HEX(id), 9, 4), SUBSTR(HEX(id), 13, 4), \
         SUBSTR(HEX(id), 17, 4), SUBSTR(HEX(id), 21))) FROM outbox_events",
    )
    .fetch_all(&tables.pool)
    .await
    .unwrap();
    let recorded: BTreeSet<_> = recorded.into_iter().map(|(id,)| id).collect();
    let arrived: BTreeSet<_> = messages.iter().map(|message| message.text("id").to_owned()).collect();
    assert_eq!(arrived, recorded);
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(i32, &str), u8> = BTreeMap::new();
    let mut partitions: BTreeMap<&str, i32> = BTreeMap::new();
    for message in messages {
        assert_eq!(message.key, message.text("subject"));
        assert_eq!(*partitions.entry(&message.key).or_insert(message.partition), message.partition);
        let Some(sequence) = message.event["sequence"].as_str().filter(|_| seen.insert(message.text("id"))) else {
            continue;
        };
        let (stream, sequence) = ((message.partition, message.text("partitionkey")), sequence.parse().unwrap());
        assert!(last.insert(stream, sequence).is_none_or(|last| last < sequence), "{stream:?} {sequence}");
    }
}

/// The data platform gets the same bytes.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn events_of_a_sale_arrive_in_a_topic_keyed_and_in_order(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (tables, broker, mut platform) =
        (Tables::of(&options).await, KafkaBroker::shared().await, Receiver::start().await);
    let (topic, url) = (broker.topic(&[]).await, platform.url.clone());
    let app = start(options, 2, &topic, &[("DATA_PLATFORM_URL", &url)]);
    let sale = app.sale(1, 20).await;
    let buyers = app.buyers(&sale, 20).await;
    for buyer in &buyers {
        buyer.charge("50000").await;
    }
    buy_and_refund(&sale, &buyers, &sale.seats).await;
    let (one, two) = tokio::join!(app.instances[0].relay.run_once(), app.instances[1].relay.run_once());
    one.and(two).unwrap();
    relay_everything(&app, &app.admin().await).await;
    let messages = topic.read().await;
    assert_complete_and_in_order(&tables, &messages).await;
    let platform: BTreeSet<Vec<u8>> = platform.drain().into_iter().map(|event| event.bytes.to_vec()).collect();
    let topic: BTreeSet<_> = messages.iter().map(|message| message.bytes.clone()).collect();
    assert_eq!(topic, platform);
    assert_eq!(messages.len(), platform.len(), "without a failure there is no repetition");
    for message in &messages {
        assert_eq!(message.content_type, "application/cloudevents+json; charset=UTF-8");
        assert_eq!(message.text("specversion"), "1.0");
    }
    let bookings = messages.iter().filter(|message| message.text("type").starts_with("booking.")).count();
    assert_eq!(bookings, 60);
}

/// While no broker runs, sales and the data platform go on. Afterwards the topic gets what it missed.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_killed_broker_delays_nothing_else_and_gets_everything_later(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let (tables, broker, mut platform) =
        (Tables::of(&options).await, KafkaBroker::own().await, Receiver::start().await);
    let (topic, url) = (broker.topic(&[]).await, platform.url.clone());
    let app = start(options, 2, &topic, &[("DATA_PLATFORM_URL", &url)]);
    let (sale, admin) = (app.sale(1, 12).await, app.admin().await);
    let buyers = app.buyers(&sale, 12).await;
    for buyer in &buyers {
        buyer.charge("50000").await;
    }
    buy_and_refund(&sale, &buyers[..6], &sale.seats[..6]).await;
    relay_everything(&app, &admin).await;
    assert_eq!(topic.read().await.len(), platform.drain().len());

    broker.kill().await;
    buy_and_refund(&sale, &buyers[6..], &sale.seats[6..]).await;
    app.relay().await;
    assert!(!platform.drain().is_empty());
    let waiting = deliveries(&admin, "status=PENDING&limit=100").await;
    let attempted: Vec<_> = waiting.iter().filter(|delivery| delivery["attempts"] == 1).collect();
    assert!(attempted.len() >= 6, "{waiting:?}");
    for delivery in attempted {
        assert_eq!(delivery["destination"], "kafka");
        let error = delivery["lastError"].as_str().unwrap();
        assert!(error.contains(&broker.address) && error.contains("Connection refused"), "{error}");
    }

    broker.start().await;
    relay_everything(&app, &admin).await;
    let messages = topic.read().await;
    assert_complete_and_in_order(&tables, &messages).await;
    broker.wipe().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_event_for_a_missing_topic_arrives_once_there_is_one(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (tables, broker) = (Tables::of(&options).await, KafkaBroker::shared().await);
    let topic = broker.missing_topic();
    let app = start(options, 1, &topic, &[("EVENT_ATTEMPTS", "2")]);
    let (user, admin) = (app.user().await, app.admin().await);
    user.charge("1").await;
    for status in ["PENDING", "PARKED"] {
        app.relay().await;
        let delivery = &deliveries(&admin, "").await[0];
        let error = format!("the topic {} doesn't exist", topic.name);
        assert_eq!((&delivery["status"], &delivery["lastError"]), (&json!(status), &json!(error)));
        app.advance(2);
    }
    topic.create(&[]).await;
    let id = deliveries(&admin, "status=PARKED").await[0]["eventId"].as_str().unwrap().to_owned();
    // The client asks for the partitions of an unknown topic once a second.
    while topic.read().await.is_empty() {
        admin.post(&format!("{EVENTS}/{id}/redeliver"), json!({})).await.expect(202);
        app.relay().await;
    }
    assert_complete_and_in_order(&tables, &topic.read().await).await;
}

/// An event that the topic refuses is parked at once. Those sent with it arrive.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_event_that_is_too_large_is_parked_and_others_go_on(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (tables, broker) = (Tables::of(&options).await, KafkaBroker::shared().await);
    let topic = broker.topic(&[("max.message.bytes", "100000")]).await;
    let app = start(options, 1, &topic, &[]);
    let (users, admin) = (app.users(20).await, app.admin().await);
    for user in &users {
        user.charge("1").await;
    }
    let enlarge =
        "UPDATE outbox_events SET data = CONCAT('{\"filler\": \"', REPEAT('x', 200000), '\"}') ORDER BY id LIMIT 1";
    sqlx::query(enlarge).execute(&tables.pool).await.unwrap();
    app.relay().await;
    assert_eq!(topic.read().await.len(), 19);
    let parked = deliveries(&admin, "status=PARKED").await;
    assert_eq!((parked.len(), &parked[0]["attempts"]), (1, &json!(1)));
    let error = parked[0]["lastError"].as_str().unwrap();
    assert!(
        error.starts_with("the event of 200") && error.ends_with(&format!("the topic {} permits", topic.name)),
        "{error}"
    );
    assert!(deliveries(&admin, "status=PENDING").await.is_empty());
}

/// The settings of a producer for a topic of a broker, without a login yet.
async fn secured(broker: &KafkaBroker, topic: &Topic, protocol: SecurityProtocol) -> KafkaSettings {
    KafkaSettings {
        brokers: broker.secured_address(protocol).await,
        topic: topic.name.clone(),
        protocol,
        sasl: None,
        ca_file: Some(broker.certificate().await),
    }
}

fn login(mechanism: SaslMechanism, password: &str) -> SaslSettings {
    SaslSettings { mechanism, username: KafkaBroker::USER.to_owned(), password: password.to_owned() }
}

async fn send(settings: KafkaSettings) -> AttemptOutcome {
    let event = RecordedEvent {
        id: EventId(Uuid::now_v7()),
        stream_id: Uuid::nil(),
        sequence: 1,
        kind: "booking.held".to_owned(),
        subject: Uuid::nil().to_string(),
        data: "{}".to_owned(),
        at: Instant::default(),
    };
    KafkaEventSender::new(&settings).unwrap().send(&EventReceiver::kafka(), &event, Instant::default()).await
}

#[tokio::test]
async fn events_reach_an_encrypted_broker_that_asks_for_a_password() {
    let broker = KafkaBroker::shared().await;
    let topic = broker.topic(&[]).await;
    let encrypted = secured(&broker, &topic, SecurityProtocol::Ssl).await;
    assert_eq!(send(encrypted).await, AttemptOutcome::Accepted);
    let sasl = secured(&broker, &topic, SecurityProtocol::SaslSsl).await;
    for mechanism in [SaslMechanism::ScramSha512, SaslMechanism::ScramSha256, SaslMechanism::Plain] {
        let settings = KafkaSettings { sasl: Some(login(mechanism, KafkaBroker::PASSWORD)), ..sasl.clone() };
        assert_eq!(send(settings).await, AttemptOutcome::Accepted, "{mechanism:?}");
    }
    assert_eq!(topic.read().await.len(), 4);
}

/// Each attempt ends by its time limit, so all of them run at once.
#[tokio::test]
async fn a_broker_is_refused_without_a_trusted_certificate_and_a_user_without_the_right_password() {
    let broker = KafkaBroker::shared().await;
    let topic = broker.topic(&[]).await;
    let encrypted = secured(&broker, &topic, SecurityProtocol::Ssl).await;
    let sasl = secured(&broker, &topic, SecurityProtocol::SaslSsl).await;
    let wrong = |mechanism| KafkaSettings { sasl: Some(login(mechanism, "wrong-password")), ..sasl.clone() };
    let right = Some(login(SaslMechanism::ScramSha512, KafkaBroker::PASSWORD));
    let by_address = encrypted.brokers.replace("localhost", "127.0.0.1");
    let attempts = [
        (wrong(SaslMechanism::ScramSha512), "SASL authentication error"),
        (wrong(SaslMechanism::Plain), "SASL authentication error"),
        (KafkaSettings { ca_file: None, ..encrypted.clone() }, "certificate verify failed"),
        (KafkaSettings { ca_file: None, sasl: right, ..sasl.clone() }, "certificate verify failed"),
        (KafkaSettings { brokers: by_address, ..encrypted.clone() }, "certificate verify failed"),
        (KafkaSettings { protocol: SecurityProtocol::Plaintext, ..encrypted }, "brokers are down"),
    ];
    let outcomes = join_all(attempts.iter().map(|(settings, _)| send(settings.clone()))).await;
    for ((settings, reason), outcome) in attempts.iter().zip(outcomes) {
        let AttemptOutcome::Failed { error, .. } = outcome else { panic!("{settings:?}: {outcome:?}") };
        assert!(error.contains(reason), "{settings:?}: {error}");
    }
    assert!(topic.read().await.is_empty());
}

/// Through the variables of a server.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_server_logs_in_at_an_encrypted_broker(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (tables, broker) = (Tables::of(&options).await, KafkaBroker::shared().await);
    let topic = broker.topic(&[]).await;
    let (address, certificate) = (broker.secured_address(SecurityProtocol::SaslSsl).await, broker.certificate().await);
    let settings = [
        ("KAFKA_BROKERS", address.as_str()),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_CA_FILE", certificate.as_str()),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        ("KAFKA_SASL_USERNAME", KafkaBroker::USER),
        ("KAFKA_SASL_PASSWORD", KafkaBroker::PASSWORD),
    ];
    let app = start(options, 1, &topic, &settings);
    app.user().await.charge("1").await;
    relay_everything(&app, &app.admin().await).await;
    assert_complete_and_in_order(&tables, &topic.read().await).await;
}
