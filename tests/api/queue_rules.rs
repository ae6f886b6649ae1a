//! The rules of the queue under random operations, on two servers whose clocks differ. Settings change, and users join,
//! poll, break the rules or leave.

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Sale, SeededRandom, TestApp, race};

const TOKENS: &str = "/api/v1/queue/tokens";
const CURRENT: &str = "/api/v1/queue/tokens/current";

/// Three seconds: the difference between the clocks of the two servers.
const SKEW: i64 = 3;

/// A user in the queue, with the last answer.
struct Person {
    client: Client,
    status: String,
    position: u64,
}

impl Person {
    async fn join(sale: &Sale, user: &Client) -> Self {
        let place = user.post(TOKENS, json!({"concertId": sale.concert_id})).await.expect(201).json();
        let client = user.clone().with_queue_token(place["queueToken"].as_str().unwrap());
        let mut person = Self { client, status: "WAITING".to_owned(), position: u64::MAX };
        person.hear(&place);
        person
    }

    /// A token never moves back: neither in the queue nor to an earlier status.
    fn hear(&mut self, place: &Value) {
        let status = place["status"].as_str().unwrap();
        match (self.status.as_str(), status) {
            ("WAITING", "WAITING") => {
                let position = place["position"].as_u64().unwrap();
                assert!((1..=self.position).contains(&position), "{} grew: {place}", self.position);
                self.position = position;
            }
            ("WAITING" | "ACTIVE", "ACTIVE") => assert_eq!(place["position"], 0, "{place}"),
            ("WAITING" | "ACTIVE", "EXPIRED") => {}
            // The server with the faster clock sees the end first.
            ("EXPIRED", "ACTIVE") => {
                let left = place["secondsLeft"].as_i64().unwrap();
                assert!(left <= SKEW, "a token that was over lives on: {place}");
            }
            (before, now) => assert_eq!(before, now, "{place}"),
        }
        status.clone_into(&mut self.status);
    }

    async fn poll(&mut self, app: &TestApp, instance: usize) {
        let place = app.at_instance(&self.client, instance).get(CURRENT).await.expect(200).json();
        self.hear(&place);
    }

    async fn leave(&mut self, app: &TestApp, instance: usize) {
        app.at_instance(&self.client, instance).delete(CURRENT).await.expect(204);
        let place = self.client.get(CURRENT).await.expect(200).json();
        let status = place["status"].as_str().unwrap();
        assert!(matches!(status, "LEFT" | "EXPIRED"), "{place}");
        status.clone_into(&mut self.status);
    }
}

/// Random settings, small enough to reach every bound.
fn settings(random: &mut SeededRandom) -> Value {
    let mode = ["QUEUE", "QUEUE", "OPEN", "PAUSED"][random.below(4)];
    let (interval, claim, life) =
        ([1, 3, 10][random.below(3)], [4, 3_600][random.below(2)], [30, 86_400][random.below(2)]);
    json!({
        "mode": mode, "admitCount": 1 + random.below(4), "admitIntervalSeconds": interval, "maxActive": 1 + random.below(6),
        "claimSeconds": claim, "activeSeconds": life,
    })
}

async fn a_walk(app: &TestApp, seed: u64) {
    let mut random = SeededRandom::new(seed);
    let sale = app.sale(1, 1).await;
    sale.set_queue(app, json!({"mode": "PAUSED"})).await;
    let mut clients = app.users(60).await;
    let (mut users, mut gone): (Vec<Person>, Vec<Person>) = (Vec::new(), Vec::new());
    for step in 0..150 {
        let instance = random.below(2);
        match random.below(10) {
            0 | 1 => {
                if let Some(client) = clients.pop() {
                    users.push(Person::join(&sale, &app.at_instance(&client, instance)).await);
                }
            }
            2 if !users.is_empty() => {
                let mut person = users.swap_remove(random.below(users.len()));
                // At the server with the slower clock, where no token ends earlier than elsewhere.
                person.leave(app, 0).await;
                // A user whose token ended joins again, at the end.
                if random.below(2) == 0 {
                    let again = Person::join(&sale, &app.at_instance(&person.client, 0)).await;
                    assert_ne!(again.client.queue_token(), person.client.queue_token(), "no token lives again");
                    users.push(again);
                }
                gone.push(person);
            }
            3 => sale.set_queue(app, settings(&mut random)).await,
            4 | 5 => {
                let millis = i64::try_from(random.below(6_000)).unwrap();
                app.clock.advance(TimeDelta::milliseconds(millis));
            }
            6 | 7 => {
                let servers = app.instances.iter().map(|instance| instance.shared.clone());
                for result in race(servers.map(|server| async move { server.queue.admission.admit_due().await })).await
                {
                    result.unwrap();
                }
            }
            _ => {
                for person in users.iter_mut().chain(&mut gone) {
                    // Each polls now and then, so some are absent at any time.
                    if random.below(3) > 0 {
                        person.poll(app, random.below(2)).await;
                    }
                }
            }
        }
        if step % 25 == 24 {
            app.assert_invariants_hold().await;
        }
    }
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn queue_rules_hold_for_random_operations(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_skewed(options, &[0, SKEW], &[]);
    for seed in 1..=4 {
        a_walk(&app, seed).await;
    }
}

/// Every user polls before each tick, so the admitted tokens are always the first of the waiting ones.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn servers_whose_clocks_differ_keep_rate_and_order(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_skewed(options.clone(), &[0, SKEW], &[]);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"admitCount": 2, "admitIntervalSeconds": 5, "claimSeconds": 3600})).await;
    let clients = app.users(16).await;
    let mut users = Vec::new();
    for client in &clients {
        users.push(Person::join(&sale, client).await);
    }
    let mut random = SeededRandom::new(7);
    let mut admitted = 0;
    for _ in 0..60 {
        app.clock.advance(TimeDelta::milliseconds(i64::try_from(random.below(1_500)).unwrap()));
        for person in &mut users {
            person.poll(&app, random.below(2)).await;
        }
        app.instances[random.below(2)].shared.queue.admission.admit_due().await.unwrap();
        for person in &mut users {
            person.poll(&app, random.below(2)).await;
        }
        let active = users.iter().take_while(|person| person.status == "ACTIVE").count();
        assert!(users[active..].iter().all(|person| person.status == "WAITING"), "a token was overtaken");
        admitted = active;
    }
    assert_eq!(admitted, 16, "the rate was used");
    let pool = sqlx::MySqlPool::connect_lazy_with(options);
    let widest: i64 = sqlx::query_scalar(
        "SELECT CAST(MAX(n) AS SIGNED) FROM (SELECT COUNT(*) AS n FROM queue_tokens a JOIN queue_tokens b \
         ON b.admitted_at >= a.admitted_at AND b.admitted_at < a.admitted_at + INTERVAL 5 SECOND GROUP BY a.id) windows",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(widest, 2, "in any five seconds");
    app.assert_invariants_hold().await;
}

/// The claim's deadline, to the millisecond, on a server with the same time.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_admission_can_be_claimed_until_its_deadline_and_not_at_it(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"claimSeconds": 5, "activeSeconds": 20})).await;
    let clients = app.users(2).await;
    let mut users = [Person::join(&sale, &clients[0]).await, Person::join(&sale, &clients[1]).await];
    app.tick().await;
    app.clock.advance(TimeDelta::milliseconds(4_999));
    users[0].poll(&app, 1).await;
    assert_eq!(users[0].status, "ACTIVE");
    app.clock.advance(TimeDelta::milliseconds(1));
    users[1].poll(&app, 0).await;
    assert_eq!(users[1].status, "EXPIRED", "before any tick has written it");
    app.tick().await;
    for (millis, expected) in [(14_999, "ACTIVE"), (1, "EXPIRED")] {
        app.clock.advance(TimeDelta::milliseconds(millis));
        users[0].poll(&app, 0).await;
        assert_eq!(users[0].status, expected, "the whole life counts from the admission");
    }
    users[1].poll(&app, 1).await;
    let seats = format!("/api/v1/performances/{}/seats", sale.performance_id);
    for person in &users {
        person.client.send(Method::GET, &seats, &[], None).await.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
    }
    app.assert_invariants_hold().await;
}
