//! Concurrent joins, admissions and departures of one queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::http::Method;
use futures::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use crate::support::{Client, Reply, Sale, Servers, TestApp, one_and_two_servers, race, skewed_clocks, tally};

one_and_two_servers!(
    five_hundred_users_get_distinct_places,
    one_user_joining_concurrently_gets_one_token,
    an_open_sale_admits_no_more_than_max_active,
    ticks_admit_no_more_than_rate_and_room_allow,
    ticks_against_joins_leaves_and_payments,
    joining_against_the_deletion_of_the_account,
    joining_against_a_block,
);
skewed_clocks!(
    five_hundred_users_get_distinct_places,
    an_open_sale_admits_no_more_than_max_active,
    ticks_admit_no_more_than_rate_and_room_allow,
    ticks_against_joins_leaves_and_payments,
);

async fn join(client: Client, concert_id: u64) -> Reply {
    client.post("/api/v1/queue/tokens", json!({"concertId": concert_id})).await
}

async fn place(client: &Client) -> Value {
    client.get("/api/v1/queue/tokens/current").await.expect(200).json()
}

fn positions(replies: &[Reply]) -> Vec<u64> {
    let mut positions: Vec<_> =
        replies.iter().map(Reply::json).filter_map(|place| place["position"].as_u64()).collect();
    positions.sort_unstable();
    positions
}

/// All users poll, so that they count as present.
async fn poll_all(users: &[Client]) -> Vec<Value> {
    join_all(users.iter().map(place)).await
}

/// Runs `ticks` ticks of every server at once, and returns the total number of admissions.
async fn tick_at_once(app: &Arc<TestApp>, ticks: usize) -> u32 {
    let ticks = (0..ticks * app.instances.len()).map(|number| {
        let app = Arc::clone(app);
        async move { app.instances[number % app.instances.len()].shared.queue.admission.admit_due().await.unwrap() }
    });
    race(ticks).await.into_iter().sum()
}

async fn live(app: &TestApp, sale: &Sale) -> Value {
    let path = format!("/api/v1/admin/concerts/{}/queue", sale.concert_id);
    app.admin().await.get(&path).await.expect(200).json()["live"].clone()
}

async fn five_hundred_users_get_distinct_places(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    let users = app.users(500).await;
    let replies = race(users.into_iter().map(|client| join(client, sale.concert_id))).await;
    assert_eq!(tally(&replies), BTreeMap::from([((201, String::new()), 500)]));
    assert_eq!(positions(&replies), (1..=500).collect::<Vec<_>>());
    let tokens: BTreeSet<_> = replies.iter().map(|reply| reply.text("queueToken")).collect();
    assert_eq!(tokens.len(), 500);
    app.assert_invariants_hold().await;
}

async fn one_user_joining_concurrently_gets_one_token(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    for user in app.users(10).await {
        let clients = app.on_every_server(&user);
        let replies = race((0..20).map(|it| join(clients[it % clients.len()].clone(), sale.concert_id))).await;
        assert_eq!(tally(&replies), BTreeMap::from([((200, String::new()), 19), ((201, String::new()), 1)]));
        let tokens: BTreeSet<_> = replies.iter().map(|reply| reply.text("queueToken")).collect();
        assert_eq!(tokens.len(), 1);
    }
    assert_eq!(live(&app, &sale).await["waiting"], 10);
    app.assert_invariants_hold().await;
}

async fn an_open_sale_admits_no_more_than_max_active(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(1, 1).await;
    sale.set_queue(&app, json!({"mode": "OPEN", "maxActive": 10})).await;
    let users = app.users(100).await;
    let replies = race(users.into_iter().map(|client| join(client, sale.concert_id))).await;
    assert_eq!(tally(&replies), BTreeMap::from([((201, String::new()), 100)]));
    let active = replies.iter().filter(|reply| reply.json()["status"] == "ACTIVE").count();
    assert_eq!(active, 10);
    // Admitted tokens have position 0; the others have consecutive positions.
    let mut expected = vec![0; 10];
    expected.extend(1..=90);
    assert_eq!(positions(&replies), expected);
    app.assert_invariants_hold().await;
}

async fn ticks_admit_no_more_than_rate_and_room_allow(servers: Servers) {
    let app = Arc::new(servers.start());
    let sale = app.sale(1, 1).await;
    let limits = json!({"mode": "QUEUE", "admitCount": 50, "admitIntervalSeconds": 10, "maxActive": 120});
    sale.set_queue(&app, limits).await;
    let users = app.users(300).await;
    let users = join_all(users.into_iter().map(|user| sale.join(user))).await;
    assert_eq!(tick_at_once(&app, 4).await, 50);
    assert_eq!(tick_at_once(&app, 4).await, 0);
    app.advance(9);
    poll_all(&users).await;
    // The first server is still within its window; a server that is three seconds ahead isn't.
    let early = tick_at_once(&app, 4).await;
    assert!(early == 0 || (early == 50 && app.instances.len() == 2), "{early}");
    app.advance(1);
    assert_eq!(early + tick_at_once(&app, 4).await, 50);
    app.advance(13);
    poll_all(&users).await;
    assert_eq!(tick_at_once(&app, 4).await, 20, "there is room for no more");
    app.advance(13);
    assert_eq!(tick_at_once(&app, 4).await, 0);
    // In the order of joining.
    let places = poll_all(&users).await;
    let active = places.iter().filter(|place| place["status"] == "ACTIVE").count();
    let behind: BTreeSet<_> =
        places.iter().filter_map(|place| place["position"].as_u64()).filter(|it| *it > 0).collect();
    assert_eq!((active, behind), (120, (1..=180).collect()));
    assert_eq!(live(&app, &sale).await["active"], 120);
    app.assert_invariants_hold().await;
}

/// Twenty tokens are active and forty wait. Ten leave, five pay, five stop waiting, ten join, and the servers keep
/// ticking: in the end twenty are active again, and never more.
async fn ticks_against_joins_leaves_and_payments(servers: Servers) {
    let app = Arc::new(servers.start());
    let sale = app.sale(1, 5).await;
    sale.set_queue(&app, json!({"mode": "QUEUE", "admitCount": 1000, "maxActive": 20})).await;
    let mut inside = Vec::new();
    for user in app.users(60).await {
        inside.push(sale.join(user).await);
    }
    assert_eq!(tick_at_once(&app, 2).await, 20);
    let outside = inside.split_off(20);
    for client in &inside {
        assert_eq!(place(client).await["status"], "ACTIVE");
    }
    let mut runners: Vec<BoxFuture<'static, u32>> = Vec::new();
    for (client, seat) in inside.iter().zip(&sale.seats) {
        client.charge("50000").await;
        let booking_id = client.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId");
        let client = client.clone();
        runners.push(Box::pin(async move {
            client.pay(&booking_id, "key").await.expect(201);
            0
        }));
    }
    for client in inside[10..].iter().chain(&outside[..5]) {
        let client = client.clone();
        runners.push(Box::pin(async move {
            client.delete("/api/v1/queue/tokens/current").await.expect(204);
            0
        }));
    }
    for client in app.users(10).await {
        let sale = sale.clone();
        runners.push(Box::pin(async move {
            sale.join(client).await;
            0
        }));
    }
    for number in 0..12 {
        let app = Arc::clone(&app);
        let tick = async move {
            let mut admitted = 0;
            for _ in 0..4 {
                admitted +=
                    app.instances[number % app.instances.len()].shared.queue.admission.admit_due().await.unwrap();
            }
            admitted
        };
        // Interleaved with the others.
        runners.insert(number * 3, Box::pin(tick));
    }
    let admitted: u32 = race(runners).await.into_iter().sum();
    assert!(admitted <= 20, "{admitted}");
    // A token admitted while its user leaves makes room for one more.
    app.advance(1);
    poll_all(&outside[5..]).await;
    tick_at_once(&app, 2).await;
    let live = live(&app, &sale).await;
    assert_eq!(live["active"], 20, "{live}");
    let mut ended = BTreeMap::new();
    for client in inside.iter().chain(&outside[..5]) {
        *ended.entry(place(client).await["status"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(ended, BTreeMap::from([("ACTIVE".to_owned(), 5), ("COMPLETED".to_owned(), 5), ("LEFT".to_owned(), 15)]));
    let waiting: BTreeSet<_> = live["waiting"].as_u64().into_iter().collect();
    assert_eq!(waiting, BTreeSet::from([70 - 5 - 15 - 20]));
    app.assert_invariants_hold().await;
}

/// A join is refused, or its token is ended by the deletion: its owner could neither use it nor leave.
async fn joining_against_the_deletion_of_the_account(servers: Servers) {
    let app = servers.start();
    joining_against(&app, |user| async move { user.delete("/api/v1/users/me").await.expect(204) }).await;
}

async fn joining_against_a_block(servers: Servers) {
    let app = servers.start();
    let admin = app.at_instance(&app.admin().await, 0);
    joining_against(&app, |user| {
        let (admin, path) = (admin.clone(), format!("/api/v1/admin/users/{}", user.user_id()));
        let block = json!({"blocked": true, "reason": "fraud"});
        async move { admin.send(Method::PATCH, &path, &[], Some(block)).await.expect(200) }
    })
    .await;
}

/// Users join while `end` ends their accounts, each at another server if there are several.
async fn joining_against<F: Future<Output = Reply> + Send + 'static>(app: &TestApp, end: impl Fn(Client) -> F) {
    let sale = app.sale(1, 1).await;
    sale.set_queue(app, json!({"mode": "QUEUE"})).await;
    for user in app.users(40).await {
        let clients = app.on_every_server(&user);
        let runners: [BoxFuture<'static, Reply>; 2] =
            [Box::pin(end(clients[0].clone())), Box::pin(join(clients[clients.len() - 1].clone(), sale.concert_id))];
        let replies = race(runners).await;
        assert!(replies[1].status == 201 || replies[1].code() == "UNAUTHENTICATED", "{:?}", replies[1]);
    }
    let live = live(app, &sale).await;
    assert_eq!(live["waiting"], 0, "{live}");
    app.assert_invariants_hold().await;
}
