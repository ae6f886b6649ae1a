//! Concurrent operations on one booking.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Client, Reply, Sale, Servers, TestApp, one_and_two_servers, race, tally};

one_and_two_servers!(
    ten_payments_with_distinct_keys_take_the_points_once,
    ten_payments_with_one_key_have_one_effect_and_one_answer,
    payments_of_two_bookings_share_one_balance,
    paying_against_cancelling,
    cancelling_against_cancelling,
    cancelling_against_extending,
    refunding_against_refunding,
    leaving_the_queue_against_paying,
);

/// A buyer with 100,000 points and a booking of one seat at 50,000.
struct Buyer {
    clients: Vec<Client>,
    booking_id: String,
}

impl Buyer {
    /// One buyer for each seat of the sale.
    async fn all(app: &TestApp, sale: &Sale) -> Vec<Self> {
        let buyers = app.buyers(sale, sale.seats.len()).await;
        let holds = buyers.into_iter().zip(&sale.seats).map(|(buyer, seat)| async move {
            buyer.charge("100000").await;
            let booking = buyer.hold(sale.performance_id, &[*seat]).await.expect(201);
            Self { clients: app.on_every_server(&buyer), booking_id: booking.text("bookingId") }
        });
        futures::future::join_all(holds).await
    }

    /// The client of this number; consecutive clients use different servers.
    fn window(&self, number: usize) -> Client {
        self.clients[number % self.clients.len()].clone()
    }

    async fn pay(&self) -> Value {
        self.window(0).pay(&self.booking_id, "paid").await.expect(201).json()
    }

    async fn status(&self) -> String {
        self.window(0).booking(&self.booking_id).await["status"].as_str().unwrap().to_owned()
    }

    async fn balance(&self) -> String {
        self.window(0).balance().await
    }
}

async fn cancel(client: Client, booking_id: String) -> Reply {
    client.post(&format!("/api/v1/bookings/{booking_id}/cancel"), json!({})).await
}

async fn pay(client: Client, booking_id: String, key: String) -> Reply {
    client.pay(&booking_id, &key).await
}

async fn ten_payments_with_distinct_keys_take_the_points_once(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(2, 5).await;
    for buyer in Buyer::all(&app, &sale).await {
        let payments =
            (0..10).map(|number| pay(buyer.window(number), buyer.booking_id.clone(), format!("key-{number}")));
        let replies = race(payments).await;
        let mut counts = tally(&replies);
        assert_eq!(counts.remove(&(201, String::new())), Some(1));
        counts.remove(&(403, "QUEUE_TOKEN_EXPIRED".to_owned()));
        counts.remove(&(409, "BOOKING_NOT_PAYABLE".to_owned()));
        assert!(counts.is_empty(), "{counts:?}");
        assert_eq!(buyer.balance().await, "50000");
        assert_eq!(buyer.status().await, "CONFIRMED");
    }
    app.assert_invariants_hold().await;
}

async fn ten_payments_with_one_key_have_one_effect_and_one_answer(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 5).await;
    for buyer in Buyer::all(&app, &sale).await {
        let payments = (0..10).map(|number| pay(buyer.window(number), buyer.booking_id.clone(), "once".to_owned()));
        let replies = race(payments).await;
        assert_eq!(tally(&replies), BTreeMap::from([((201, String::new()), 10)]));
        assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes), "answers differ");
        let replayed = replies.iter().filter(|reply| reply.header("idempotency-replayed") == "true").count();
        assert_eq!(replayed, 9);
        assert_eq!(buyer.balance().await, "50000");
    }
    app.assert_invariants_hold().await;
}

/// Two bookings at 50,000 each and 50,000 points: one is paid, the other is refused, and its hold stays.
async fn payments_of_two_bookings_share_one_balance(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(6, 2).await;
    for seats in sale.seats.chunks(2) {
        let buyer = app.buyer_with_points(&sale, "50000").await;
        let mut bookings = Vec::new();
        for seat in seats {
            bookings.push(buyer.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId"));
        }
        let clients = app.on_every_server(&buyer);
        let payments = (0..10).map(|number| {
            pay(clients[(number / 2) % clients.len()].clone(), bookings[number % 2].clone(), format!("key-{number}"))
        });
        let replies = race(payments).await;
        let mut counts = tally(&replies);
        assert_eq!(counts.remove(&(201, String::new())), Some(1));
        assert_eq!(counts.remove(&(402, "INSUFFICIENT_POINTS".to_owned())), Some(5));
        assert_eq!(counts.remove(&(409, "BOOKING_NOT_PAYABLE".to_owned())), Some(4));
        assert!(counts.is_empty(), "{counts:?}");
        assert_eq!(buyer.balance().await, "0");
    }
    app.assert_invariants_hold().await;
}

async fn paying_against_cancelling(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(6, 5).await;
    let buyers = Buyer::all(&app, &sale).await;
    let payments = buyers.iter().enumerate().map(|(number, buyer)| (buyer.window(number), buyer.booking_id.clone()));
    let cancellations =
        buyers.iter().enumerate().map(|(number, buyer)| (buyer.window(number + 1), buyer.booking_id.clone()));
    let both = payments.zip(cancellations).map(|((payer, paid), (canceller, cancelled))| async move {
        tokio::join!(payer.pay(&paid, "key"), cancel(canceller, cancelled))
    });
    for ((payment, cancellation), buyer) in race(both).await.into_iter().zip(&buyers) {
        let cancellation = cancellation.expect(200).json();
        assert_eq!(cancellation["status"], buyer.status().await);
        match (payment.status.as_u16(), payment.code().as_str()) {
            (201, _) => assert_eq!(cancellation["status"], "REFUNDED"),
            (409, "BOOKING_NOT_PAYABLE") => assert_eq!(cancellation["status"], "CANCELLED"),
            _ => panic!("{payment:?}"),
        }
        assert_eq!(buyer.balance().await, "100000");
    }
    assert_eq!(sale.available(&buyers[0].window(0)).await, 30);
    app.assert_invariants_hold().await;
}

async fn cancel_everything_at_once(app: &TestApp, sale: &Sale, buyers: &[Buyer], status: &str) {
    let cancellations = buyers
        .iter()
        .flat_map(|buyer| (0..4).map(|number| cancel(buyer.window(number), buyer.booking_id.clone())))
        .collect::<Vec<_>>();
    let replies = race(cancellations).await;
    assert_eq!(tally(&replies), BTreeMap::from([((200, String::new()), 4 * buyers.len())]));
    for (replies, buyer) in replies.chunks(4).zip(buyers) {
        assert_eq!(replies[0].json()["status"], status);
        assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes), "answers differ");
        assert_eq!(buyer.balance().await, "100000");
    }
    assert_eq!(sale.available(&buyers[0].window(0)).await, u64::try_from(sale.seats.len()).unwrap());
    app.assert_invariants_hold().await;
}

async fn cancelling_against_cancelling(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 5).await;
    let buyers = Buyer::all(&app, &sale).await;
    cancel_everything_at_once(&app, &sale, &buyers, "CANCELLED").await;
}

/// Extended or not, the booking ends up cancelled, and its seat is free at once.
async fn cancelling_against_extending(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 5).await;
    let buyers = Buyer::all(&app, &sale).await;
    let both = buyers.iter().enumerate().map(|(number, buyer)| {
        let (extender, canceller, booking_id) =
            (buyer.window(number), buyer.window(number + 1), buyer.booking_id.clone());
        let path = format!("/api/v1/bookings/{booking_id}/extend");
        async move { tokio::join!(extender.post(&path, json!({})), cancel(canceller, booking_id)) }
    });
    for ((extension, cancellation), buyer) in race(both.collect::<Vec<_>>()).await.into_iter().zip(&buyers) {
        let cancelled = cancellation.expect(200).json();
        assert_eq!((&cancelled["status"], buyer.status().await.as_str()), (&json!("CANCELLED"), "CANCELLED"));
        match (extension.status.as_u16(), extension.code().as_str()) {
            (200, _) => {
                assert_eq!((&cancelled["extended"], &extension.json()["status"]), (&json!(true), &json!("PENDING")));
            }
            (409, "BOOKING_NOT_PAYABLE") => assert_eq!(cancelled["extended"], false),
            _ => panic!("{extension:?}"),
        }
    }
    assert_eq!(sale.available(&buyers[0].window(0)).await, 20);
    app.assert_invariants_hold().await;
}

async fn refunding_against_refunding(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 5).await;
    let buyers = Buyer::all(&app, &sale).await;
    for buyer in &buyers {
        assert_eq!(buyer.pay().await["balance"], "50000");
    }
    cancel_everything_at_once(&app, &sale, &buyers, "REFUNDED").await;
}

async fn leaving_the_queue_against_paying(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(6, 5).await;
    let buyers = Buyer::all(&app, &sale).await;
    let both = buyers.iter().enumerate().map(|(number, buyer)| {
        let (payer, leaver, booking_id) = (buyer.window(number), buyer.window(number + 1), buyer.booking_id.clone());
        async move { tokio::join!(payer.pay(&booking_id, "key"), leaver.delete("/api/v1/queue/tokens/current")) }
    });
    let outcomes = race(both.collect::<Vec<_>>()).await;
    let mut sold = 0;
    for ((payment, leave), buyer) in outcomes.into_iter().zip(&buyers) {
        leave.expect(204);
        let place = buyer.window(0).get("/api/v1/queue/tokens/current").await.expect(200).json();
        match (payment.status.as_u16(), payment.code().as_str()) {
            (201, _) => {
                sold += 1;
                assert_eq!((buyer.status().await.as_str(), &place["status"]), ("CONFIRMED", &json!("COMPLETED")));
                assert_eq!(buyer.balance().await, "50000");
            }
            (403, "QUEUE_TOKEN_EXPIRED") => {
                assert_eq!((buyer.status().await.as_str(), &place["status"]), ("CANCELLED", &json!("LEFT")));
                assert_eq!(buyer.balance().await, "100000");
            }
            _ => panic!("{payment:?}"),
        }
    }
    assert_eq!(sale.available(&buyers[0].window(0)).await, 30 - sold);
    app.assert_invariants_hold().await;
}
