//! Administrators who reschedule a performance or end its sales, against its buyers.

use std::collections::BTreeMap;

use axum::http::Method;
use chrono::TimeDelta;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::{Client, Reply, Sale, Servers, TestApp, one_and_two_servers, race, tally};

one_and_two_servers!(
    rescheduling_against_paying,
    rescheduling_against_refunding,
    rescheduling_against_cancelling_the_performance,
    ending_sales_against_holding,
);

async fn patch(admin: Client, performance_id: u64, body: Value) -> Reply {
    admin.send(Method::PATCH, &format!("/api/v1/admin/performances/{performance_id}"), &[], Some(body)).await
}

/// A buyer for each seat, who holds it and can pay for it.
async fn holders(app: &TestApp, sale: &Sale) -> Vec<(Client, String)> {
    let mut holders = Vec::new();
    for (buyer, seat) in app.buyers(sale, sale.seats.len()).await.into_iter().zip(&sale.seats) {
        buyer.charge("50000").await;
        let booking = buyer.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId");
        holders.push((buyer, booking));
    }
    holders
}

fn in_hours(app: &TestApp, hours: i64) -> String {
    (app.now() + TimeDelta::hours(hours)).to_rfc3339()
}

/// The start moves and sales end meanwhile: every hold can be paid.
async fn rescheduling_against_paying(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let admins = app.on_every_server(&app.admin().await);
    let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (number, (buyer, booking)) in holders(&app, &sale).await.into_iter().enumerate() {
        runners.push(Box::pin(async move { buyer.pay(&booking, "key").await }));
        if number % 4 == 0 {
            let (admin, hours) = (admins[number / 4 % admins.len()].clone(), i64::try_from(number).unwrap() + 1);
            let body = json!({"startsAt": in_hours(&app, hours), "salesEndAt": in_hours(&app, 0)});
            runners.push(Box::pin(patch(admin, sale.performance_id, body)));
        }
    }
    let expected = [((200, String::new()), 5), ((201, String::new()), 20)];
    assert_eq!(tally(&race(runners).await), BTreeMap::from(expected));
    app.assert_invariants_hold().await;
}

/// The start moves to less than a day from now: each refund comes before, or is refused.
async fn rescheduling_against_refunding(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 10).await;
    let admin = app.on_every_server(&app.admin().await).pop().unwrap();
    let holders = holders(&app, &sale).await;
    let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (buyer, booking) in holders.clone() {
        buyer.pay(&booking, "key").await.expect(201);
        let path = format!("/api/v1/bookings/{booking}/cancel");
        runners.push(Box::pin(async move { buyer.post(&path, json!({})).await }));
    }
    let body = json!({"startsAt": in_hours(&app, 23)});
    runners.insert(5, Box::pin(patch(admin, sale.performance_id, body)));
    let mut replies = race(runners).await;
    replies.remove(5).expect(200);
    for (reply, (buyer, booking)) in replies.iter().zip(&holders) {
        let expected = match (reply.status.as_u16(), reply.code().as_str()) {
            (200, _) => ("REFUNDED", "50000"),
            (409, "REFUND_WINDOW_CLOSED") => ("CONFIRMED", "0"),
            _ => panic!("{reply:?}"),
        };
        let status = buyer.booking(booking).await["status"].clone();
        assert_eq!((status.as_str().unwrap(), buyer.balance().await.as_str()), expected);
    }
    app.assert_invariants_hold().await;
}

/// A performance is cancelled for good: a later change is refused.
async fn rescheduling_against_cancelling_the_performance(servers: Servers) {
    let app = servers.start();
    for _ in 0..3 {
        let sale = app.sale(1, 10).await;
        let admins = app.on_every_server(&app.admin().await);
        let holders = holders(&app, &sale).await;
        let id = sale.performance_id;
        let mut runners: Vec<BoxFuture<'static, Reply>> = (1..=6)
            .map(|hours| {
                let body = json!({"startsAt": in_hours(&app, hours)});
                Box::pin(patch(admins[0].clone(), id, body)) as BoxFuture<'static, Reply>
            })
            .collect();
        let admin = admins[admins.len() - 1].clone();
        let path = format!("/api/v1/admin/performances/{id}/cancel");
        runners.insert(3, Box::pin(async move { admin.post(&path, json!({})).await }));
        for ((status, code), _) in tally(&race(runners).await) {
            assert!(matches!((status, code.as_str()), (200 | 202, "") | (409, "SALES_CLOSED")), "{status} {code}");
        }
        app.tick().await;
        for (buyer, booking) in holders {
            assert_eq!(buyer.booking(&booking).await["status"], "CANCELLED");
        }
        let concert = app.anonymous().get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect(200).json();
        assert_eq!(concert["lastPerformanceAt"], Value::Null, "the concert's dates leave the cancelled one out");
    }
    app.assert_invariants_hold().await;
}

/// Sales end at once: a hold comes before, or is refused, and none comes after the answer.
async fn ending_sales_against_holding(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 10).await;
    let admin = app.on_every_server(&app.admin().await).pop().unwrap();
    let buyers = app.buyers(&sale, 40).await;
    let performance_id = sale.performance_id;
    let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (buyer, seat) in buyers.iter().cloned().zip(sale.seats.clone()) {
        runners.push(Box::pin(async move { buyer.hold(performance_id, &[seat]).await }));
    }
    let body = json!({"salesEndAt": in_hours(&app, 0)});
    runners.insert(10, Box::pin(patch(admin, performance_id, body)));
    let mut replies = race(runners).await;
    replies.remove(10).expect(200);
    for (reply, buyer) in replies.iter().zip(&buyers) {
        assert!(reply.status == 201 || reply.code() == "SALES_CLOSED", "{reply:?}");
        if reply.status == 201 {
            buyer.charge("50000").await;
            buyer.pay(&reply.text("bookingId"), "key").await.expect(201);
        } else {
            buyer.hold(performance_id, &sale.seats[..1]).await.expect_problem(409, "SALES_CLOSED");
        }
    }
    app.assert_invariants_hold().await;
}
