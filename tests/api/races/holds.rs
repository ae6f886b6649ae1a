//! Concurrent holds of the same seats.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Client, Reply, Sale, SeededRandom, Servers, one_and_two_servers, race, skewed_clocks, tally};

one_and_two_servers!(
    ten_users_compete_for_one_seat,
    a_thousand_users_compete_for_one_seat,
    a_hold_of_many_seats_against_holds_of_one,
    overlapping_holds_get_all_seats_or_none,
    one_user_holds_no_more_seats_than_the_limit,
    one_key_makes_one_booking,
);
skewed_clocks!(ten_users_compete_for_one_seat, overlapping_holds_get_all_seats_or_none);

async fn hold_at_once(sale: &Sale, selections: &[(Client, Vec<u64>)]) -> Vec<Reply> {
    let performance_id = sale.performance_id;
    let holds =
        selections.iter().cloned().map(|(client, seats)| async move { client.hold(performance_id, &seats).await });
    race(holds).await
}

/// The seats that an answer of 409 names as taken.
fn conflicts(reply: &Reply) -> Vec<u64> {
    let body = reply.json();
    let conflicts = body["conflicts"].as_array().unwrap();
    conflicts.iter().map(|conflict| conflict["seatId"].as_u64().unwrap()).collect()
}

async fn users_compete_for_one_seat(servers: Servers, users: usize) {
    let app = servers.start();
    let sale = app.sale(1, 5).await;
    let crowd = app.buyers(&sale, users).await;
    let selections: Vec<_> = crowd.into_iter().map(|client| (client, vec![sale.seats[2]])).collect();
    let replies = hold_at_once(&sale, &selections).await;
    let expected = [((201, String::new()), 1), ((409, "SEATS_UNAVAILABLE".to_owned()), users - 1)];
    assert_eq!(tally(&replies), BTreeMap::from(expected));
    for reply in replies.iter().filter(|reply| reply.status == 409) {
        assert_eq!(reply.json()["conflicts"], json!([{"seatId": sale.seats[2], "reason": "HELD"}]));
    }
    let winner = replies.iter().position(|reply| reply.status == 201).unwrap();
    let (client, _) = &selections[winner];
    assert_eq!(client.booking(&replies[winner].text("bookingId")).await["status"], "PENDING");
    assert_eq!(sale.available(client).await, 4);
    app.assert_invariants_hold().await;
}

async fn ten_users_compete_for_one_seat(servers: Servers) {
    users_compete_for_one_seat(servers, 10).await;
}

async fn a_thousand_users_compete_for_one_seat(servers: Servers) {
    users_compete_for_one_seat(servers, 1_000).await;
}

/// [1, 2, 4] against five times [4]. Either the three are held and no other hold succeeds, or one of the five has seat
/// 4 and seats 1 and 2 are free.
async fn a_hold_of_many_seats_against_holds_of_one(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(10, 5).await;
    for row in sale.seats.chunks(5) {
        let contested = row[3];
        let users = app.buyers(&sale, 6).await;
        let mut selections: Vec<_> = users.into_iter().map(|client| (client, vec![contested])).collect();
        let position = app.instances.len();
        selections[position].1 = vec![row[0], row[1], contested];
        let replies = hold_at_once(&sale, &selections).await;
        let expected = [((201, String::new()), 1), ((409, "SEATS_UNAVAILABLE".to_owned()), 5)];
        assert_eq!(tally(&replies), BTreeMap::from(expected));
        for reply in replies.iter().filter(|reply| reply.status == 409) {
            assert_eq!(conflicts(reply), [contested]);
        }
        let seats = if replies[position].status == 201 { 3 } else { 1 };
        let winner = replies.iter().find(|reply| reply.status == 201).unwrap();
        assert_eq!(winner.json()["seats"].as_array().unwrap().len(), seats);
    }
    app.assert_invariants_hold().await;
}

async fn overlapping_holds_get_all_seats_or_none(servers: Servers) {
    const PEOPLE: usize = 300;
    let app = servers.start();
    let sale = app.sale(4, 10).await;
    let mut random = SeededRandom::new(1);
    let mut selections = Vec::with_capacity(PEOPLE);
    for client in app.buyers(&sale, PEOPLE).await {
        let mut seats = sale.seats.clone();
        // In random order: the server orders its locks itself.
        let requested: Vec<_> = (0..=random.below(4)).map(|_| seats.swap_remove(random.below(seats.len()))).collect();
        selections.push((client, requested));
    }
    let replies = hold_at_once(&sale, &selections).await;
    let mut holders: BTreeMap<u64, &Value> = BTreeMap::new();
    let bookings: Vec<_> = replies.iter().filter(|reply| reply.status == 201).map(Reply::json).collect();
    for booking in &bookings {
        for seat in booking["seats"].as_array().unwrap() {
            let other = holders.insert(seat["seatId"].as_u64().unwrap(), &booking["bookingId"]);
            assert_eq!(other, None, "a seat has two holders");
        }
    }
    for (reply, (_, requested)) in replies.iter().zip(&selections) {
        match reply.status.as_u16() {
            201 => assert_eq!(reply.json()["seats"].as_array().unwrap().len(), requested.len()),
            409 => {
                let conflicts = conflicts(reply);
                assert!(!conflicts.is_empty(), "refused for nothing: {reply:?}");
                assert!(conflicts.iter().all(|seat| requested.contains(seat)), "{reply:?}");
                // No hold was cancelled, so the conflicting seats are still taken.
                assert!(conflicts.iter().all(|seat| holders.contains_key(seat)), "{reply:?}");
            }
            _ => panic!("{reply:?}"),
        }
    }
    let free = sale.seats.iter().filter(|seat| !holders.contains_key(*seat)).count();
    assert_eq!(sale.available(&selections[0].0).await, u64::try_from(free).unwrap());
    app.assert_invariants_hold().await;
}

async fn one_user_holds_no_more_seats_than_the_limit(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(10, 10).await;
    let buyers = app.buyers(&sale, 8).await;
    let mut random = SeededRandom::new(3);
    let mut selections = Vec::new();
    for buyer in &buyers {
        // Ten disjoint sets, so that only the limit prevents a hold.
        let mut row = sale.seats.chunks(10).nth(selections.len() / 10).unwrap();
        let clients = app.on_every_server(buyer);
        for number in 0..10 {
            let size = if number < 4 { 1 + random.below(2) } else { 1 };
            let (set, rest) = row.split_at(size.min(row.len() - (9 - number)));
            selections.push((clients[number % clients.len()].clone(), set.to_vec()));
            row = rest;
        }
    }
    let replies = hold_at_once(&sale, &selections).await;
    for ((replies, selections), buyer) in replies.chunks(10).zip(selections.chunks(10)).zip(&buyers) {
        let mut held = 0;
        for (reply, (_, seats)) in replies.iter().zip(selections) {
            match (reply.status.as_u16(), reply.code().as_str()) {
                (201, _) => held += seats.len(),
                (409, "SEAT_LIMIT_EXCEEDED") => {}
                _ => panic!("{reply:?}"),
            }
        }
        // Enough single seats to reach the limit.
        assert_eq!(held, 4);
        let bookings = buyer.get("/api/v1/bookings?status=PENDING&limit=100").await.expect(200).json();
        let seats: usize =
            bookings["items"].as_array().unwrap().iter().map(|it| it["seats"].as_array().unwrap().len()).sum();
        assert_eq!(seats, 4);
    }
    app.assert_invariants_hold().await;
}

async fn one_key_makes_one_booking(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(8, 2).await;
    for seats in sale.seats.chunks(2) {
        let clients = app.on_every_server(&app.buyer(&sale).await);
        let body = json!({"performanceId": sale.performance_id, "seatIds": seats});
        let holds = (0..10).map(|number| {
            let (client, body) = (clients[number % clients.len()].clone(), body.clone());
            async move { client.post_keyed("/api/v1/bookings", "hold-1", body).await }
        });
        let replies = race(holds).await;
        assert_eq!(tally(&replies), BTreeMap::from([((201, String::new()), 10)]));
        assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes), "answers differ");
        let replayed = replies.iter().filter(|reply| reply.header("idempotency-replayed") == "true").count();
        assert_eq!(replayed, 9);
        let bookings = clients[0].get("/api/v1/bookings").await.expect(200).json();
        assert_eq!(bookings["items"].as_array().unwrap().len(), 1);
    }
    app.assert_invariants_hold().await;
}
