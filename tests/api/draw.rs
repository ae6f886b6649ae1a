//! The draw: tokens from before the opening get a random order that can be verified.

use std::time::Duration;

use axum::http::Method;
use chrono::TimeDelta;
use concert_reservation::{
    domain::queue::{Entrant, Seed},
    verify_draw::{VerifiedDraw, verify},
};
use serde_json::{Value, json};
use sqlx::{
    MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tokio::time::timeout;

use crate::support::{Client, Process, Sale, TestApp, race};

const TOKENS: &str = "/api/v1/queue/tokens";
const CURRENT: &str = "/api/v1/queue/tokens/current";

fn draw_path(sale: &Sale) -> String {
    format!("/api/v1/concerts/{}/queue/draw", sale.concert_id)
}

async fn draw(app: &TestApp, sale: &Sale) -> Value {
    app.anonymous().get(&draw_path(sale)).await.expect(200).json()
}

/// The published lines.
async fn entrants(app: &TestApp, sale: &Sale) -> String {
    let reply = app.anonymous().get(&format!("{}/entrants", draw_path(sale))).await.expect(200);
    assert!(reply.header("content-type").starts_with("text/plain"), "{}", reply.header("content-type"));
    String::from_utf8(reply.bytes).unwrap()
}

/// A sale that opens in a minute; one is admitted at a time.
async fn sale_to_come(app: &TestApp, mode: &str) -> Sale {
    let sale = app.sale(1, 1).await;
    let opening = (app.now() + TimeDelta::seconds(60)).to_rfc3339();
    sale.set_queue(app, json!({"mode": mode, "admitCount": 1, "salesOpenAt": opening})).await;
    sale
}

async fn join_all(app: &TestApp, sale: &Sale, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for user in app.users(count).await {
        clients.push(sale.join(user).await);
    }
    clients
}

async fn poll(client: &Client) -> Value {
    client.get(CURRENT).await.expect(200).json()
}

/// The clients in the order of the published lines, all of which are theirs.
fn in_drawn_order(lines: &str, clients: &[Client]) -> Vec<Client> {
    assert_eq!(lines.lines().count(), clients.len(), "{lines}");
    let client_of = |line: &str| clients.iter().find(|client| Entrant::of(client.queue_token()).hex() == line);
    lines.lines().map(|line| client_of(line).expect("every line belongs to a client").clone()).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_seed_is_committed_before_and_revealed_after_the_opening(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    for path in ["draw", "draw/entrants"] {
        let unknown = format!("/api/v1/concerts/999999/queue/{path}");
        anonymous.get(&unknown).await.expect_problem(404, "CONCERT_NOT_FOUND");
    }
    let sale = app.sale(1, 1).await;
    let lines = format!("{}/entrants", draw_path(&sale));
    anonymous.get(&draw_path(&sale)).await.expect_problem(404, "DRAW_NOT_FOUND");
    anonymous.get(&lines).await.expect_problem(404, "DRAW_NOT_FOUND");

    let mut promised = Value::Null;
    for seconds in [60, 7_200, 120] {
        let opening = app.now() + TimeDelta::seconds(seconds);
        sale.set_queue(&app, json!({"mode": "PAUSED", "salesOpenAt": opening.to_rfc3339()})).await;
        let shown = draw(&app, &sale).await;
        assert!(shown["seed"].is_null() && shown["entrantCount"].is_null(), "{shown}");
        assert!(shown["algorithm"].as_str().is_some_and(|text| text.contains("HMAC-SHA-256")), "{shown}");
        assert!(shown["salesOpenAt"].is_string() && shown["commitment"].is_string(), "{shown}");
        assert!(promised.is_null() || promised == shown["commitment"], "moving the opening keeps the seed");
        promised = shown["commitment"].clone();
        anonymous.get(&lines).await.expect_problem(404, "DRAW_NOT_FOUND");
    }
    join_all(&app, &sale, 3).await;
    app.clock.advance(TimeDelta::milliseconds(119_999));
    app.tick().await;
    assert!(draw(&app, &sale).await["seed"].is_null());
    app.clock.advance(TimeDelta::milliseconds(1));
    app.tick().await;
    let made = draw(&app, &sale).await;
    assert_eq!((&made["commitment"], &made["entrantCount"]), (&promised, &json!(3)), "{made}");
    let found = verify(&made.to_string(), &entrants(&app, &sale).await, None);
    assert_eq!(found, Ok(VerifiedDraw { entrants: 3, place: None }));
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_published_order_is_the_order_of_the_queue(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = sale_to_come(&app, "QUEUE").await;
    let clients = join_all(&app, &sale, 12).await;
    let (gone, stayed) = clients.split_at(2);
    gone[0].delete(CURRENT).await.expect(204);
    gone[1].delete("/api/v1/users/me").await.expect(204);

    // The first join after the opening, before any tick: the draw is made first.
    app.advance(60);
    let user = app.user().await;
    let late = user.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect(201).json();
    assert_eq!((&late["status"], &late["position"]), (&json!("WAITING"), &json!(11)), "{late}");
    let made = draw(&app, &sale).await;
    assert_eq!(made["entrantCount"], 10, "users who left before the opening aren't entrants: {made}");
    let lines = entrants(&app, &sale).await;
    let drawn = in_drawn_order(&lines, stayed);
    for (index, client) in drawn.iter().enumerate() {
        for instance in 0..2 {
            let client = app.at_instance(client, instance);
            let again = client.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect(200).json();
            for place in [again, poll(&client).await] {
                assert_eq!(place["position"], index + 1, "{place}");
                assert_eq!(place["queueToken"], client.queue_token(), "a token keeps its text: {place}");
            }
        }
        let found = verify(&made.to_string(), &lines, Some(client.queue_token()));
        assert_eq!(found, Ok(VerifiedDraw { entrants: 10, place: Some(index + 1) }));
    }
    // Leaving after the draw doesn't change the draw.
    drawn[9].delete(CURRENT).await.expect(204);
    let late = user.with_queue_token(late["queueToken"].as_str().unwrap());
    for (index, client) in drawn[..9].iter().enumerate() {
        // Every entrant is still present.
        for waiting in drawn[index..9].iter().chain([&late]) {
            assert_eq!(poll(waiting).await["status"], "WAITING");
        }
        app.tick().await;
        assert_eq!(poll(client).await["status"], "ACTIVE");
        app.advance(10);
    }
    poll(&late).await;
    app.tick().await;
    assert_eq!(poll(&late).await["status"], "ACTIVE", "after all of them");
    assert_eq!(entrants(&app, &sale).await, lines);
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn one_of_two_servers_makes_the_draw(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    for mode in ["QUEUE", "OPEN", "PAUSED"] {
        let sale = sale_to_come(&app, mode).await;
        let clients = join_all(&app, &sale, 8).await;
        app.advance(60);
        let servers: Vec<_> = app.instances.iter().map(|instance| instance.shared.clone()).collect();
        let ticks = servers.iter().cycle().take(6).cloned();
        let late = app.users(4).await;
        let (results, joined) = tokio::join!(
            race(ticks.map(|server| async move { server.queue.admission.admit_due().await.map(|_| ()) })),
            futures::future::join_all(late.into_iter().map(|user| sale.join(user))),
        );
        for result in results {
            result.unwrap();
        }
        let made = draw(&app, &sale).await;
        let lines = entrants(&app, &sale).await;
        assert_eq!(verify(&made.to_string(), &lines, None), Ok(VerifiedDraw { entrants: 8, place: None }), "{mode}");
        let mut last = 0;
        for client in in_drawn_order(&lines, &clients).iter().chain(&joined) {
            let position = poll(client).await["position"].as_u64().unwrap();
            let is_late = joined.iter().any(|late| late.queue_token() == client.queue_token());
            assert!(
                if is_late { position >= last.min(8) } else { position >= last },
                "{mode}: {position} after {last}"
            );
            last = position.max(last);
        }
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn opening_now_makes_the_draw_at_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = sale_to_come(&app, "QUEUE").await;
    let clients = join_all(&app, &sale, 5).await;
    clients[0].delete(CURRENT).await.expect(204);
    sale.set_queue(&app, json!({"mode": "PAUSED", "salesOpenAt": null})).await;
    let made = draw(&app, &sale).await;
    assert_eq!((&made["entrantCount"], &made["salesOpenAt"]), (&json!(4), &Value::Null), "{made}");
    let lines = entrants(&app, &sale).await;
    for (index, client) in in_drawn_order(&lines, &clients[1..]).iter().enumerate() {
        assert_eq!(poll(client).await["position"], index + 1);
    }

    let later = join_all(&app, &sale, 3).await;
    for (index, client) in later.iter().enumerate() {
        let place = poll(client).await;
        assert_eq!((&place["position"], &place["queueToken"]), (&json!(index + 5), &json!(client.queue_token())));
    }
    assert_eq!(draw(&app, &sale).await["seed"], made["seed"]);
    assert_eq!(entrants(&app, &sale).await, lines);
    app.assert_invariants_hold().await;
}

/// Inserts `count` scheduled tokens, each of another user.
async fn join_many(pool: &MySqlPool, sale: &Sale, count: u32) {
    let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
                  UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let numbers = format!(
        "(SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n \
         FROM {digits} a, {digits} b, {digits} c, {digits} e, {digits} f) numbers WHERE n <= {count}"
    );
    let id = "UNHEX(LPAD(HEX(n), 32, '0'))";
    let (concert, number): (u64, u32) =
        sqlx::query_as("SELECT concert_id, last_number FROM queues WHERE concert_id = ?")
            .bind(sale.concert_id)
            .fetch_one(pool)
            .await
            .unwrap();
    for text in [
        format!(
            "INSERT INTO users (id, email, email_key, password_hash, name, role, created_at) SELECT {id}, \
             CONCAT('crowd', n), CONCAT('crowd', n), '', 'x', 'USER', '2026-11-20 08:00:00' FROM {numbers}"
        ),
        format!(
            "INSERT INTO queue_tokens (id, concert_id, user_id, key_id, status, entrant, issued_at) \
             SELECT ({concert} << 32) + {number} + n, {concert}, {id}, 1, 'SCHEDULED', \
             UNHEX(SHA2(CONCAT('crowd', n), 256)), '2026-11-20 08:00:00' FROM {numbers}"
        ),
        format!("UPDATE queues SET last_number = last_number + {count} WHERE concert_id = {concert}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn many_places_are_written_in_parts_without_overtaking(pool: MySqlPoolOptions, options: MySqlConnectOptions) {
    let crowd_size: u32 = 5_000;
    let app = TestApp::start_two(options.clone());
    let pool = pool.connect_with(options).await.unwrap();
    let sale = sale_to_come(&app, "QUEUE").await;
    let clients = join_all(&app, &sale, 2).await;
    join_many(&pool, &sale, crowd_size).await;
    app.advance(60);

    // The draw is made, and no place is written yet.
    let late = app.user().await;
    let late = sale.join(late).await;
    assert_eq!(poll(&late).await["position"], crowd_size + 3);
    let made = draw(&app, &sale).await;
    assert_eq!(made["entrantCount"], crowd_size + 2, "{made}");
    let path = format!("{}/entrants", draw_path(&sale));
    app.anonymous().get(&path).await.expect_problem(404, "DRAW_NOT_FOUND");
    assert_eq!(poll(&clients[0]).await["status"], "SCHEDULED");
    clients[0].delete(CURRENT).await.expect(204);

    // Both servers write places and admit tokens meanwhile.
    let servers: Vec<_> = app.instances.iter().map(|instance| instance.shared.clone()).collect();
    for result in race(servers.into_iter().map(|server| async move { server.queue.admission.admit_due().await })).await
    {
        result.unwrap();
    }
    let lines = entrants(&app, &sale).await;
    let (draw_text, total) = (made.to_string(), lines.lines().count());
    let places = clients.iter().map(|client| {
        let found = verify(&draw_text, &lines, Some(client.queue_token())).unwrap();
        assert_eq!(found.entrants, crowd_size as usize + 2, "users who left after the draw are still listed");
        found.place.unwrap()
    });
    let places: Vec<_> = places.collect();
    let first: Vec<u8> =
        sqlx::query_scalar("SELECT entrant FROM queue_tokens WHERE status = 'ACTIVE'").fetch_one(&pool).await.unwrap();
    let admitted = 1 + usize::from(places[0] == 1);
    assert_eq!(Entrant::new(first.try_into().unwrap()).hex(), lines.lines().nth(admitted - 1).unwrap());
    let ahead = |place: usize| place - admitted - usize::from((admitted + 1..place).contains(&places[0]));
    let expected = if places[1] == admitted { 0 } else { ahead(places[1]) };
    assert_eq!(poll(&clients[1]).await["position"], expected, "{places:?}");
    assert_eq!(poll(&clients[0]).await["status"], "LEFT");
    assert_eq!(poll(&late).await["position"], ahead(total + 1), "{places:?}");
    app.assert_invariants_hold().await;
}

/// The progress of writing places: the queue's counter, and the number of written places.
async fn placed(pool: &MySqlPool) -> (u32, i64) {
    sqlx::query_as("SELECT draw_placed, (SELECT COUNT(place) FROM queue_tokens WHERE entrant IS NOT NULL) FROM queues")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Waits until a server waits for a lock while it writes places.
async fn writing_stands_still(pool: &MySqlPool) {
    let database: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(pool).await.unwrap();
    timeout(Duration::from_secs(20), async {
        loop {
            let processes = Process::waiting(pool, &database).await;
            if processes.iter().any(|process| process.statement.starts_with("UPDATE queue_tokens")) {
                return;
            }
        }
    })
    .await
    .expect("the lock is in its way");
}

/// A server is killed between two batches of places, another one within a batch; a third continues.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn another_server_finishes_writing_places_after_a_crash(pool: MySqlPoolOptions, options: MySqlConnectOptions) {
    let crowd_size: u32 = 13_000;
    let app = TestApp::start_with(options.clone(), 3, &[]);
    let pool = pool.connect_with(options).await.unwrap();
    let sale = sale_to_come(&app, "PAUSED").await;
    let client = join_all(&app, &sale, 1).await.remove(0);
    join_many(&pool, &sale, crowd_size).await;
    app.advance(60);
    let total = crowd_size + 1;

    // The first server makes the draw and writes four batches.
    app.instances[0].shared.queue.admission.admit_due().await.unwrap();
    assert_eq!(placed(&pool).await, (8_000, 8_000));
    let late = [sale.join(app.user().await).await, sale.join(app.user().await).await];
    let last_position = poll(&late[1]).await["position"].as_u64().unwrap();
    assert_eq!(last_position, u64::from(total) + 2);

    // The second one waits for a lock in the middle of the fifth batch, and dies there.
    let (seed, entrants_by_id): (Vec<u8>, Vec<(u64, Vec<u8>)>) = (
        sqlx::query_scalar("SELECT draw_seed FROM queues").fetch_one(&pool).await.unwrap(),
        sqlx::query_as("SELECT id, entrant FROM queue_tokens WHERE entrant IS NOT NULL")
            .fetch_all(&pool)
            .await
            .unwrap(),
    );
    let seed = Seed::new(seed.try_into().unwrap());
    let mut order: Vec<_> = entrants_by_id
        .into_iter()
        .map(|(id, entrant)| (seed.rank(&Entrant::new(entrant.try_into().unwrap())), id))
        .collect();
    order.sort_unstable();
    let mut obstacle = pool.begin().await.unwrap();
    sqlx::query("SELECT id FROM queue_tokens FORCE INDEX (PRIMARY) WHERE id = ? FOR UPDATE")
        .bind(order[9_500].1)
        .execute(&mut *obstacle)
        .await
        .unwrap();
    let dying = app.instances[1].shared.clone();
    #[expect(clippy::disallowed_methods, reason = "it is to be killed while it works")]
    // Its first transaction finds the draw made, and computes the order for the next one.
    let work = tokio::spawn(async move { dying.queue.admission.admit_due().await });
    writing_stands_still(&pool).await;
    work.abort();
    assert!(work.await.unwrap_err().is_cancelled());
    obstacle.rollback().await.unwrap();

    // The third server has no state from the other two.
    let newcomer = sale.join(app.user().await).await;
    assert_eq!(placed(&pool).await, (8_000, 8_000), "nothing of the fifth batch was kept");
    app.instances[2].shared.queue.admission.admit_due().await.unwrap();
    assert_eq!(placed(&pool).await, (total, i64::from(total)));
    let (made, lines) = (draw(&app, &sale).await, entrants(&app, &sale).await);
    let verified = verify(&made.to_string(), &lines, Some(client.queue_token())).unwrap();
    assert_eq!(verified.entrants, total as usize);
    assert_eq!(poll(&client).await["position"], verified.place.unwrap());
    for (index, client) in late.iter().chain([&newcomer]).enumerate() {
        assert_eq!(poll(client).await["position"], total as usize + index + 1, "they follow, in order");
    }
    let (first, last, places): (u32, u32, i64) =
        sqlx::query_as("SELECT MIN(place), MAX(place), COUNT(DISTINCT place) FROM queue_tokens")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!((first, last, places), (1, total + 3, i64::from(total) + 3), "no place is empty, none is there twice");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_opening_without_entrants_is_a_draw(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = sale_to_come(&app, "QUEUE").await;
    let promised = draw(&app, &sale).await["commitment"].clone();
    app.advance(60);
    app.tick().await;
    let made = draw(&app, &sale).await;
    assert_eq!((&made["entrantCount"], entrants(&app, &sale).await.as_str()), (&json!(0), ""), "{made}");
    assert_eq!(verify(&made.to_string(), "", None), Ok(VerifiedDraw { entrants: 0, place: None }));

    assert_eq!(made["commitment"], promised);
    let admin = app.admin().await;
    admin.send(Method::DELETE, &format!("/api/v1/admin/concerts/{}", sale.concert_id), &[], None).await.expect(204);
    app.anonymous().get(&draw_path(&sale)).await.expect_problem(404, "CONCERT_NOT_FOUND");
}
