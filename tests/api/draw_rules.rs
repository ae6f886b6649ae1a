//! Guarantees of a draw: a secret seed until the opening, one entrant per user, and a fixed opening.

use axum::http::Method;
use chrono::TimeDelta;
use concert_reservation::{
    application::{
        event::{EventRetention, EventUpkeep},
        housekeeping::HousekeepingFacade,
    },
    domain::queue::Seed,
    verify_draw::{DrawError, VerifiedDraw, verify},
};
use futures::StreamExt;
use serde_json::{Value, json};
use sqlx::{
    MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::support::{Client, Reply, Sale, TestApp};

const TOKENS: &str = "/api/v1/queue/tokens";
const CURRENT: &str = "/api/v1/queue/tokens/current";

async fn draw(app: &TestApp, sale: &Sale) -> Value {
    app.anonymous().get(&format!("/api/v1/concerts/{}/queue/draw", sale.concert_id)).await.expect(200).json()
}

/// Sets a queue in mode `PAUSED`: tokens keep their places. `opening` is left out if it is null.
async fn put_queue(app: &TestApp, sale: &Sale, opening: Value) -> Reply {
    let mut body = json!({
        "mode": "PAUSED", "admitCount": 200, "admitIntervalSeconds": 10, "maxActive": 2000, "activeSeconds": 600,
        "claimSeconds": 60,
    });
    if !opening.is_null() {
        body["salesOpenAt"] = opening;
    }
    let path = format!("/api/v1/admin/concerts/{}/queue", sale.concert_id);
    app.admin().await.send(Method::PUT, &path, &[], Some(body)).await
}

/// The instant in `seconds` seconds, as clients write it.
fn in_seconds(app: &TestApp, seconds: i64) -> Value {
    json!((app.now() + TimeDelta::seconds(seconds)).to_rfc3339())
}

async fn join(user: &Client, sale: &Sale, status: u16) -> Value {
    user.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect(status).json()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_opening_is_fixed_once_its_draw_is_made(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    for entrants in [0, 2] {
        let sale = app.sale(1, 1).await;
        let first = in_seconds(&app, 600);
        put_queue(&app, &sale, first).await.expect(200);
        let opening = in_seconds(&app, 60);
        put_queue(&app, &sale, opening.clone()).await.expect(200);
        for user in app.users(entrants).await {
            join(&user, &sale, 201).await;
        }
        app.advance(60);
        // The draw is due, and no tick has made it yet.
        put_queue(&app, &sale, in_seconds(&app, 60)).await.expect_problem(409, "SALES_ALREADY_OPEN");
        app.tick().await;
        let made = draw(&app, &sale).await;
        assert_eq!(made["entrantCount"], entrants, "{made}");
        for seconds in [60, 1, -1] {
            let other = in_seconds(&app, seconds);
            put_queue(&app, &sale, other).await.expect_problem(409, "SALES_ALREADY_OPEN");
        }
        // The same opening, as it is shown; and "open now" for a sale that is open.
        let shown = made["salesOpenAt"].clone();
        for same in [opening, shown.clone(), Value::Null] {
            assert_eq!(put_queue(&app, &sale, same).await.expect(200).json()["salesOpenAt"], shown);
        }
        assert_eq!(draw(&app, &sale).await, made);
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn leaving_before_the_opening_and_joining_again_gives_the_same_token(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    put_queue(&app, &sale, in_seconds(&app, 60)).await.expect(200);
    let users = app.users(3).await;
    let mut texts = Vec::new();
    for (index, user) in users.iter().enumerate() {
        let user = app.at_instance(user, index % 2);
        let first = join(&user, &sale, 201).await;
        let text = first["queueToken"].as_str().unwrap().to_owned();
        for round in 0..3 {
            app.advance(1);
            let bearer = app.at_instance(&user.clone().with_queue_token(&text), round % 2);
            bearer.delete(CURRENT).await.expect(204);
            assert_eq!(bearer.get(CURRENT).await.expect(200).json()["status"], "LEFT");
            let again = join(&user, &sale, 201).await;
            assert_eq!((&again["queueToken"], &again["status"]), (&json!(text), &json!("SCHEDULED")), "{again}");
            assert_eq!(again["issuedAt"], first["issuedAt"]);
            assert_eq!(bearer.get(CURRENT).await.expect(200).json()["status"], "SCHEDULED");
            assert_eq!(join(&user, &sale, 200).await["queueToken"], json!(text));
        }
        texts.push(text);
    }
    // A user who left before the opening isn't an entrant, and gets a new token afterwards.
    users[0].clone().with_queue_token(&texts[0]).delete(CURRENT).await.expect(204);
    app.advance(60);
    app.tick().await;
    assert_eq!(draw(&app, &sale).await["entrantCount"], 2);
    let late = join(&users[0], &sale, 201).await;
    assert_eq!((&late["status"], &late["position"]), (&json!("WAITING"), &json!(3)), "{late}");
    assert_ne!(late["queueToken"], json!(texts[0]));
    app.assert_invariants_hold().await;
}

/// All bytes of a queue's row, column by column.
async fn columns(pool: &MySqlPool, sale: &Sale) -> Vec<(String, Vec<u8>)> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(COLUMN_NAME AS CHAR) FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'queues'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut columns = Vec::new();
    for name in names {
        let text = format!("SELECT CAST({name} AS BINARY) FROM queues WHERE concert_id = ?");
        let bytes: Option<Vec<u8>> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(text)).bind(sale.concert_id).fetch_one(pool).await.unwrap();
        columns.extend(bytes.map(|bytes| (name, bytes)));
    }
    columns
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_database_does_not_reveal_a_seed_before_the_opening(pool: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let pool = pool.connect_with(options).await.unwrap();
    let sale = app.sale(1, 1).await;
    put_queue(&app, &sale, in_seconds(&app, 60)).await.expect(200);
    let promised = draw(&app, &sale).await["commitment"].as_str().unwrap().to_owned();
    let columns = columns(&pool, &sale).await;
    assert!(columns.iter().any(|(name, _)| name == "max_active"), "{columns:?}");
    for (name, bytes) in columns {
        for window in bytes.windows(32) {
            let commitment = Seed::new(window.try_into().unwrap()).commitment().hex();
            assert_ne!(commitment, promised, "the seed lies in {name}");
        }
    }
}

/// A server on the same database with other secrets. It creates no accounts.
fn restarted(options: &MySqlConnectOptions, secrets: &str, seconds: i64) -> TestApp {
    let app = TestApp::start_with(options.clone(), 1, &[("TOKEN_SECRET", secrets)]);
    app.advance(seconds);
    app
}

async fn keep_house(app: &TestApp) {
    let ports = app.ports().for_back_office();
    let retention = EventRetention { delivered: TimeDelta::hours(1), parked: Some(TimeDelta::days(10)) };
    let upkeep = EventUpkeep::new(ports.clone(), retention);
    HousekeepingFacade::new(ports, upkeep).clean().await.unwrap();
}

async fn lines(app: &TestApp, sale: &Sale) -> Reply {
    app.anonymous().get(&format!("/api/v1/concerts/{}/queue/draw/entrants", sale.concert_id)).await.expect(200)
}

/// The secret is changed before three sales open. The first one's seed is sealed again in time, the second one's isn't.
/// The third one's is in plain text, as the version before stored it.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn seeds_are_resealed_and_a_lost_secret_breaks_the_commitment_but_not_the_sale(
    pool: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let [old, new, other] = ["old", "new", "other"].map(|name| format!("{name}: a secret of 32 characters or more"));
    let app = TestApp::start_with(options.clone(), 1, &[("TOKEN_SECRET", &old)]);
    let pool = pool.connect_with(options.clone()).await.unwrap();
    let mut sales = Vec::new();
    for _ in 0..3 {
        let sale = app.sale(1, 1).await;
        put_queue(&app, &sale, in_seconds(&app, 60)).await.expect(200);
        for user in app.users(2).await {
            join(&user, &sale, 201).await;
        }
        let promised = draw(&app, &sale).await;
        sales.push((sale, promised));
    }
    let [moved, lost, clear] = &sales[..] else { panic!() };
    let seed = Seed::new([7; 32]);
    sqlx::query(
        "UPDATE queues SET draw_seed = ?, draw_sealed_seed = NULL, draw_commitment = NULL WHERE concert_id = ?",
    )
    .bind(&seed.bytes()[..])
    .bind(clear.0.concert_id)
    .execute(&pool)
    .await
    .unwrap();
    let unreadable_seed = "UPDATE queues SET draw_sealed_seed = REVERSE(draw_sealed_seed) WHERE concert_id = ?";
    sqlx::query(unreadable_seed).bind(lost.0.concert_id).execute(&pool).await.unwrap();

    keep_house(&restarted(&options, &format!("{new},{old}"), 30)).await;
    for (_, bytes) in columns(&pool, &clear.0).await {
        assert!(bytes.windows(32).all(|window| window != seed.bytes()), "it is sealed by now");
    }
    let app = restarted(&options, &format!("{new},{other}"), 60);
    app.tick().await;
    for (sale, commitment) in [(&moved.0, moved.1["commitment"].clone()), (&clear.0, json!(seed.commitment().hex()))] {
        let made = draw(&app, sale).await;
        assert_eq!(made["commitment"], commitment);
        let list = String::from_utf8(lines(&app, sale).await.bytes).unwrap();
        assert_eq!(verify(&made.to_string(), &list, None), Ok(VerifiedDraw { entrants: 2, place: None }));
    }
    let made = draw(&app, &lost.0).await;
    assert_eq!((&made["commitment"], &made["entrantCount"]), (&lost.1["commitment"], &json!(2)), "{made}");
    let list = String::from_utf8(lines(&app, &lost.0).await.bytes).unwrap();
    assert!(matches!(verify(&made.to_string(), &list, None), Err(DrawError::CommitmentMismatch(_))), "{made}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_published_list_outlives_its_tokens_and_may_be_cached(pool: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options.clone());
    let pool = pool.connect_with(options).await.unwrap();
    let sale = app.sale(1, 1).await;
    put_queue(&app, &sale, in_seconds(&app, 60)).await.expect(200);
    for user in app.users(3).await {
        join(&user, &sale, 201).await;
    }
    app.advance(60);
    app.tick().await;
    let first = lines(&app, &sale).await;
    assert_eq!(first.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!((first.header("content-length"), first.bytes.len()), ("195", 195));
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    sqlx::query("DELETE FROM queue_tokens").execute(&pool).await.unwrap();
    let path = format!("/api/v1/concerts/{}/queue/draw/entrants", sale.concert_id);
    let mut readers = [app.anonymous().download(&path).await, app.anonymous().download(&path).await];
    let [one, other] = readers.each_mut().map(StreamExt::next);
    assert_eq!(one.await.unwrap().unwrap().as_ptr(), other.await.unwrap().unwrap().as_ptr(), "readers share the text");
    for client in app.on_every_server(&app.anonymous()) {
        // Neither server needs the tokens, whether it has read the list before or not.
        let again = client.send(Method::GET, &path, &[("If-None-Match", "\"x\"")], None).await.expect(200);
        assert_eq!((again.header("etag"), &again.bytes), (tag.as_str(), &first.bytes));
        let same = client.send(Method::GET, &path, &[("If-None-Match", &tag)], None).await.expect(304);
        assert!(same.bytes.is_empty());
    }
    let made = draw(&app, &sale).await;
    let list = String::from_utf8(first.bytes).unwrap();
    assert_eq!(verify(&made.to_string(), &list, None), Ok(VerifiedDraw { entrants: 3, place: None }));
}

/// A queue as the version before could leave it: drawn, with another opening ahead and tokens without a place.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn tokens_that_an_earlier_version_left_without_a_place_get_one(
    pool: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options.clone());
    let pool = pool.connect_with(options).await.unwrap();
    let sale = app.sale(1, 1).await;
    put_queue(&app, &sale, in_seconds(&app, 60)).await.expect(200);
    for user in app.users(2).await {
        join(&user, &sale, 201).await;
    }
    app.advance(60);
    app.tick().await;
    let mut late = Vec::new();
    for user in app.users(2).await {
        let token = join(&user, &sale, 201).await;
        late.push(user.with_queue_token(token["queueToken"].as_str().unwrap()));
    }
    for text in [
        "UPDATE queue_tokens SET status = 'SCHEDULED', place = NULL WHERE place > 2",
        "UPDATE queues SET last_place = 2, sales_open_at = '2026-11-20 09:00:00' WHERE drawn_at IS NOT NULL",
        "DELETE FROM draw_entrants",
        include_str!("../../migrations/20261129030003_publish_drawn_entrants.sql"),
        include_str!("../../migrations/20261129030004_place_late_tokens.sql"),
    ] {
        sqlx::raw_sql(text).execute(&pool).await.unwrap();
    }
    let made = draw(&app, &sale).await;
    let list = String::from_utf8(lines(&app, &sale).await.bytes).unwrap();
    assert_eq!(verify(&made.to_string(), &list, None), Ok(VerifiedDraw { entrants: 2, place: None }));
    let newcomer = join(&app.user().await, &sale, 201).await;
    assert_eq!((&newcomer["status"], &newcomer["position"]), (&json!("WAITING"), &json!(5)), "{newcomer}");
    for (index, client) in late.iter().enumerate() {
        let place = client.get(CURRENT).await.expect(200).json();
        assert_eq!((&place["status"], &place["position"]), (&json!("WAITING"), &json!(index + 3)), "{place}");
    }
    put_queue(&app, &sale, in_seconds(&app, 600)).await.expect_problem(409, "SALES_ALREADY_OPEN");
    assert_eq!(put_queue(&app, &sale, Value::Null).await.expect(200).json()["salesOpenAt"], Value::Null);
    app.assert_invariants_hold().await;
}
