//! Administration of accounts, and the action log.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::{
    Connection, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use uuid::Uuid;

use crate::support::{Client, Receiver, Reply, TestApp, race};

const USERS: &str = "/api/v1/admin/users";
const ACTIONS: &str = "/api/v1/admin/actions";
const PASSWORD: &str = "correct horse battery";

fn path_of(user: Uuid) -> String {
    format!("{USERS}/{user}")
}

async fn patch(admin: &Client, user: Uuid, body: Value) -> Reply {
    admin.send(Method::PATCH, &path_of(user), &[], Some(body)).await
}

async fn items(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).await.expect(200).json()["items"].as_array().unwrap().clone()
}

async fn sign_up(app: &TestApp, email: &str, name: &str) -> Uuid {
    let account = json!({"email": email, "password": PASSWORD, "name": name});
    app.anonymous().post("/api/v1/users", account).await.expect(201).text("userId").parse().unwrap()
}

async fn log_in(app: &TestApp, email: &str) -> Reply {
    app.anonymous().post("/api/v1/auth/login", json!({"email": email, "password": PASSWORD})).await
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn accounts_are_found_by_address_name_role_and_block(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let jin = sign_up(&app, "jin_100%@example.org", "Jin").await;
    let mina = sign_up(&app, "mina@example.org", "Mina Jin").await;
    patch(&admin, mina, json!({"blocked": true, "reason": "fraud"})).await.expect(200);
    for (query, expected) in [
        ("query=JIN&role=USER", vec![mina, jin]),
        ("query=_100%25", vec![jin]),
        ("query=nothing", vec![]),
        ("role=ADMIN", vec![admin.user_id()]),
        ("blocked=true", vec![mina]),
        ("blocked=false&role=USER", vec![jin]),
    ] {
        let found = items(&admin, &format!("{USERS}?{query}")).await;
        let found: Vec<Uuid> = found.iter().map(|user| user["userId"].as_str().unwrap().parse().unwrap()).collect();
        let order = |mut ids: Vec<Uuid>| {
            ids.sort_unstable();
            ids
        };
        assert_eq!(order(found), order(expected), "{query}");
    }
    for query in ["role=admin", "blocked=yes", "limit=0"] {
        admin.get(&format!("{USERS}?{query}")).await.expect_problem(422, "VALIDATION_FAILED");
    }
    let first = admin.get(&format!("{USERS}?limit=2")).await.expect(200).json();
    let cursor = first["nextCursor"].as_str().unwrap();
    assert_eq!(items(&admin, &format!("{USERS}?limit=2&cursor={cursor}")).await.len(), 1);
    for path in [USERS, ACTIONS, &path_of(jin)] {
        app.user().await.get(path).await.expect_problem(403, "FORBIDDEN");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_account_shows_its_balance_and_live_bookings(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let sale = app.sale(2, 4).await;
    let buyer = app.buyer_with_points(&sale, "70000").await;
    buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201);
    let user = admin.get(&path_of(buyer.user_id())).await.expect(200).json();
    assert_eq!((&user["balance"], &user["liveBookings"]), (&json!("70000"), &json!(1)));
    assert_eq!((&user["blockedAt"], &user["emailVerified"]), (&Value::Null, &json!(false)));
    app.advance(301);
    let user = admin.get(&path_of(buyer.user_id())).await.expect(200).json();
    assert_eq!(user["liveBookings"], 0);
    admin.get(&path_of(Uuid::nil())).await.expect_problem(404, "USER_NOT_FOUND");
    admin.get(&format!("{USERS}/1")).await.expect_problem(404, "USER_NOT_FOUND");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn blocking_ends_sessions_and_queue_tokens_everywhere(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let admin = app.admin().await;
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    patch(&admin, buyer.user_id(), json!({"blocked": true, "reason": "resells"})).await.expect(200);
    app.tick().await;
    for client in app.on_every_server(&buyer) {
        client.get("/api/v1/points").await.expect_problem(401, "UNAUTHENTICATED");
        let token = client.get("/api/v1/queue/tokens/current").await.expect(200);
        assert_eq!(token.text("status"), "LEFT");
    }
    // Nothing is lost: unblocked, the account is as it was.
    let user = patch(&admin, buyer.user_id(), json!({"blocked": false, "reason": "a mistake"})).await.expect(200);
    assert_eq!(user.json()["blockedAt"], Value::Null);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_blocked_account_cannot_log_in_until_it_is_unblocked(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let jin = sign_up(&app, "jin@example.org", "Jin").await;
    patch(&admin, jin, json!({"blocked": true, "reason": "fraud"})).await.expect(200);
    log_in(&app, "jin@example.org").await.expect_problem(403, "USER_BLOCKED");
    let wrong = json!({"email": "jin@example.org", "password": "another password"});
    app.anonymous().post("/api/v1/auth/login", wrong).await.expect_problem(401, "INVALID_CREDENTIALS");
    patch(&admin, jin, json!({"blocked": false, "reason": "a mistake"})).await.expect(200);
    log_in(&app, "jin@example.org").await.expect(200);
}

/// A login that verified its password before the block either is refused, or its session is ended by the block.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn no_session_outlives_a_concurrent_block(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let admin = app.admin().await;
    let jin = sign_up(&app, "jin@example.org", "Jin").await;
    let other_server = app.on_every_server(&app.anonymous()).remove(1);
    for _ in 0..4 {
        let block = json!({"blocked": true, "reason": "fraud"});
        let login = json!({"email": "jin@example.org", "password": PASSWORD});
        let (blocked, login) = tokio::join!(patch(&admin, jin, block), other_server.post("/api/v1/auth/login", login));
        blocked.expect(200);
        app.tick().await;
        if login.status == 200 {
            let client = other_server.clone().with_token(login.text("accessToken"), jin);
            client.get("/api/v1/points").await.expect_problem(401, "UNAUTHENTICATED");
        }
        patch(&admin, jin, json!({"blocked": false, "reason": "next"})).await.expect(200);
    }
}

/// A block at one node of a cluster may miss a session that begins at another. Such a session can't be refreshed.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_session_that_a_block_missed_is_not_refreshed(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    sign_up(&app, "jin@example.org", "Jin").await;
    let login = log_in(&app, "jin@example.org").await.expect(200);
    let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
    sqlx::query("UPDATE users SET blocked_at = created_at").execute(&mut connection).await.unwrap();
    let refresh = json!({"refreshToken": login.text("refreshToken")});
    app.anonymous().post("/api/v1/auth/refresh", refresh.clone()).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    // Neither is an exchange repeated that came before the block.
    sqlx::query("UPDATE users SET blocked_at = NULL").execute(&mut connection).await.unwrap();
    app.anonymous().post("/api/v1/auth/refresh", refresh.clone()).await.expect(200);
    sqlx::query("UPDATE users SET blocked_at = created_at").execute(&mut connection).await.unwrap();
    app.anonymous().post("/api/v1/auth/refresh", refresh).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_role_counts_from_the_next_request_on(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let admin = app.admin().await;
    let user = app.user().await;
    user.get(USERS).await.expect_problem(403, "FORBIDDEN");
    patch(&admin, user.user_id(), json!({"role": "ADMIN", "reason": "support"})).await.expect(200);
    for client in app.on_every_server(&user) {
        client.get(USERS).await.expect(200);
    }
    patch(&user, admin.user_id(), json!({"role": "USER", "reason": "leaves"})).await.expect(200);
    for client in app.on_every_server(&admin) {
        client.get(USERS).await.expect_problem(403, "FORBIDDEN");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_last_administrator_stays(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let id = admin.user_id();
    for change in [json!({"role": "USER", "reason": "x"}), json!({"blocked": true, "reason": "x"})] {
        patch(&admin, id, change).await.expect_problem(409, "LAST_ADMIN");
    }
    admin.delete("/api/v1/users/me").await.expect_problem(409, "LAST_ADMIN");
    // A blocked administrator doesn't count.
    let other = app.admin().await;
    patch(&admin, other.user_id(), json!({"blocked": true, "reason": "x"})).await.expect(200);
    patch(&admin, id, json!({"role": "USER", "reason": "x"})).await.expect_problem(409, "LAST_ADMIN");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_administrator_who_is_not_the_last_demotes_or_blocks_itself(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    for change in [json!({"role": "USER", "reason": "leaves"}), json!({"blocked": true, "reason": "lost a device"})] {
        let leaving = app.admin().await;
        patch(&leaving, leaving.user_id(), change).await.expect(200);
        assert!(!leaving.get(USERS).await.status.is_success());
        let actions = items(&admin, ACTIONS).await;
        let own = actions.iter().filter(|action| action["targetId"] == json!(leaving.user_id()));
        let actors: Vec<_> = own.map(|action| &action["actorId"]).collect();
        assert_eq!(actors, [&json!(leaving.user_id())]);
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn of_two_administrators_who_demote_each_other_one_stays(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    for _ in 0..4 {
        let (one, two) = (app.admin().await, app.admin().await);
        let demotions = [(app.at_instance(&one, 0), two.user_id()), (app.at_instance(&two, 1), one.user_id())];
        let replies = race(demotions.map(|(actor, other)| async move {
            patch(&actor, other, json!({"role": "USER", "reason": "rivals"})).await
        }))
        .await;
        let successes = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(successes, 1, "{:?}", replies.iter().map(Reply::code).collect::<Vec<_>>());
        let admins = [&one, &two].map(|client| client.get(USERS));
        let still = futures::future::join_all(admins).await;
        let still: Vec<_> = still.into_iter().filter(|reply| reply.status == 200).collect();
        assert_eq!(still.len(), 1);
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn each_successful_write_has_one_entry_in_the_action_log(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let user = app.user().await;
    patch(&admin, user.user_id(), json!({"role": "ADMIN", "blocked": true, "reason": " because "})).await.expect(200);
    patch(&admin, Uuid::nil(), json!({"blocked": true, "reason": "x"})).await.expect_problem(404, "USER_NOT_FOUND");
    patch(&admin, admin.user_id(), json!({"role": "USER", "reason": "x"})).await.expect_problem(409, "LAST_ADMIN");
    let actions = items(&admin, ACTIONS).await;
    assert_eq!(actions.len(), 1);
    let action = &actions[0];
    assert_eq!(action["actorId"], admin.user_id().to_string());
    assert_eq!(action["targetId"], user.user_id().to_string());
    assert_eq!((&action["action"], &action["reason"]), (&json!("user.updated"), &json!("because")));
    assert_eq!(action["details"], "role ADMIN, blocked");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn what_cannot_be_a_change_of_an_account_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    let user = app.user().await.user_id();
    for body in [
        json!({"blocked": true}),
        json!({"reason": "x"}),
        json!({"blocked": "yes", "reason": "x"}),
        json!({"role": "ROOT", "reason": "x"}),
        json!({"blocked": true, "reason": "  "}),
        json!({"blocked": true, "reason": "x".repeat(501)}),
        json!({"blocked": true, "reason": "x", "email": "a@example.org"}),
    ] {
        patch(&admin, user, body).await.expect_problem(422, "VALIDATION_FAILED");
    }
    assert!(items(&admin, ACTIONS).await.is_empty());
}

/// One of each kind of write, and what is refused or repeated besides.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_kind_of_administrative_write_is_recorded(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let receiver = Receiver::start().await;
    let app = TestApp::start_with(options, 1, &[("WEBHOOK_ALLOW_PRIVATE", "true")]);
    let admin = app.admin().await;
    let post = async |path: &str, body: Value| admin.post(&format!("/api/v1/admin{path}"), body).await;
    let venue =
        post("/venues", json!({"name": "Hall", "address": "1 Road"})).await.expect(201).json()["venueId"].clone();
    post("/venues", json!({"name": ""})).await.expect_problem(422, "VALIDATION_FAILED");
    let concert = json!({"title": "Songs", "artist": "Mina", "category": "Pop"});
    let concert = post("/concerts", concert).await.expect(201).json()["concertId"].clone();
    let path = format!("/api/v1/admin/concerts/{concert}");
    admin.send(Method::PATCH, &path, &[], Some(json!({"artist": "Jin"}))).await.expect(200);
    let queue = json!({"mode": "OPEN", "admitCount": 1, "admitIntervalSeconds": 1, "maxActive": 1, "activeSeconds": 60,
        "claimSeconds": 60, "salesOpenAt": null});
    admin.send(Method::PUT, &format!("{path}/queue"), &[], Some(queue)).await.expect(200);
    let section = json!({"name": "Floor", "grade": "A", "rows": 1, "seatsPerRow": 2, "price": "1"});
    let performance = json!({"venueId": venue, "startsAt": "2026-12-20T10:00:00Z", "seating": {"sections": [section]}});
    let performance = post(&format!("/concerts/{concert}/performances"), performance).await.expect(201);
    let performance = performance.json()["performanceId"].clone();
    for _repetition in 0..2 {
        post(&format!("/performances/{performance}/cancel"), json!({})).await.expect(202);
    }
    let webhook = json!({"url": receiver.url, "types": ["points.charged"]});
    let webhook = post("/webhooks", webhook).await.expect(201).text("webhookId");
    app.user().await.charge("1000").await;
    app.instances[0].relay.run_once().await.unwrap();
    let event = items(&admin, "/api/v1/admin/events").await[0]["eventId"].as_str().unwrap().to_owned();
    post(&format!("/events/{event}/redeliver"), json!({})).await.expect(202);
    admin.delete(&format!("/api/v1/admin/webhooks/{webhook}")).await.expect(204);
    admin.delete(&format!("/api/v1/admin/webhooks/{webhook}")).await.expect_problem(404, "WEBHOOK_NOT_FOUND");
    admin.delete(&path).await.expect(204);
    let mut recorded: Vec<_> =
        items(&admin, ACTIONS).await.iter().map(|action| action["action"].as_str().unwrap().to_owned()).collect();
    recorded.sort_unstable();
    let expected = [
        "concert.created",
        "concert.deleted",
        "concert.updated",
        "event.redelivered",
        "performance.cancelled",
        "performance.created",
        "queue.set",
        "venue.created",
        "webhook.created",
        "webhook.deleted",
    ];
    assert_eq!(recorded, expected);
}
