//! A whole sale: users hold the best seats, pay, cancel, let holds expire, and return.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::{Client, Reply, Sale, SeededRandom, Servers, TestApp, one_and_two_servers, race, skewed_clocks};

one_and_two_servers!(a_sale_ends_with_every_seat_sold_once);
skewed_clocks!(a_sale_ends_with_every_seat_sold_once);

const PEOPLE: usize = 60;

/// The initial points of each buyer.
const POINTS: u32 = 400_000;

/// A buyer and the state of the client.
struct Person {
    client: Client,
    random: SeededRandom,
    payments: usize,
}

impl Person {
    /// Returns with the same token or a new one, and does one operation on each booking and one more.
    async fn act(&mut self, sale: &Sale) {
        self.client = sale.join(self.client.clone()).await;
        for booking in self.bookings().await {
            let id = booking["bookingId"].as_str().unwrap().to_owned();
            match (booking["status"].as_str().unwrap(), self.random.below(10)) {
                ("PENDING", 0..5) => self.pay(&id).await,
                ("PENDING", 5) | ("CONFIRMED", 0) => self.change(&id, "cancel").await,
                ("PENDING", 6) => self.change(&id, "extend").await,
                // Lets the hold expire.
                _ => {}
            }
        }
        let selection = match self.random.below(4) {
            0 => json!({"quantity": 1 + self.random.below(2), "section": "Floor"}),
            1 => json!({"quantity": 1 + self.random.below(3), "maxPrice": "50000"}),
            _ => json!({"quantity": 1 + self.random.below(4)}),
        };
        self.client = sale.join(self.client.clone()).await;
        self.book(sale, selection).await;
    }

    /// Pays for every hold, and buys seat after seat until none is left or the limit is reached.
    async fn finish(&mut self, sale: &Sale) {
        loop {
            self.client = sale.join(self.client.clone()).await;
            for booking in self.bookings().await.iter().filter(|booking| booking["status"] == "PENDING") {
                self.pay(booking["bookingId"].as_str().unwrap()).await;
            }
            self.client = sale.join(self.client.clone()).await;
            let reply = self.book(sale, json!({"quantity": 1})).await;
            assert_ne!(reply.status, 403, "a token that holds nothing is new: {reply:?}");
            if reply.status != 201 {
                return;
            }
        }
    }

    async fn bookings(&self) -> Vec<Value> {
        let list = self.client.get("/api/v1/bookings?limit=100").await.expect(200).json();
        list["items"].as_array().unwrap().clone()
    }

    async fn book(&self, sale: &Sale, selection: Value) -> Reply {
        let reply = self.client.hold_best_available(sale.performance_id, selection).await;
        // A token that lives on for an earlier hold can't make new ones after its own time.
        let expected = matches!(
            (reply.status.as_u16(), reply.code().as_str()),
            (201, _) | (403, "QUEUE_TOKEN_EXPIRED") | (409, "SEATS_UNAVAILABLE" | "SEAT_LIMIT_EXCEEDED")
        );
        assert!(expected, "{reply:?}");
        reply
    }

    async fn pay(&mut self, booking_id: &str) {
        self.payments += 1;
        let reply = self.client.pay(booking_id, &format!("pay-{}", self.payments)).await;
        // A token ends with the payment of the last hold; the next operation needs another.
        let expected = matches!(
            (reply.status.as_u16(), reply.code().as_str()),
            (201, _) | (403, "QUEUE_TOKEN_EXPIRED") | (410, "HOLD_EXPIRED")
        );
        assert!(expected, "{reply:?}");
    }

    async fn change(&self, booking_id: &str, action: &str) {
        let reply = self.client.post(&format!("/api/v1/bookings/{booking_id}/{action}"), json!({})).await;
        let expected = reply.status == 200
            || matches!(
                reply.code().as_str(),
                "HOLD_EXPIRED" | "HOLD_ALREADY_EXTENDED" | "BOOKING_NOT_CANCELLABLE" | "QUEUE_TOKEN_EXPIRED"
            );
        assert!(expected, "{reply:?}");
    }
}

/// Users act concurrently, round after round; between the rounds deadlines pass, in some jobs before other
/// requests. At the end the buyers below the limit buy what is left.
async fn a_sale_ends_with_every_seat_sold_once(servers: Servers) {
    let app = Arc::new(servers.start_with(&[("LANE_BATCH_LIMIT", "16")]));
    let section = |name: &str, price: &str, rows: u64| json!({"name": name, "grade": name, "rows": rows, "seatsPerRow": 15, "price": price});
    let sale = Arc::new(app.sale_of(&[section("Floor", "90000", 4), section("Stand", "50000", 8)]).await);
    let mut users = Vec::new();
    for (number, client) in app.buyers(&sale, PEOPLE).await.into_iter().enumerate() {
        client.charge(&POINTS.to_string()).await;
        users.push(Person { client, random: SeededRandom::new(u64::try_from(number).unwrap()), payments: 0 });
    }
    let mut random = SeededRandom::new(77);
    for _ in 0..6 {
        users = all_at_once(&sale, users, |mut person, sale| async move {
            person.act(&sale).await;
            person
        })
        .await;
        app.advance(60 + i64::try_from(random.below(200)).unwrap());
        if random.below(2) == 0 {
            app.tick().await;
        }
    }
    users = all_at_once(&sale, users, |mut person, sale| async move {
        person.finish(&sale).await;
        person
    })
    .await;
    assert_sold_out(&app, &sale, &users).await;
}

async fn all_at_once<F>(sale: &Arc<Sale>, users: Vec<Person>, act: impl Fn(Person, Arc<Sale>) -> F) -> Vec<Person>
where
    F: Future<Output = Person> + Send + 'static,
{
    let acts: Vec<_> = users.into_iter().map(|person| act(person, Arc::clone(sale))).collect();
    race(acts).await
}

/// Each seat is in one paid booking; wallets and payments sum up to the charges; every invariant holds.
async fn assert_sold_out(app: &TestApp, sale: &Sale, users: &[Person]) {
    let mut owners = BTreeMap::new();
    let mut states = BTreeSet::new();
    let (mut paid, mut balances) = (Decimal::ZERO, Decimal::ZERO);
    for (person, bookings) in users.iter().zip(join_all(users.iter().map(Person::bookings)).await) {
        let own = bookings.iter().filter(|booking| booking["status"] == "CONFIRMED");
        for seat in own.flat_map(|booking| booking["seats"].as_array().unwrap()) {
            let other = owners.insert(seat["seatId"].as_u64().unwrap(), person.client.user_id());
            assert_eq!(other, None, "a seat has two owners");
            paid += seat["price"].as_str().unwrap().parse::<Decimal>().unwrap();
        }
        states.extend(bookings.into_iter().map(|booking| booking["status"].as_str().unwrap().to_owned()));
        balances += person.client.balance().await.parse::<Decimal>().unwrap();
    }
    assert_eq!(owners.keys().copied().collect::<Vec<_>>(), sale.seats, "every seat is sold");
    assert_eq!(paid + balances, Decimal::from(POINTS) * Decimal::from(users.len()));
    assert!(states.iter().map(String::as_str).eq(["CANCELLED", "CONFIRMED", "EXPIRED", "REFUNDED"]), "{states:?}");
    app.tick().await;
    app.assert_invariants_hold().await;
}
