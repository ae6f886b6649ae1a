//! Doors against doors, refunds and cancellations.

use futures::future::BoxFuture;
use serde_json::json;

use crate::support::{Client, Reply, Sale, Servers, TestApp, one_and_two_servers, race, skewed_clocks, tally};

one_and_two_servers!(
    two_doors_scan_each_ticket,
    owners_cancel_while_their_tickets_are_scanned,
    a_performance_is_cancelled_while_its_tickets_are_scanned,
);
skewed_clocks!(two_doors_scan_each_ticket, owners_cancel_while_their_tickets_are_scanned);

/// A booking of one seat, with its owner and the code of its ticket.
struct Sold {
    owner: Client,
    booking_id: String,
    code: String,
}

async fn sell(app: &TestApp, sale: &Sale, count: usize) -> Vec<Sold> {
    let mut sold = Vec::new();
    for (owner, seat) in app.buyers(sale, count).await.into_iter().zip(&sale.seats) {
        owner.charge("50000").await;
        let booking_id = owner.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId");
        owner.pay(&booking_id, "pay").await.expect(201);
        let tickets = owner.get(&format!("/api/v1/bookings/{booking_id}/tickets")).await.expect(200).json();
        let code = tickets["items"][0]["code"].as_str().unwrap().to_owned();
        sold.push(Sold { owner, booking_id, code });
    }
    sold
}

fn scan(door: &Client, code: &str) -> BoxFuture<'static, Reply> {
    let (door, body) = (door.clone(), json!({"code": code}));
    Box::pin(async move { door.post("/api/v1/admin/admissions", body).await })
}

fn count(replies: &[Reply], status: u16, code: &str) -> usize {
    tally(replies).get(&(status, code.to_owned())).copied().unwrap_or(0)
}

/// Doors of two administrators on every server scan the same twenty tickets: each lets in one person.
async fn two_doors_scan_each_ticket(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let sold = sell(&app, &sale, 20).await;
    let mut doors = app.on_every_server(&app.admin().await);
    doors.extend(app.on_every_server(&app.admin().await));
    for ticket in &sold {
        let replies = race(doors.iter().map(|door| scan(door, &ticket.code))).await;
        let used = count(&replies, 409, "TICKET_ALREADY_USED");
        assert_eq!((count(&replies, 200, ""), used), (1, doors.len() - 1), "{replies:?}");
    }
    app.assert_invariants_hold().await;
}

/// Each ticket is scanned while its owner cancels: either the owner gets the points back, or the door lets in.
async fn owners_cancel_while_their_tickets_are_scanned(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let sold = sell(&app, &sale, 20).await;
    let doors = app.on_every_server(&app.admin().await);
    let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (number, ticket) in sold.iter().enumerate() {
        let (owner, path) = (ticket.owner.clone(), format!("/api/v1/bookings/{}/cancel", ticket.booking_id));
        runners.push(scan(&doors[number % doors.len()], &ticket.code));
        runners.push(Box::pin(async move { owner.post(&path, json!({})).await }));
    }
    let replies = race(runners).await;
    for (outcome, ticket) in replies.chunks(2).zip(&sold) {
        let expected = if outcome[0].status == 200 { (409, "REFUND_WINDOW_CLOSED", "0") } else { (200, "", "50000") };
        let cancelled = (outcome[1].status.as_u16(), &*outcome[1].code(), &*ticket.owner.balance().await);
        assert_eq!(cancelled, expected, "{outcome:?}");
        assert!(outcome[0].status == 200 || outcome[0].code() == "TICKET_NOT_VALID", "{outcome:?}");
    }
    app.assert_invariants_hold().await;
}

/// Tickets are scanned while the performance is cancelled: earlier scans succeed, later ones are refused, and every
/// owner has the points back.
async fn a_performance_is_cancelled_while_its_tickets_are_scanned(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let sold = sell(&app, &sale, 20).await;
    let admin = app.admin().await;
    let doors = app.on_every_server(&admin);
    let mut runners: Vec<BoxFuture<'static, Reply>> =
        sold.iter().enumerate().map(|(number, ticket)| scan(&doors[number % doors.len()], &ticket.code)).collect();
    let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    runners.insert(10, Box::pin(async move { admin.post(&path, json!({})).await }));
    let mut replies = race(runners).await;
    replies.remove(10).expect(202);
    assert_eq!(count(&replies, 200, "") + count(&replies, 409, "TICKET_NOT_VALID"), 20, "{replies:?}");
    app.tick().await;
    for ticket in &sold {
        assert_eq!(ticket.owner.balance().await, "50000");
        scan(&doors[0], &ticket.code).await.expect_problem(409, "TICKET_NOT_VALID");
    }
    app.assert_invariants_hold().await;
}
