//! Presence in the queue: absent users, users that return, and the pace of the others.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Sale, Tables, TestApp};

const CURRENT: &str = "/api/v1/queue/tokens/current";
const EVENTS: &str = "/api/v1/queue/tokens/current/events";

async fn poll(client: &Client) -> Value {
    client.get(CURRENT).await.expect(200).json()
}

/// Status and position.
async fn place(client: &Client) -> (String, u64) {
    let place = poll(client).await;
    (place["status"].as_str().unwrap().to_owned(), place["position"].as_u64().unwrap_or(0))
}

fn waiting(position: u64) -> (String, u64) {
    ("WAITING".to_owned(), position)
}

fn active() -> (String, u64) {
    ("ACTIVE".to_owned(), 0)
}

async fn join_in_order(app: &TestApp, sale: &Sale, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for user in app.users(count).await {
        clients.push(sale.join(user).await);
    }
    clients
}

/// Users who join concurrently, in the order of their places.
async fn join_concurrently(app: &TestApp, sale: &Sale, count: usize) -> Vec<Client> {
    let joins = app.users(count).await.into_iter().map(|user| async move {
        let body = json!({"concertId": sale.concert_id});
        let joined = user.post("/api/v1/queue/tokens", body).await.expect(201).json();
        (joined["position"].as_u64(), user.with_queue_token(joined["queueToken"].as_str().unwrap()))
    });
    let mut users = futures::future::join_all(joins).await;
    users.sort_unstable_by_key(|(position, _)| *position);
    users.into_iter().map(|(_, client)| client).collect()
}

/// The seconds until the next poll, as in the answer.
fn poll_after_seconds(place: &Value) -> i64 {
    place["pollAfterSeconds"].as_i64().unwrap()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_absent_user_is_passed_over_and_admitted_on_return(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1, "claimSeconds": 3600})).await;
    let users = join_in_order(&app, &sale, 6).await;
    app.tick().await;
    assert_eq!(place(&users[0]).await, active());

    // The second user is absent; no token moves before the rate allows it.
    app.advance(9);
    app.tick().await;
    assert_eq!(place(&users[2]).await, waiting(2), "it isn't the second one's turn yet");
    app.advance(1);
    app.tick().await;
    assert_eq!(place(&app.at_instance(&users[2], 1)).await, active());
    for person in [&users[3], &users[4]] {
        poll(person).await;
    }

    // Back at the end of the window: first in the queue, before users who never left.
    app.advance(9);
    assert_eq!(place(&users[1]).await, waiting(1), "the place is kept");
    assert_eq!(place(&users[3]).await, waiting(1));
    app.advance(1);
    app.tick().await;
    assert_eq!(place(&users[1]).await, active());
    assert_eq!(place(&users[3]).await, waiting(1));
    assert_eq!(place(&users[4]).await, waiting(2));

    // Every user is absent: none is admitted, and one that returns is admitted at the next tick.
    app.advance(100);
    app.tick().await;
    app.tick().await;
    assert_eq!(place(&users[5]).await, waiting(1));
    assert_eq!(place(&users[4]).await, waiting(1));
    let newcomer = app.user().await;
    let newcomer = sale.join(newcomer).await;
    app.tick().await;
    assert_eq!(place(&users[4]).await, active(), "the fifth before the sixth, and both before the new user");
    for (person, expected) in [(&users[3], waiting(1)), (&users[5], waiting(1)), (&newcomer, waiting(1))] {
        assert_eq!(place(person).await, expected);
    }
    app.advance(10);
    poll(&newcomer).await;
    app.tick().await;
    assert_eq!(place(&newcomer).await, active(), "those before have gone again");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_user_is_absent_after_exactly_three_intervals_without_a_poll(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let settings = |mode| json!({"mode": mode, "admitCount": 1000});
    for (late, by_poll) in [(false, false), (true, false), (false, true), (true, true)] {
        sale.set_queue(&app, settings("QUEUE")).await;
        sale.set_queue(&app, settings("PAUSED")).await;
        let user = app.user().await;
        let body = json!({"concertId": sale.concert_id});
        let mut last = user.post("/api/v1/queue/tokens", body).await.expect(201).json();
        let user = user.with_queue_token(last["queueToken"].as_str().unwrap());
        if by_poll {
            app.advance(1);
            last = poll(&user).await;
        }
        app.clock
            .advance(TimeDelta::seconds(3 * poll_after_seconds(&last)) - TimeDelta::milliseconds(i64::from(!late)));
        sale.set_queue(&app, settings("QUEUE")).await;
        app.tick().await;
        let expected = if late { waiting(1) } else { active() };
        assert_eq!(place(&user).await, expected, "late: {late}, polled: {by_poll}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_open_sale_passes_over_absent_users(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "maxActive": 2})).await;
    let users = join_in_order(&app, &sale, 5).await;
    assert_eq!(place(&users[1]).await, active());
    app.advance(200);
    assert_eq!(place(&users[4]).await, waiting(3));
    users[0].delete(CURRENT).await.expect(204);
    app.tick().await;
    assert_eq!(place(&users[4]).await, active());
    users[1].delete(CURRENT).await.expect(204);
    let newcomer = app.user().await;
    assert_eq!(place(&sale.join(newcomer).await).await, active(), "absent users don't use up the room");
    for person in &users[2..4] {
        assert_eq!(place(person).await, waiting(1));
    }
    app.assert_invariants_hold().await;
}

/// A stream records presence whenever a poll would be due, in real time.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_open_stream_counts_as_presence(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options.clone());
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1})).await;
    let users = join_in_order(&app, &sale, 4).await;
    app.tick().await;
    assert_eq!(place(&users[0]).await, active());
    let mut streams = Vec::new();
    for index in [1, 2] {
        let mut events = app.at_instance(&users[index], index - 1).open_stream(EVENTS, &[]).await;
        assert_eq!(events.next_status().await, ("WAITING".to_owned(), Some(index as u64)));
        streams.push(events);
    }

    // The interval is two seconds this near the head: after six, a user without poll and stream is absent.
    let tables = Tables::of(&options).await;
    app.advance(10);
    let there = "SELECT COUNT(*) FROM queue_tokens WHERE status = 'WAITING' AND present_until > '2026-11-20 08:00:10'";
    while tables.count(there).await < 2 {
        // A stream advances only while it is read.
        let _ =
            futures::future::join_all(streams.iter_mut().map(|events| events.is_silent(Duration::from_millis(100))))
                .await;
    }
    app.tick().await;
    assert_eq!(streams[0].next_status().await, ("ACTIVE".to_owned(), Some(0)));
    assert_eq!(streams[1].next_status().await, ("WAITING".to_owned(), Some(1)));
    assert_eq!(place(&users[3]).await, waiting(2), "the fourth is behind them");
    app.assert_invariants_hold().await;
}

/// Beyond the lookahead presence isn't known, so a new token isn't admitted before that part of the queue.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_open_sale_keeps_the_order_beyond_the_lookahead(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options.clone());
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "PAUSED", "admitCount": 1, "maxActive": 2})).await;
    // Presence is recorded within a thousand places from the head.
    let users = join_concurrently(&app, &sale, 1_002).await;
    app.advance(600);
    assert_eq!(place(&users[1_001]).await, waiting(1_002));
    sale.set_queue(&app, json!({"mode": "OPEN", "maxActive": 2, "activeSeconds": 86400})).await;
    let newcomer = sale.join(app.user().await).await;
    assert_eq!(place(&newcomer).await, waiting(1_003), "the last but one may be there as well");
    app.tick().await;
    assert_eq!(place(&newcomer).await.0, "ACTIVE", "all the others counted as absent");
    assert_eq!(place(&users[1_001]).await, waiting(1));
    app.tick().await;
    assert_eq!(place(&users[1_001]).await, active());
    app.assert_invariants_hold().await;
}

/// Two thousand users, half of whom never poll again; the others poll at the interval of their answers.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_configured_rate_holds_with_half_of_the_queue_absent(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    const RATE: usize = 32;
    const MINUTES: usize = 5;
    let app = TestApp::start_two(options.clone());
    let sale = app.sale(1, 1).await;
    let paused = json!({"mode": "PAUSED"});
    sale.set_queue(&app, paused).await;
    let users = join_concurrently(&app, &sale, 2_000).await;
    // Long enough for users who stopped polling to count as absent.
    app.advance(60);
    let start = app.now();
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": RATE, "claimSeconds": 3600})).await;

    // The next poll of each remaining user.
    let mut due: BTreeMap<i64, Vec<usize>> = BTreeMap::from([(0, (0..2_000).step_by(2).collect())]);
    let mut first_p90: HashMap<usize, i64> = HashMap::new();
    let (mut polls, mut in_time, mut positions) = (0, 0, HashMap::new());
    let mut now = 0;
    while now < 60 * i64::try_from(MINUTES).unwrap() {
        while let Some(asking) = due.first_entry().filter(|entry| *entry.key() <= now) {
            let asking = asking.remove();
            polls += asking.len();
            let replies = futures::future::join_all(asking.iter().map(|index| {
                let instance = (*index / 2 + polls) % 2;
                let client = app.at_instance(&users[*index], instance);
                async move { poll(&client).await }
            }))
            .await;
            for (index, place) in asking.into_iter().zip(replies) {
                if place["status"] == "WAITING" {
                    let position = place["position"].as_u64().unwrap();
                    let before = positions.insert(index, position);
                    assert!(before.is_none_or(|before| position <= before), "{index}: {before:?}, {position}");
                    let p90 = place["estimatedWait"]["p90Seconds"].as_i64().unwrap();
                    assert!(place["estimatedWait"]["p50Seconds"].as_i64().unwrap() <= p90);
                    first_p90.entry(index).or_insert(p90);
                    due.entry(now + poll_after_seconds(&place)).or_default().push(index);
                } else {
                    assert_eq!(place["status"], "ACTIVE", "{place}");
                }
            }
        }
        for instance in &app.instances {
            instance.shared.queue.admission.admit_due().await.unwrap();
        }
        app.advance(1);
        now += 1;
    }

    let tables = Tables::of(&options).await;
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "SELECT user_id, admitted_at FROM queue_tokens WHERE admitted_at IS NOT NULL ORDER BY admitted_at, place",
    )
    .fetch_all(&tables.pool)
    .await
    .unwrap();
    let indices: HashMap<_, _> = users.iter().enumerate().map(|(index, client)| (client.user_id(), index)).collect();
    let mut per_window = BTreeMap::<i64, (usize, usize)>::new();
    let mut last = 0;
    for (user_id, admitted_at) in &rows {
        let index = indices[user_id];
        let second = (*admitted_at - start).num_seconds();
        let window = per_window.entry(second / 10).or_default();
        window.0 += 1;
        if index % 2 == 0 {
            window.1 += 1;
            assert!(index >= last, "{index} was admitted after {last}");
            last = index;
            in_time += usize::from(second <= first_p90[&index]);
        }
    }
    println!("{polls} polls; admitted per ten seconds, and present users among them: {:?}", per_window.values());
    let stayed: usize = per_window.values().map(|(_, stayed)| stayed).sum();
    let configured = RATE * 6 * MINUTES;
    println!("{stayed} present users in {MINUTES} minutes; the rate allows {configured}");
    println!("{in_time} of {stayed} within the p90 of their first estimate");
    assert!(10 * stayed >= 9 * configured, "{stayed} of {configured}");
    assert!(10 * in_time >= 9 * stayed, "{in_time} of {stayed}");
    // No window that begins or ends with an admission exceeds the rate.
    let times: Vec<_> = rows.iter().map(|(_, at)| *at).collect();
    for (first, after) in times.iter().zip(times.iter().skip(RATE)) {
        assert!(*after - *first >= TimeDelta::seconds(10), "more than {RATE} from {first} to {after}");
    }
    let recorded = tables.count("SELECT CAST(SUM(admitted) AS SIGNED) FROM queue_admissions").await;
    assert_eq!(usize::try_from(recorded).unwrap(), rows.len());

    // Some absent users return.
    let back: Vec<_> = users.iter().skip(401).step_by(2).take(10).collect();
    for client in &back {
        assert_eq!(place(client).await, waiting(1));
    }
    app.advance(5);
    for client in &back {
        poll(client).await;
    }
    app.advance(5);
    app.tick().await;
    for client in &back {
        assert_eq!(place(client).await, active());
    }
    app.assert_invariants_hold().await;
}
