//! The workloads of the scenarios.

use std::{cell::RefCell, collections::HashSet, rc::Rc};

use anyhow::{Context, ensure};

use crate::{
    client::{Connection, Request, Response},
    fixture::{Buyer, Sale},
    load::Workload,
    statistics::to_f64,
};

/// The distance in pairs between the seats of consecutive holds; a prime.
const STRIDE: usize = 7_919;

/// Queue polls.
pub(crate) struct Polls {
    pub(crate) buyers: Vec<Buyer>,
}

impl Workload for Polls {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let buyer = &self.buyers[index % self.buyers.len()];
        poll(connection, &buyer.queue_token).await
    }
}

async fn poll(connection: &mut Connection, queue_token: &str) -> anyhow::Result<()> {
    let request = Request { method: "GET", path: "/api/v1/queue/tokens/current", queue_token, ..Request::default() };
    let status = connection.send(&request).await?.status;
    ensure!(status == 200, "a poll was answered with {status}");
    Ok(())
}

/// Joins of a queue, each by another user.
pub(crate) struct Joins {
    pub(crate) concert: u64,
    pub(crate) buyers: Vec<Buyer>,
}

impl Workload for Joins {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        join(connection, self.concert, &self.buyers[index]).await?;
        Ok(())
    }
}

pub(crate) async fn join(connection: &mut Connection, concert: u64, buyer: &Buyer) -> anyhow::Result<String> {
    let body = format!("{{\"concertId\":{concert}}}");
    let request = Request {
        method: "POST",
        path: "/api/v1/queue/tokens",
        access_token: &buyer.access_token,
        body: &body,
        ..Request::default()
    };
    let response = connection.send(&request).await?;
    // 200: the server committed an earlier attempt whose answer was lost.
    ensure!(matches!(response.status, 200 | 201), "a join was answered with {}", response.status);
    response.string_member("queueToken")
}

/// Holds of two seats. Each pair is held once, and consecutive pairs are far apart.
pub(crate) struct Holds {
    pub(crate) sale: Sale,
    pub(crate) buyers: Vec<Buyer>,
}

impl Holds {
    /// A stride coprime to the number of pairs visits each pair once.
    fn pair(&self, index: usize) -> [u64; 2] {
        let pairs = self.sale.seats.len() / 2;
        let first = index * STRIDE % pairs * 2;
        [self.sale.seats[first], self.sale.seats[first + 1]]
    }

    fn buyer(&self, index: usize) -> &Buyer {
        &self.buyers[index % self.buyers.len()]
    }

    async fn hold(&self, index: usize, queue_token: &str, connection: &mut Connection) -> anyhow::Result<String> {
        let [one, other] = self.pair(index);
        let body = format!("{{\"performanceId\":{},\"seatIds\":[{one},{other}]}}", self.sale.performance);
        let (access_token, key) = (&self.buyer(index).access_token, format!("hold-{index}"));
        let request = Request {
            method: "POST",
            path: "/api/v1/bookings",
            access_token,
            queue_token,
            idempotency_key: &key,
            body: &body,
            ..Request::default()
        };
        let response = connection.send(&request).await?;
        ensure!(response.status == 201, "a hold was answered with {}", response.status);
        response.string_member("bookingId")
    }

    /// Describes the load; fails if a seat is held twice.
    pub(crate) fn describe(&self, count: usize) -> anyhow::Result<String> {
        let seats: HashSet<u64> = (0..count).flat_map(|index| self.pair(index)).collect();
        ensure!(seats.len() == count * 2, "{} different seats in {count} holds of 2", seats.len());
        let users: HashSet<_> = (0..count).map(|index| self.buyer(index).id).collect();
        let place = |index: usize| to_f64(index * STRIDE % (self.sale.seats.len() / 2) * 2);
        let apart = (1..count).map(|index| (place(index) - place(index - 1)).abs()).sum::<f64>() / to_f64(count);
        Ok(format!(
            "{count} holds by {} users of {} distinct seats; consecutive requests are {apart:.0} seats apart",
            users.len(),
            seats.len()
        ))
    }
}

impl Workload for Holds {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        self.hold(index, &self.buyer(index).queue_token, connection).await?;
        Ok(())
    }
}

async fn charge(connection: &mut Connection, buyer: &Buyer, key: &str) -> anyhow::Result<()> {
    let request = Request {
        method: "POST",
        path: "/api/v1/points/charges",
        access_token: &buyer.access_token,
        idempotency_key: key,
        body: "{\"amount\":\"100000\"}",
        ..Request::default()
    };
    let status = connection.send(&request).await?.status;
    ensure!(status == 201, "a charge was answered with {status}");
    Ok(())
}

/// Charges of points, spread over the wallets of all buyers.
pub(crate) struct Charges {
    pub(crate) buyers: Vec<Buyer>,
    /// Makes the idempotency keys of two rounds differ.
    pub(crate) round: String,
}

impl Workload for Charges {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let buyer = &self.buyers[index % self.buyers.len()];
        charge(connection, buyer, &format!("charge-{}-{index}", self.round)).await
    }
}

/// Holds and charges that prepare payments.
pub(crate) struct HoldsAndCharges {
    pub(crate) holds: Holds,
    /// The booking ids, by index.
    pub(crate) bookings: RefCell<Vec<String>>,
}

impl Workload for HoldsAndCharges {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let buyer = self.holds.buyer(index);
        let booking = self.holds.hold(index, &buyer.queue_token, connection).await?;
        self.bookings.borrow_mut()[index] = booking;
        charge(connection, buyer, "charge").await
    }
}

/// Payments of held bookings.
pub(crate) struct Payments {
    pub(crate) buyers: Vec<Buyer>,
    pub(crate) bookings: Vec<String>,
}

impl Workload for Payments {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let buyer = &self.buyers[index];
        pay(connection, buyer, &buyer.queue_token, &self.bookings[index]).await
    }
}

async fn pay(connection: &mut Connection, buyer: &Buyer, queue_token: &str, booking: &str) -> anyhow::Result<()> {
    let body = format!("{{\"bookingId\":\"{booking}\"}}");
    let request = Request {
        method: "POST",
        path: "/api/v1/payments",
        access_token: &buyer.access_token,
        queue_token,
        idempotency_key: "pay",
        body: &body,
        ..Request::default()
    };
    let status = connection.send(&request).await?.status;
    ensure!(status == 201, "a payment was answered with {status}");
    Ok(())
}

/// Complete purchases: join, poll, hold two seats, charge points, pay.
pub(crate) struct Journeys(pub(crate) Holds);

impl Workload for Journeys {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let holds = &self.0;
        let buyer = holds.buyer(index);
        let queue_token = join(connection, holds.sale.concert.0, buyer).await?;
        poll(connection, &queue_token).await?;
        let booking = holds.hold(index, &queue_token, connection).await?;
        charge(connection, buyer, "charge").await?;
        pay(connection, buyer, &queue_token, &booking).await
    }
}

/// Holds of adjacent seats that other users request too.
pub(crate) struct Contested<F> {
    pub(crate) sale: Rc<Sale>,
    pub(crate) buyers: Rc<[Buyer]>,
    /// The index of the first seat and the number of seats, by index of the user.
    pub(crate) selection: F,
}

impl<F: Fn(usize) -> (usize, usize)> Workload for Contested<F> {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let Buyer { access_token, queue_token, .. } = &self.buyers[index];
        let (first, count) = (self.selection)(index);
        let seats: Vec<_> = self.sale.seats[first..first + count].iter().map(u64::to_string).collect();
        let body = format!("{{\"performanceId\":{},\"seatIds\":[{}]}}", self.sale.performance, seats.join(","));
        let key = format!("hold-{}", seats[0]);
        let request = Request {
            method: "POST",
            path: "/api/v1/bookings",
            access_token,
            queue_token,
            idempotency_key: &key,
            body: &body,
            ..Request::default()
        };
        let status = connection.send(&request).await?.status;
        ensure!(matches!(status, 201 | 409), "a hold was answered with {status}");
        Ok(())
    }
}

/// Reads of a performance's seat map by admitted users, with or without its current `ETag`.
pub(crate) struct SeatMaps {
    pub(crate) path: String,
    pub(crate) buyers: Vec<Buyer>,
    /// Empty for complete responses.
    pub(crate) etag: String,
}

impl SeatMaps {
    /// Reads the current `ETag`.
    pub(crate) async fn read_etag(&self, connection: &mut Connection) -> anyhow::Result<String> {
        let response = self.request(&self.buyers[0], connection).await?;
        ensure!(response.status == 200, "a seat map was answered with {}", response.status);
        Ok(response.header("etag").context("an ETag")?.to_owned())
    }

    async fn request<'a>(&self, buyer: &Buyer, connection: &'a mut Connection) -> anyhow::Result<Response<'a>> {
        let Buyer { access_token, queue_token, .. } = buyer;
        let request = Request {
            method: "GET",
            path: &self.path,
            access_token,
            queue_token,
            etag: &self.etag,
            ..Request::default()
        };
        connection.send(&request).await
    }
}

impl Workload for SeatMaps {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let status = self.request(&self.buyers[index % self.buyers.len()], connection).await?.status;
        let expected = if self.etag.is_empty() { 200 } else { 304 };
        ensure!(status == expected, "a seat map was answered with {status}");
        Ok(())
    }
}
