//! Administrators' blocks against buyers, and against each other.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde_json::json;

use crate::support::{Client, Reply, Sale, Servers, one_and_two_servers, race, tally};

one_and_two_servers!(blocking_against_holding, blocking_against_paying, blocking_against_unblocking);

async fn change(admin: Client, performance_id: u64, verb: &str, seats: Vec<u64>) -> Reply {
    let path = format!("/api/v1/admin/performances/{performance_id}/seats/{verb}");
    admin.post(&path, json!({"seatIds": seats, "reason": "a race"})).await
}

async fn statuses(client: &Client, sale: &Sale) -> BTreeMap<u64, String> {
    let map = client.get(&format!("/api/v1/performances/{}/seats", sale.performance_id)).await.expect(200).json();
    let seats = map["seats"].as_array().unwrap().iter();
    seats.map(|seat| (seat["seatId"].as_u64().unwrap(), seat["status"].as_str().unwrap().to_owned())).collect()
}

/// Every second seat is requested by a buyer, named or as the best available one, while groups of four are blocked.
async fn blocking_against_holding(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 10).await;
    let admins = app.on_every_server(&app.admin().await);
    let buyers = app.buyers(&sale, 20).await;
    let watcher = app.buyer(&sale).await;
    let performance_id = sale.performance_id;
    let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (number, (buyer, seat)) in buyers.into_iter().zip(sale.seats.iter().copied().step_by(2)).enumerate() {
        runners.push(if number % 4 == 3 {
            Box::pin(async move { buyer.hold_best_available(performance_id, json!({"quantity": 1})).await })
        } else {
            Box::pin(async move { buyer.hold(performance_id, &[seat]).await })
        });
    }
    let groups: Vec<_> = sale.seats.chunks(4).map(<[u64]>::to_vec).collect();
    for (number, seats) in groups.iter().cloned().enumerate() {
        let admin = admins[number % admins.len()].clone();
        runners.insert(3 * number, Box::pin(async move { change(admin, performance_id, "block", seats).await }));
    }
    let replies = race(runners).await;
    let statuses = statuses(&watcher, &sale).await;
    let count = |status: &str| statuses.values().filter(|found| *found == status).count();
    let (mut held, mut blocked) = (0, 0);
    for reply in &replies {
        match reply.status.as_u16() {
            201 => held += 1,
            200 => {
                blocked += 4;
                for seat in reply.json()["seats"].as_array().unwrap() {
                    assert_eq!(statuses[&seat["seatId"].as_u64().unwrap()], "BLOCKED");
                }
            }
            _ => assert_eq!(reply.code(), "SEATS_UNAVAILABLE", "{reply:?}"),
        }
    }
    assert_eq!((count("HELD"), count("BLOCKED")), (held, blocked));
    app.assert_invariants_hold().await;
}

/// Every hold can be paid, and no seat of one is blocked.
async fn blocking_against_paying(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let admins = app.on_every_server(&app.admin().await);
    let performance_id = sale.performance_id;
    let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (number, (buyer, seat)) in app.buyers(&sale, 20).await.into_iter().zip(sale.seats.clone()).enumerate() {
        buyer.charge("50000").await;
        let booking = buyer.hold(performance_id, &[seat]).await.expect(201).text("bookingId");
        runners.push(Box::pin(async move { buyer.pay(&booking, "key").await }));
        let admin = admins[number % admins.len()].clone();
        runners.push(Box::pin(async move { change(admin, performance_id, "block", vec![seat]).await }));
    }
    let expected = [((201, String::new()), 20), ((409, "SEATS_UNAVAILABLE".to_owned()), 20)];
    assert_eq!(tally(&race(runners).await), BTreeMap::from(expected));
    app.assert_invariants_hold().await;
}

/// Groups are blocked and unblocked at once, of which half the seats are blocked: each group changes as a whole.
async fn blocking_against_unblocking(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(1, 10).await;
    let admins = app.on_every_server(&app.admin().await);
    let watcher = app.buyer(&sale).await;
    for round in 0..12 {
        let count = if round % 3 == 0 { 12 } else { 2 };
        let change_now = |verb, seats: &[u64]| change(admins[0].clone(), sale.performance_id, verb, seats.to_vec());
        change_now("unblock", &sale.seats).await.expect(200);
        change_now("block", &sale.seats[..5]).await.expect(200);
        let runners = (0..count).map(|number| {
            let verb = if number % 2 == 0 { "block" } else { "unblock" };
            let mut seats = sale.seats.clone();
            seats.rotate_left(number % 10);
            change(admins[(number + number / 2) % admins.len()].clone(), sale.performance_id, verb, seats)
        });
        assert_eq!(tally(&race(runners).await), BTreeMap::from([((200, String::new()), count)]));
        let mut found: Vec<_> = statuses(&watcher, &sale).await.into_values().collect();
        found.dedup();
        assert!(found == ["BLOCKED"] || found == ["AVAILABLE"], "round {round}: {found:?}");
    }
    app.assert_invariants_hold().await;
}
