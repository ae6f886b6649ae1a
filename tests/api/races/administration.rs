//! Administrators' writes about users and bookings against the users, and against each other.

use std::sync::Arc;

use axum::http::Method;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, Reply, Sale, Servers, TestApp, one_and_two_servers, race, tally};

one_and_two_servers!(
    an_administrators_cancellation_against_paying,
    an_administrators_refund_against_the_users_refund,
    an_administrators_cancellation_against_expiry,
    giving_seats_against_holding_them,
    adjusting_a_balance_against_charging_and_paying,
    a_deletion_against_an_adjustment_and_a_gift,
    a_demotion_against_the_administrators_write,
    a_block_against_holding_and_paying,
    a_block_against_a_gift,
);

type Runner = BoxFuture<'static, Reply>;

/// A buyer with 50,000 points who holds one seat at 50,000.
struct Holder {
    client: Client,
    booking_id: String,
}

async fn holders(app: &TestApp, sale: &Sale) -> Vec<Holder> {
    let buyers = app.buyers(sale, sale.seats.len()).await;
    let holds = buyers.into_iter().zip(&sale.seats).map(|(client, seat)| async move {
        client.charge("50000").await;
        let booking_id = client.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId");
        Holder { client, booking_id }
    });
    futures::future::join_all(holds).await
}

async fn cancel(admin: Client, booking_id: String) -> Reply {
    admin.post(&format!("/api/v1/admin/bookings/{booking_id}/cancel"), json!({"reason": "a race"})).await
}

async fn adjust(admin: Client, user: Uuid, amount: &'static str) -> Reply {
    let key = Uuid::now_v7().to_string();
    let body = json!({"amount": amount, "reason": "a race"});
    admin.post_keyed(&format!("/api/v1/admin/users/{user}/points"), &key, body).await
}

async fn give(admin: Client, user: Uuid, performance_id: u64, seats: Vec<u64>) -> Reply {
    let body = json!({"userId": user, "performanceId": performance_id, "seatIds": seats, "reason": "a race"});
    admin.post("/api/v1/admin/bookings", body).await
}

async fn update(admin: Client, user: Uuid, change: Value) -> Reply {
    admin.send(Method::PATCH, &format!("/api/v1/admin/users/{user}"), &[], Some(change)).await
}

/// The entries of the action log with this name.
async fn actions(admin: &Client, name: &str) -> usize {
    let actions = admin.get("/api/v1/admin/actions?limit=100").await.expect(200).json();
    actions["items"].as_array().unwrap().iter().filter(|action| action["action"] == name).count()
}

/// A hold is paid and then refunded, or cancelled before it is paid: the points are back either way.
async fn an_administrators_cancellation_against_paying(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let admin = app.admin().await;
    let admins = app.on_every_server(&admin);
    let holders = holders(&app, &sale).await;
    let mut runners: Vec<Runner> = Vec::new();
    for (number, Holder { client, booking_id }) in holders.iter().enumerate() {
        let (client, booking, paid) = (client.clone(), booking_id.clone(), booking_id.clone());
        runners.push(Box::pin(async move { client.pay(&paid, "key").await }));
        runners.push(Box::pin(cancel(admins[number % admins.len()].clone(), booking)));
    }
    let replies = race(runners).await;
    for (pair, holder) in replies.chunks(2).zip(&holders) {
        let expected = match (pair[0].status.as_u16(), pair[0].code().as_str()) {
            (201, _) => "REFUNDED",
            (409, "BOOKING_NOT_PAYABLE") => "CANCELLED",
            _ => panic!("{:?}", pair[0]),
        };
        assert_eq!((pair[1].status.as_u16(), pair[1].text("status").as_str()), (200, expected), "{:?}", pair[1]);
        assert_eq!(holder.client.booking(&holder.booking_id).await["status"], expected);
        assert_eq!(holder.client.balance().await, "50000");
    }
    assert_eq!(actions(&admin, "booking.cancelled").await, holders.len());
    app.assert_invariants_hold().await;
}

/// The second request finds the booking refunded, and gets the same answer. Only the administrator who refunded it has
/// an entry in the action log.
async fn an_administrators_refund_against_the_users_refund(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let admin = app.admin().await;
    let admins = app.on_every_server(&admin);
    let holders = holders(&app, &sale).await;
    let mut runners: Vec<Runner> = Vec::new();
    for (number, Holder { client, booking_id }) in holders.iter().enumerate() {
        client.pay(booking_id, "key").await.expect(201);
        let (client, path) = (client.clone(), format!("/api/v1/bookings/{booking_id}/cancel"));
        runners.push(Box::pin(async move { client.post(&path, json!({})).await }));
        for repetition in 0..2 {
            let admin = admins[(number + repetition) % admins.len()].clone();
            runners.push(Box::pin(cancel(admin, booking_id.clone())));
        }
    }
    let replies = race(runners).await;
    assert_eq!(tally(&replies).into_keys().collect::<Vec<_>>(), [(200, String::new())]);
    for (answers, holder) in replies.chunks(3).zip(&holders) {
        assert!(answers.iter().all(|reply| reply.text("status") == "REFUNDED"));
        assert_eq!(holder.client.balance().await, "50000");
    }
    assert!(actions(&admin, "booking.cancelled").await <= holders.len());
    app.assert_invariants_hold().await;
}

/// The clock passes the deadline while holds are cancelled, and the job runs. A hold is cancelled in time, or has
/// expired.
async fn an_administrators_cancellation_against_expiry(servers: Servers) {
    let app = Arc::new(servers.start_with(&[("LANE_BATCH_LIMIT", "3")]));
    let sale = app.sale(2, 10).await;
    let admin = app.admin().await;
    let admins = app.on_every_server(&admin);
    let holders = holders(&app, &sale).await;
    let mut runners: Vec<Runner> = Vec::new();
    for (number, holder) in holders.iter().enumerate() {
        runners.push(Box::pin(cancel(admins[number % admins.len()].clone(), holder.booking_id.clone())));
    }
    let (clock, client) = (Arc::clone(&app), admin.clone());
    runners.push(Box::pin(async move {
        // After some answers: a request is sent, then the clock moves.
        client.get("/api/v1/admin/users").await.expect(200);
        clock.advance(300);
        for instance in &clock.instances {
            instance.shared.bookings.expire_holds(1_000).await.unwrap();
        }
        client.get("/api/v1/admin/users").await
    }));
    let replies = race(runners).await;
    for (reply, holder) in replies.iter().zip(&holders) {
        let expected = match (reply.status.as_u16(), reply.code().as_str()) {
            (200, _) => "CANCELLED",
            (409, "BOOKING_NOT_CANCELLABLE") => "EXPIRED",
            _ => panic!("{reply:?}"),
        };
        assert_eq!(holder.client.booking(&holder.booking_id).await["status"], expected);
    }
    app.tick().await;
    assert_eq!(sale.available(&admin).await, 20);
    app.assert_invariants_hold().await;
}

/// Groups of four seats are given while each seat is requested by a buyer: a seat has one of them, and a gift is whole.
async fn giving_seats_against_holding_them(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 10).await;
    let (admin, performance_id) = (app.admin().await, sale.performance_id);
    let admins = app.on_every_server(&admin);
    let buyers = app.buyers(&sale, 40).await;
    let guest = app.user().await.user_id();
    let mut runners: Vec<Runner> = Vec::new();
    for (buyer, seat) in buyers.into_iter().zip(sale.seats.clone()) {
        runners.push(Box::pin(async move { buyer.hold(performance_id, &[seat]).await }));
    }
    for (number, seats) in sale.seats.chunks(4).enumerate() {
        let admin = admins[number % admins.len()].clone();
        runners.insert(5 * number, Box::pin(give(admin, guest, performance_id, seats.to_vec())));
    }
    let replies = race(runners).await;
    let (mut held, mut given) = (0, 0);
    for reply in &replies {
        match (reply.status.as_u16(), reply.code().as_str()) {
            (201, _) if reply.json()["complimentary"] == true => given += 1,
            (201, _) => held += 1,
            (409, "SEATS_UNAVAILABLE") => {}
            _ => panic!("{reply:?}"),
        }
    }
    // A gift fails only if a seat of it was held before, and then nothing keeps the others from being held.
    assert_eq!(held, 40 - 4 * given, "{given} gifts");
    assert_eq!(sale.available(&admin).await, 0);
    assert_eq!(actions(&admin, "booking.created").await as u64, given);
    app.assert_invariants_hold().await;
}

/// All changes of one wallet count: 20 charges, 10 credits, 10 debits and a payment.
async fn adjusting_a_balance_against_charging_and_paying(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(1, 2).await;
    let admins = app.on_every_server(&app.admin().await);
    let buyer = app.buyer_with_points(&sale, "60000").await;
    let user = buyer.user_id();
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    let mut runners: Vec<Runner> = Vec::new();
    for number in 0..20 {
        let admin = admins[number % admins.len()].clone();
        runners.push(Box::pin(adjust(admin, user, if number % 2 == 0 { "70" } else { "-50.50" })));
        let buyer = buyer.clone();
        runners.push(Box::pin(async move { buyer.charge("100").await }));
    }
    let payer = buyer.clone();
    runners.insert(20, Box::pin(async move { payer.pay(&booking, "key").await }));
    let replies = race(runners).await;
    assert_eq!(tally(&replies).into_iter().collect::<Vec<_>>(), [((201, String::new()), 41)]);
    assert_eq!(buyer.balance().await, "12195");
    // Of ten debits of a fifth each, five fit.
    let debits = (0..10).map(|number| adjust(admins[number % admins.len()].clone(), user, "-2439"));
    let counts = tally(&race(debits.collect::<Vec<_>>()).await);
    assert_eq!(counts[&(201, String::new())], 5);
    assert_eq!(counts[&(402, "INSUFFICIENT_POINTS".to_owned())], 5);
    assert_eq!(buyer.balance().await, "0");
    app.assert_invariants_hold().await;
}

/// An account is deleted before a gift and an adjustment, which find no user; or after them, and then it stays for its
/// booking or its points.
async fn a_deletion_against_an_adjustment_and_a_gift(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(1, 8).await;
    let admins = app.on_every_server(&app.admin().await);
    for (number, seat) in sale.seats.iter().copied().enumerate() {
        let user = app.user().await;
        let (id, performance_id) = (user.user_id(), sale.performance_id);
        let path = if number % 2 == 0 { "/api/v1/users/me" } else { "/api/v1/users/me?forfeitBalance=true" };
        let mut runners: Vec<Runner> = vec![
            Box::pin(async move { user.delete(path).await }),
            Box::pin(adjust(admins[number % admins.len()].clone(), id, "100")),
        ];
        if number % 4 < 2 {
            runners.push(Box::pin(give(admins[0].clone(), id, performance_id, vec![seat])));
        }
        let replies = race(runners).await;
        let expected = |reply: &Reply| {
            matches!((reply.status.as_u16(), reply.code().as_str()), (201, _) | (404, "USER_NOT_FOUND"))
        };
        assert!(replies[1..].iter().all(expected), "{replies:?}");
        match (replies[0].status.as_u16(), replies[0].code().as_str()) {
            (204, _) => assert!(replies[2..].iter().all(|gift| gift.status == 404), "{replies:?}"),
            (409, "USER_HAS_LIVE_BOOKINGS") => assert_eq!(replies[2].status, 201, "{replies:?}"),
            (409, "BALANCE_NOT_ZERO") => assert!(number % 2 == 0 && replies[1].status == 201, "{replies:?}"),
            _ => panic!("{:?}", replies[0]),
        }
    }
    app.assert_invariants_hold().await;
}

/// A write comes before the demotion and is recorded, or after it and is refused. After the answer it is always
/// refused.
async fn a_demotion_against_the_administrators_write(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(1, 8).await;
    let admin = app.admin().await;
    let user = app.user().await.user_id();
    let mut written = (0, 0);
    for seat in sale.seats.clone() {
        let other = app.admin().await;
        let others = app.on_every_server(&other);
        let last = others.last().unwrap().clone();
        let demotion = update(admin.clone(), other.user_id(), json!({"role": "USER", "reason": "a race"}));
        let runners: Vec<Runner> = vec![
            Box::pin(demotion),
            Box::pin(adjust(others[0].clone(), user, "1")),
            Box::pin(give(last.clone(), user, sale.performance_id, vec![seat])),
        ];
        let replies = race(runners).await;
        assert_eq!(replies[0].status, 200, "{replies:?}");
        for reply in &replies[1..] {
            assert!(reply.status == 201 || reply.code() == "FORBIDDEN", "{reply:?}");
        }
        written.0 += usize::from(replies[1].status == 201);
        written.1 += usize::from(replies[2].status == 201);
        adjust(last, user, "1").await.expect_problem(403, "FORBIDDEN");
    }
    assert_eq!((actions(&admin, "points.adjusted").await, actions(&admin, "booking.created").await), written);
    app.assert_invariants_hold().await;
}

/// Users are blocked while they hold and pay. What comes before the block stands; afterwards they hold and pay nothing.
async fn a_block_against_holding_and_paying(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let admins = app.on_every_server(&app.admin().await);
    let performance_id = sale.performance_id;
    let seats: Vec<_> = sale.seats.chunks(2).map(<[u64]>::to_vec).collect();
    let buyers = app.buyers(&sale, seats.len()).await;
    let mut runners: Vec<Runner> = Vec::new();
    for (number, (buyer, seats)) in buyers.iter().zip(&seats).enumerate() {
        buyer.charge("100000").await;
        let booking = buyer.hold(performance_id, &seats[..1]).await.expect(201).text("bookingId");
        let (payer, holder, seat) = (buyer.clone(), buyer.clone(), seats[1]);
        let block = json!({"blocked": true, "reason": "a race"});
        runners.push(Box::pin(async move { payer.pay(&booking, "key").await }));
        runners.push(Box::pin(async move { holder.hold(performance_id, &[seat]).await }));
        runners.push(Box::pin(update(admins[number % admins.len()].clone(), buyer.user_id(), block)));
    }
    let replies = race(runners).await;
    for user in replies.chunks(3) {
        assert_eq!(user[2].status, 200, "{:?}", user[2]);
        for reply in &user[..2] {
            let expected = matches!(
                (reply.status.as_u16(), reply.code().as_str()),
                (201, _) | (401, "UNAUTHENTICATED") | (403, "QUEUE_TOKEN_EXPIRED")
            );
            assert!(expected, "{reply:?}");
        }
    }
    app.tick().await;
    for (buyer, seats) in buyers.iter().zip(&seats) {
        for client in app.on_every_server(buyer) {
            client.hold(performance_id, &seats[1..]).await.expect_problem(401, "UNAUTHENTICATED");
            let token = client.get("/api/v1/queue/tokens/current").await.expect(200);
            assert!(matches!(token.text("status").as_str(), "LEFT" | "COMPLETED"), "{token:?}");
        }
    }
    app.assert_invariants_hold().await;
}

/// The user of a gift, or the administrator who gives, is blocked meanwhile. A block stops only what its account does:
/// seats are given to a blocked user, and a blocked administrator gives none.
async fn a_block_against_a_gift(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 8).await;
    let admin = app.admin().await;
    let mut given = 0;
    for (number, seats) in sale.seats.chunks(2).enumerate() {
        let (other, user) = (app.admin().await, app.user().await.user_id());
        let donor = app.on_every_server(&other).pop().unwrap();
        let blocks_donor = number % 2 == 0;
        let blocked = if blocks_donor { other.user_id() } else { user };
        let block = json!({"blocked": true, "reason": "a race"});
        let gift = |seat: u64| give(donor.clone(), user, sale.performance_id, vec![seat]);
        let runners: Vec<Runner> = vec![Box::pin(update(admin.clone(), blocked, block)), Box::pin(gift(seats[0]))];
        let mut replies = race(runners).await;
        replies.push(gift(seats[1]).await);
        assert_eq!(replies[0].status, 200, "{replies:?}");
        for (gift, is_later) in [(&replies[1], false), (&replies[2], true)] {
            if gift.status == 201 {
                assert!(!blocks_donor || !is_later, "{replies:?}");
                let path = format!("/api/v1/admin/bookings/{}", gift.text("bookingId"));
                assert_eq!(admin.get(&path).await.expect(200).text("status"), "CONFIRMED");
                given += 1;
            } else {
                assert!(blocks_donor && matches!(gift.code().as_str(), "UNAUTHENTICATED" | "FORBIDDEN"), "{gift:?}");
            }
        }
    }
    assert!(given >= 8, "{given}");
    assert_eq!(actions(&admin, "booking.created").await, given);
    app.assert_invariants_hold().await;
}
