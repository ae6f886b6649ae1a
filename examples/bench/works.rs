//! The pieces of work that scenarios are made of.

use std::{cell::RefCell, collections::HashSet, rc::Rc};

use anyhow::{Context, ensure};

use crate::{
    client::{Answer, Call, Connection},
    fixture::{Buyer, Sale},
    load::Work,
    statistics::number as figure,
};

/// From one pair of seats to the next.
const STRIDE: usize = 7_919;

/// Asking for one's place.
pub(crate) struct Polls {
    pub(crate) buyers: Vec<Buyer>,
}

impl Work for Polls {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let buyer = &self.buyers[number % self.buyers.len()];
        poll(connection, &buyer.queue).await
    }
}

async fn poll(connection: &mut Connection, queue: &str) -> anyhow::Result<()> {
    let call = Call { method: "GET", path: "/api/v1/queue/tokens/current", queue, ..Call::default() };
    let status = connection.send(&call).await?.status;
    ensure!(status == 200, "a poll was answered with {status}");
    Ok(())
}

/// Joining a queue, each a user who isn't in it.
pub(crate) struct Joins {
    pub(crate) concert: u64,
    pub(crate) buyers: Vec<Buyer>,
}

impl Work for Joins {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        join(connection, self.concert, &self.buyers[number]).await?;
        Ok(())
    }
}

async fn join(connection: &mut Connection, concert: u64, buyer: &Buyer) -> anyhow::Result<String> {
    let body = format!("{{\"concertId\":{concert}}}");
    let call =
        Call { method: "POST", path: "/api/v1/queue/tokens", access: &buyer.access, body: &body, ..Call::default() };
    let answer = connection.send(&call).await?;
    ensure!(answer.status == 201, "a join was answered with {}", answer.status);
    answer.text("queueToken")
}

/// Holding two seats, each pair once, far from the one before.
pub(crate) struct Holds {
    pub(crate) sale: Sale,
    pub(crate) buyers: Vec<Buyer>,
}

impl Holds {
    /// A stride that shares no factor with the number of pairs visits each once.
    fn pair(&self, number: usize) -> [u64; 2] {
        let pairs = self.sale.seats.len() / 2;
        let first = number * STRIDE % pairs * 2;
        [self.sale.seats[first], self.sale.seats[first + 1]]
    }

    fn buyer(&self, number: usize) -> &Buyer {
        &self.buyers[number % self.buyers.len()]
    }

    async fn hold(&self, number: usize, queue: &str, connection: &mut Connection) -> anyhow::Result<String> {
        let [one, other] = self.pair(number);
        let body = format!("{{\"performanceId\":{},\"seatIds\":[{one},{other}]}}", self.sale.performance);
        let (access, key) = (&self.buyer(number).access, format!("hold-{number}"));
        let call =
            Call { method: "POST", path: "/api/v1/bookings", access, queue, key: &key, body: &body, ..Call::default() };
        let answer = connection.send(&call).await?;
        ensure!(answer.status == 201, "a hold was answered with {}", answer.status);
        answer.text("bookingId")
    }

    /// What the load is, or what it would be wrong to call it.
    pub(crate) fn describe(&self, count: usize) -> anyhow::Result<String> {
        let seats: HashSet<u64> = (0..count).flat_map(|number| self.pair(number)).collect();
        ensure!(seats.len() == count * 2, "{} different seats in {count} holds of 2", seats.len());
        let users: HashSet<_> = (0..count).map(|number| self.buyer(number).id).collect();
        let place = |number: usize| figure(number * STRIDE % (self.sale.seats.len() / 2) * 2);
        let apart = (1..count).map(|number| (place(number) - place(number - 1)).abs()).sum::<f64>() / figure(count);
        Ok(format!(
            "{count} holds by {} users of {} distinct seats; consecutive requests are {apart:.0} seats apart",
            users.len(),
            seats.len()
        ))
    }
}

impl Work for Holds {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        self.hold(number, &self.buyer(number).queue, connection).await?;
        Ok(())
    }
}

async fn charge(connection: &mut Connection, buyer: &Buyer, key: &str) -> anyhow::Result<()> {
    let call = Call {
        method: "POST",
        path: "/api/v1/points/charges",
        access: &buyer.access,
        key,
        body: "{\"amount\":\"100000\"}",
        ..Call::default()
    };
    let status = connection.send(&call).await?.status;
    ensure!(status == 201, "a charge was answered with {status}");
    Ok(())
}

/// Charging points, to a wallet of one's own, or all to the same.
pub(crate) struct Charges {
    pub(crate) buyers: Vec<Buyer>,
    /// So that the keys of two rounds differ.
    pub(crate) round: String,
}

impl Work for Charges {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let buyer = &self.buyers[number % self.buyers.len()];
        charge(connection, buyer, &format!("charge-{}-{number}", self.round)).await
    }
}

/// Holding and charging: what comes before a payment.
pub(crate) struct BeforePayment {
    pub(crate) holds: Holds,
    /// Whose booking is which.
    pub(crate) bookings: RefCell<Vec<String>>,
}

impl Work for BeforePayment {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let buyer = self.holds.buyer(number);
        let booking = self.holds.hold(number, &buyer.queue, connection).await?;
        self.bookings.borrow_mut()[number] = booking;
        charge(connection, buyer, "charge").await
    }
}

/// Paying for what is held.
pub(crate) struct Payments {
    pub(crate) buyers: Vec<Buyer>,
    pub(crate) bookings: Vec<String>,
}

impl Work for Payments {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let buyer = &self.buyers[number];
        pay(connection, buyer, &buyer.queue, &self.bookings[number]).await
    }
}

async fn pay(connection: &mut Connection, buyer: &Buyer, queue: &str, booking: &str) -> anyhow::Result<()> {
    let body = format!("{{\"bookingId\":\"{booking}\"}}");
    let call = Call {
        method: "POST",
        path: "/api/v1/payments",
        access: &buyer.access,
        queue,
        key: "pay",
        body: &body,
        ..Call::default()
    };
    let status = connection.send(&call).await?.status;
    ensure!(status == 201, "a payment was answered with {status}");
    Ok(())
}

/// A buyer's whole way: join, ask for the place, hold two seats, charge points, pay.
pub(crate) struct Journeys(pub(crate) Holds);

impl Work for Journeys {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let holds = &self.0;
        let buyer = holds.buyer(number);
        let queue = join(connection, holds.sale.concert.0, buyer).await?;
        poll(connection, &queue).await?;
        let booking = holds.hold(number, &queue, connection).await?;
        charge(connection, buyer, "charge").await?;
        pay(connection, buyer, &queue, &booking).await
    }
}

/// Each person wants some neighbouring seats, which others want too.
pub(crate) struct Contested<F> {
    pub(crate) sale: Rc<Sale>,
    pub(crate) buyers: Rc<[Buyer]>,
    /// The first seat that a person wants, and how many.
    pub(crate) wanted: F,
}

impl<F: Fn(usize) -> (usize, usize)> Work for Contested<F> {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let Buyer { access, queue, .. } = &self.buyers[number];
        let (first, count) = (self.wanted)(number);
        let seats: Vec<_> = self.sale.seats[first..first + count].iter().map(u64::to_string).collect();
        let body = format!("{{\"performanceId\":{},\"seatIds\":[{}]}}", self.sale.performance, seats.join(","));
        let key = format!("hold-{}", seats[0]);
        let call =
            Call { method: "POST", path: "/api/v1/bookings", access, queue, key: &key, body: &body, ..Call::default() };
        let status = connection.send(&call).await?.status;
        ensure!(matches!(status, 201 | 409), "a hold was answered with {status}");
        Ok(())
    }
}

/// Looking at the seats of a performance, by people who may, and who have or haven't seen them as they are.
pub(crate) struct SeatMaps {
    pub(crate) path: String,
    pub(crate) buyers: Vec<Buyer>,
    pub(crate) etag: String,
}

impl SeatMaps {
    /// The `ETag` of the seats as they are now.
    pub(crate) async fn etag(&self, connection: &mut Connection) -> anyhow::Result<String> {
        let answer = self.look(&self.buyers[0], connection).await?;
        ensure!(answer.status == 200, "the seats were answered with {}", answer.status);
        Ok(answer.header("etag").context("an ETag")?.to_owned())
    }

    async fn look<'a>(&self, buyer: &Buyer, connection: &'a mut Connection) -> anyhow::Result<Answer<'a>> {
        let Buyer { access, queue, .. } = buyer;
        let call = Call { method: "GET", path: &self.path, access, queue, etag: &self.etag, ..Call::default() };
        connection.send(&call).await
    }
}

impl Work for SeatMaps {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let status = self.look(&self.buyers[number % self.buyers.len()], connection).await?.status;
        let expected = if self.etag.is_empty() { 200 } else { 304 };
        ensure!(status == expected, "the seats were answered with {status}");
        Ok(())
    }
}
