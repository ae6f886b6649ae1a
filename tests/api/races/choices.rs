//! Concurrent holds of the best available seats, also beside holds of named seats.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use concert_reservation::domain::{
    booking::{BestAvailable, FreeSeats, SeatLayout},
    id::{PerformanceId, SeatId},
};
use futures::future::BoxFuture;
use serde_json::json;

use crate::support::{
    Client, Reply, Sale, SeededRandom, Servers, TestApp, one_and_two_servers, race, skewed_clocks, tally,
};

one_and_two_servers!(
    best_available_holds_sell_every_seat,
    each_selection_is_the_best_when_it_is_made,
    concurrent_selections_sell_the_last_seats_once,
    one_user_selects_no_more_seats_than_the_limit,
    a_selected_seat_that_is_taken_is_replaced_by_the_next_best,
);
skewed_clocks!(best_available_holds_sell_every_seat, concurrent_selections_sell_the_last_seats_once);

/// Transactions of a few commands each, so that many run concurrently.
const SMALL_BATCHES: &[(&str, &str)] = &[("LANE_BATCH_LIMIT", "3")];

async fn layout(app: &TestApp, sale: &Sale) -> Arc<SeatLayout> {
    let mut repositories = app.ports().database.read().await.unwrap();
    Arc::new(SeatLayout::new(repositories.concerts().list_seats(PerformanceId(sale.performance_id)).await.unwrap()))
}

fn seats_of(booking: &Reply) -> Vec<SeatId> {
    let booking = booking.json();
    booking["seats"].as_array().unwrap().iter().map(|seat| SeatId(seat["seatId"].as_u64().unwrap())).collect()
}

fn sorted(mut seats: Vec<SeatId>) -> Vec<SeatId> {
    seats.sort_unstable();
    seats
}

fn selection(quantity: usize) -> BestAvailable {
    BestAvailable { quantity: u32::try_from(quantity).unwrap(), grade: None, section: None, max_price: None }
}

/// Every user requests the best seats, one to four of them; the last users get the rest one by one. No seat has
/// two owners, and none is left.
async fn best_available_holds_sell_every_seat(servers: Servers) {
    let app = servers.start_with(SMALL_BATCHES);
    let sale = app.sale(6, 20).await;
    let mut random = SeededRandom::new(5);
    let mut owners = BTreeMap::new();
    let mut take = |replies: &[Reply]| {
        for reply in replies.iter().filter(|reply| reply.status == 201) {
            for seat in seats_of(reply) {
                assert_eq!(owners.insert(seat, reply.text("bookingId")), None, "a seat has two holders");
            }
        }
        owners.len()
    };
    let selections: Vec<_> =
        app.buyers(&sale, 80).await.into_iter().map(|buyer| (buyer, 1 + random.below(4))).collect();
    let holds = selections.iter().cloned().map(|(buyer, quantity)| {
        let performance_id = sale.performance_id;
        async move { buyer.hold_best_available(performance_id, json!({"quantity": quantity})).await }
    });
    let replies = race(holds).await;
    let sold = take(&replies);
    assert_in_order(&app, &sale, &selections, &replies).await;
    let singles = app.buyers(&sale, 120 - sold + 5).await.into_iter().map(|buyer| {
        let performance_id = sale.performance_id;
        async move { buyer.hold_best_available(performance_id, json!({"quantity": 1})).await }
    });
    let replies = race(singles).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 409).count(), 5);
    assert_eq!(take(&replies), 120);
    app.assert_invariants_hold().await;
}

/// Asserts that the answers have an order in which each is the best selection of the seats left by those before it.
async fn assert_in_order(app: &TestApp, sale: &Sale, selections: &[(Client, usize)], replies: &[Reply]) {
    let answers = selections.iter().zip(replies).map(|((_, quantity), reply)| {
        if reply.status == 201 {
            return Done::Chose(*quantity, seats_of(reply));
        }
        assert_eq!(reply.json()["conflicts"], json!([]), "{reply:?}");
        Done::ToldNone(*quantity)
    });
    in_some_order(&layout(app, sale).await, &BTreeSet::new(), &answers.collect::<Vec<_>>())
        .expect("each is the best choice of what was left to it");
}

/// A user and a booking.
type Held = (Client, Reply);

/// An operation of one round, and its result.
enum Done {
    Chose(usize, Vec<SeatId>),
    ToldNone(usize),
    Named(Vec<SeatId>),
    Gave(Vec<SeatId>),
}

impl Done {
    /// The taken seats afterwards, if the operation can have this result while `taken` are taken.
    fn after(&self, layout: &Arc<SeatLayout>, taken: &BTreeSet<SeatId>) -> Option<BTreeSet<SeatId>> {
        let choose = |quantity: usize| {
            let taken: Vec<_> = taken.iter().copied().collect();
            FreeSeats::excluding(Arc::clone(layout), &taken).choose(&selection(quantity)).map(sorted)
        };
        let (Self::Chose(_, seats) | Self::Named(seats) | Self::Gave(seats)) = self else {
            let Self::ToldNone(quantity) = self else { return None };
            return choose(*quantity).is_err().then(|| taken.clone());
        };
        let set: BTreeSet<_> = seats.iter().copied().collect();
        let possible = match self {
            Self::Chose(quantity, _) => choose(*quantity).as_ref() == Ok(seats),
            Self::Gave(_) => return taken.is_superset(&set).then(|| taken - &set),
            _ => taken.is_disjoint(&set),
        };
        possible.then(|| taken | &set)
    }
}

/// Finds a sequential order that explains all results, and the taken seats at its end.
fn in_some_order(layout: &Arc<SeatLayout>, taken: &BTreeSet<SeatId>, done: &[Done]) -> Option<BTreeSet<SeatId>> {
    rest_in_some_order(layout, taken, done, (1 << done.len()) - 1, &mut HashSet::new())
}

/// The same for the operations whose bits are set in `left`. The choice of the next one can matter to later ones, so
/// all are tried; `seen` has the sets of remaining operations that have no order.
fn rest_in_some_order(
    layout: &Arc<SeatLayout>,
    taken: &BTreeSet<SeatId>,
    done: &[Done],
    left: u128,
    seen: &mut HashSet<u128>,
) -> Option<BTreeSet<SeatId>> {
    if left == 0 {
        return Some(taken.clone());
    }
    if !seen.insert(left) {
        return None;
    }
    (0..done.len()).filter(|index| left & 1 << index > 0).find_map(|index| {
        let after = done[index].after(layout, taken)?;
        rest_in_some_order(layout, &after, done, left & !(1 << index), seen)
    })
}

/// Some users select seats, others name seats, others cancel, all at once. The results could have come from
/// sequential operations: each selection was the best of the free seats at some instant during its request.
async fn each_selection_is_the_best_when_it_is_made(servers: Servers) {
    let app = servers.start_with(SMALL_BATCHES);
    let sale = app.sale(3, 7).await;
    let layout = layout(&app, &sale).await;
    let mut random = SeededRandom::new(8);
    let mut taken = BTreeSet::new();
    let mut bookings: Vec<Held> = Vec::new();
    for _ in 0..12 {
        let buyers = app.buyers(&sale, 8).await;
        let mut runners: Vec<BoxFuture<'static, (Done, Option<Held>)>> = Vec::new();
        for (number, buyer) in buyers.into_iter().enumerate() {
            let performance_id = sale.performance_id;
            let quantity = 1 + random.below(3);
            let mut seats = sale.seats.clone();
            let named: Vec<_> = (0..2).map(|_| seats.swap_remove(random.below(seats.len()))).collect();
            runners.push(Box::pin(async move {
                let chooses = number % 2 == 0;
                let reply = if chooses {
                    buyer.hold_best_available(performance_id, json!({"quantity": quantity})).await
                } else {
                    buyer.hold(performance_id, &named).await
                };
                match (reply.status.as_u16(), chooses) {
                    (201, true) => (Done::Chose(quantity, seats_of(&reply)), Some((buyer, reply))),
                    (201, false) => (Done::Named(seats_of(&reply)), Some((buyer, reply))),
                    (409, true) => (Done::ToldNone(quantity), None),
                    (409, false) => (Done::Named(Vec::new()), None),
                    _ => panic!("{reply:?}"),
                }
            }));
        }
        for _ in 0..bookings.len().min(3) {
            let (buyer, booking) = bookings.swap_remove(random.below(bookings.len()));
            runners.push(Box::pin(async move {
                let path = format!("/api/v1/bookings/{}/cancel", booking.text("bookingId"));
                buyer.post(&path, json!({})).await.expect(200);
                (Done::Gave(seats_of(&booking)), None)
            }));
        }
        let (done, made): (Vec<_>, Vec<_>) = race(runners).await.into_iter().unzip();
        bookings.extend(made.into_iter().flatten());
        taken = in_some_order(&layout, &taken, &done).expect("it could have happened one after the other");
    }
    app.assert_invariants_hold().await;
}

/// Eleven seats, most of them apart, and thirty users: half of them request single seats, the others pairs.
async fn concurrent_selections_sell_the_last_seats_once(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 11).await;
    // Every other seat is taken.
    for seats in sale.seats.iter().step_by(2).collect::<Vec<_>>().chunks(4) {
        let seats: Vec<_> = seats.iter().map(|seat| **seat).collect();
        app.buyer(&sale).await.hold(sale.performance_id, &seats).await.expect(201);
    }
    let selections: Vec<_> = app.buyers(&sale, 30).await.into_iter().enumerate().collect();
    let holds = selections.iter().cloned().map(|(number, buyer)| {
        let performance_id = sale.performance_id;
        async move { buyer.hold_best_available(performance_id, json!({"quantity": 1 + number % 2})).await }
    });
    let replies = race(holds).await;
    let sold: usize = replies.iter().filter(|reply| reply.status == 201).map(|reply| seats_of(reply).len()).sum();
    assert_eq!(sold, 11);
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        let problem = reply.json();
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, "SEATS_UNAVAILABLE"), "{reply:?}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("Of 22 seats 0 are free") || detail.starts_with("Of 22 seats 1 are free"),
            "{detail}"
        );
    }
    assert_eq!(sale.available(&selections[0].1).await, 0);
    app.assert_invariants_hold().await;
}

async fn one_user_selects_no_more_seats_than_the_limit(servers: Servers) {
    let app = servers.start_with(SMALL_BATCHES);
    let sale = app.sale(4, 10).await;
    let mut runners = Vec::new();
    for buyer in app.buyers(&sale, 6).await {
        let clients = app.on_every_server(&buyer);
        for number in 0..8 {
            let (client, performance_id) = (clients[number % clients.len()].clone(), sale.performance_id);
            runners.push(async move { client.hold_best_available(performance_id, json!({"quantity": 1})).await });
        }
    }
    let replies = race(runners).await;
    for replies in replies.chunks(8) {
        let expected = [((201, String::new()), 4), ((409, "SEAT_LIMIT_EXCEEDED".to_owned()), 4)];
        assert_eq!(tally(replies), BTreeMap::from(expected));
    }
    app.assert_invariants_hold().await;
}

/// A user names the best seat and locks it first: the selection finds it taken and
/// gets the next best.
async fn a_selected_seat_that_is_taken_is_replaced_by_the_next_best(servers: Servers) {
    let app = Arc::new(servers.start());
    let sale = app.sale(1, 5).await;
    let performance_id = sale.performance_id;
    let middle = sale.seats[2];
    let mut lock = app.ports().database.begin().await.unwrap();
    lock.seat_claims().lock_seats(&[(SeatId(middle), PerformanceId(sale.performance_id))]).await.unwrap();
    let (first, second) = (app.buyer(&sale).await, app.buyer(&sale).await);
    let release = {
        let tables = servers.tables().await;
        async move {
            tables.until_waiting_for_seats(2).await;
            drop(lock);
        }
    };
    let named = {
        let client = first.clone();
        async move { client.hold(performance_id, &[middle]).await }
    };
    let chosen = {
        let tables = servers.tables().await;
        async move {
            tables.until_waiting_for_seats(1).await;
            second.hold_best_available(performance_id, json!({"quantity": 1})).await
        }
    };
    let ((), named, chosen) = futures::future::join3(release, named, chosen).await;
    assert_eq!(seats_of(&named.expect(201)), [SeatId(middle)]);
    // Either of the remaining pairs leaves a single seat once the other is taken.
    assert_eq!(seats_of(&chosen.expect(201)), [SeatId(sale.seats[1])]);
    app.assert_invariants_hold().await;
}
