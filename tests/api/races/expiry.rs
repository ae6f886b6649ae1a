//! Deadlines that pass during concurrent requests.
//!
//! The clock moves after some answers, while other requests are in flight and the last ones haven't begun. Small
//! batches make sure that the requests in flight don't all share one instant.

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use futures::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Client, Reply, Sale, Servers, TestApp, one_and_two_servers, race, skewed_clocks};

one_and_two_servers!(
    a_hold_expires_while_it_is_paid_and_another_user_requests_its_seats,
    paying_against_the_expiry_job,
    extending_against_expiry,
    cancelling_against_expiry,
    refunding_while_the_window_closes,
    blocking_against_expiry,
    expiry_jobs_against_each_other,
);
skewed_clocks!(
    a_hold_expires_while_it_is_paid_and_another_user_requests_its_seats,
    paying_against_the_expiry_job,
    extending_against_expiry,
    cancelling_against_expiry,
    blocking_against_expiry,
    expiry_jobs_against_each_other,
);

/// Transactions of a few commands each, so that a deadline falls between them.
const SMALL_BATCHES: &[(&str, &str)] = &[("LANE_BATCH_LIMIT", "3")];

const SEATS: usize = 40;

/// A buyer with 50,000 points who holds one seat at 50,000.
struct Holder {
    client: Client,
    seat: u64,
    booking_id: String,
}

impl Holder {
    async fn all(app: &TestApp, sale: &Sale) -> Vec<Self> {
        let buyers = app.buyers(sale, SEATS).await;
        let holds = buyers.into_iter().zip(&sale.seats).map(|(client, seat)| async move {
            client.charge("50000").await;
            let booking = client.hold(sale.performance_id, &[*seat]).await.expect(201);
            Self { client, seat: *seat, booking_id: booking.text("bookingId") }
        });
        join_all(holds).await
    }

    async fn status(&self) -> String {
        self.client.booking(&self.booking_id).await["status"].as_str().unwrap().to_owned()
    }

    /// Asserts that the booking is either paid or expired.
    async fn assert_paid_or_expired(&self, payment: &Reply) -> bool {
        let (status, balance) = (self.status().await, self.client.balance().await);
        match (payment.status.as_u16(), payment.code().as_str()) {
            (201, _) => assert_eq!((status.as_str(), balance.as_str()), ("CONFIRMED", "0")),
            (410, "HOLD_EXPIRED") => assert_eq!((status.as_str(), balance.as_str()), ("EXPIRED", "50000")),
            _ => panic!("{payment:?}"),
        }
        payment.status == 201
    }
}

async fn pay(client: Client, booking_id: String) -> Reply {
    client.pay(&booking_id, "key").await
}

async fn extend(client: Client, booking_id: String) -> Reply {
    client.post(&format!("/api/v1/bookings/{booking_id}/extend"), json!({})).await
}

async fn cancel(client: Client, booking_id: String) -> Reply {
    client.post(&format!("/api/v1/bookings/{booking_id}/cancel"), json!({})).await
}

/// Runs the requests, half of them at once. Moves the clock to the holds' deadline after `answers` answers:
/// no request begins in between.
async fn with_the_deadline_after<F>(app: &Arc<TestApp>, answers: usize, requests: Vec<F>) -> Vec<Reply>
where
    F: Future<Output = Reply> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(requests.len() / 2));
    let answered = Arc::new(Mutex::new(0));
    let runners = requests.into_iter().map(|request| {
        let (app, places, answered) = (Arc::clone(app), Arc::clone(&places), Arc::clone(&answered));
        async move {
            let _place = places.acquire().await.unwrap();
            let reply = request.await;
            let mut answered = answered.lock().unwrap();
            *answered += 1;
            if *answered == answers {
                app.advance(300);
            }
            reply
        }
    });
    race(runners).await
}

/// Lets all deadlines pass, on every clock.
fn let_every_hold_end(app: &TestApp) {
    app.clock.advance(TimeDelta::seconds(5));
}

/// Runs the expiry job every other time, on alternating servers.
async fn expire_some(app: &TestApp, number: usize) {
    if number % 2 == 1 {
        let instance = &app.instances[number / 2 % app.instances.len()];
        instance.shared.bookings.expire_holds(5).await.unwrap();
    }
}

async fn a_hold_expires_while_it_is_paid_and_another_user_requests_its_seats(servers: Servers) {
    let app = Arc::new(servers.start_with(SMALL_BATCHES));
    let sale = app.sale(4, 10).await;
    let holders = Holder::all(&app, &sale).await;
    let next = app.buyers(&sale, SEATS).await;
    let mut requests: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (holder, next) in holders.iter().zip(&next) {
        requests.push(Box::pin(pay(holder.client.clone(), holder.booking_id.clone())));
        let (client, performance_id, seat) = (next.clone(), sale.performance_id, holder.seat);
        requests.push(Box::pin(async move { client.hold(performance_id, &[seat]).await }));
    }
    let replies = with_the_deadline_after(&app, 20, requests).await;
    let_every_hold_end(&app);
    let mut expired = 0;
    for ((replies, holder), next) in replies.chunks(2).zip(&holders).zip(&next) {
        let paid = holder.assert_paid_or_expired(&replies[0]).await;
        expired += usize::from(!paid);
        match (replies[1].status.as_u16(), paid) {
            (201, false) => {
                let booking = next.booking(&replies[1].text("bookingId")).await;
                assert_eq!(booking["status"], "PENDING");
            }
            (201, true) => panic!("sold, and given to the next one"),
            (409, true) => {
                assert_eq!(replies[1].code(), "SEATS_UNAVAILABLE");
                next.hold(sale.performance_id, &[holder.seat]).await.expect_problem(409, "SEATS_UNAVAILABLE");
            }
            // No job has run.
            (409, false) => drop(next.hold(sale.performance_id, &[holder.seat]).await.expect(201)),
            _ => panic!("{:?}", replies[1]),
        }
    }
    assert!(expired > 0, "the deadline came too late for a race");
    assert_eq!(sale.available(&next[0]).await, 0);
    app.assert_invariants_hold().await;
    app.tick().await;
    app.assert_invariants_hold().await;
}

/// The result of a race between the expiry jobs and forty users, each with a request about the own booking.
struct AgainstExpiry {
    app: Arc<TestApp>,
    sale: Sale,
    answers: Vec<(Holder, Reply)>,
}

impl AgainstExpiry {
    async fn run<F>(servers: &Servers, request: impl Fn(Client, String) -> F) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let app = Arc::new(servers.start_with(SMALL_BATCHES));
        let sale = app.sale(4, 10).await;
        let holders = Holder::all(&app, &sale).await;
        let requests = holders.iter().enumerate().map(|(number, holder)| {
            let (app, request) = (Arc::clone(&app), request(holder.client.clone(), holder.booking_id.clone()));
            async move {
                expire_some(&app, number).await;
                request.await
            }
        });
        let replies = with_the_deadline_after(&app, 10, requests.collect()).await;
        let_every_hold_end(&app);
        app.tick().await;
        Self { app, sale, answers: holders.into_iter().zip(replies).collect() }
    }

    /// Asserts the number of expired bookings and of free seats.
    async fn assert_invariants_hold(&self, expired: u64, available: u64) {
        assert!(expired > 0, "the deadline came too late for a race");
        assert_eq!(self.sale.available(&self.answers[0].0.client).await, available);
        self.app.assert_invariants_hold().await;
    }
}

async fn paying_against_the_expiry_job(servers: Servers) {
    let race = AgainstExpiry::run(&servers, pay).await;
    let mut expired = 0;
    for (holder, reply) in &race.answers {
        expired += u64::from(!holder.assert_paid_or_expired(reply).await);
    }
    race.assert_invariants_hold(expired, expired).await;
}

async fn extending_against_expiry(servers: Servers) {
    let race = AgainstExpiry::run(&servers, extend).await;
    let mut expired = 0;
    for (holder, reply) in &race.answers {
        match (reply.status.as_u16(), reply.code().as_str()) {
            (200, _) => {
                assert_eq!(holder.status().await, "PENDING");
                holder.client.pay(&holder.booking_id, "key").await.expect(201);
            }
            (410, "HOLD_EXPIRED") => {
                expired += 1;
                assert_eq!(holder.status().await, "EXPIRED");
                holder.client.pay(&holder.booking_id, "key").await.expect_problem(410, "HOLD_EXPIRED");
            }
            _ => panic!("{reply:?}"),
        }
    }
    race.assert_invariants_hold(expired, expired).await;
}

/// A hold is either cancelled in time or expired, and its seat is free either way.
async fn cancelling_against_expiry(servers: Servers) {
    let race = AgainstExpiry::run(&servers, cancel).await;
    let mut expired = 0;
    for (holder, reply) in &race.answers {
        match (reply.status.as_u16(), reply.code().as_str()) {
            (200, _) => assert_eq!(holder.status().await, "CANCELLED"),
            (409, "BOOKING_NOT_CANCELLABLE") => {
                expired += 1;
                assert_eq!(holder.status().await, "EXPIRED");
            }
            _ => panic!("{reply:?}"),
        }
        assert_eq!(holder.client.balance().await, "50000");
    }
    race.assert_invariants_hold(expired, 40).await;
}

/// The refund window ends meanwhile: exactly the users with a 200 have their points back.
async fn refunding_while_the_window_closes(servers: Servers) {
    let app = Arc::new(servers.start_with(SMALL_BATCHES));
    let mut sale = app.sale(1, 1).await;
    let starts_at = app.now() + TimeDelta::hours(24) + TimeDelta::seconds(300);
    (sale.performance_id, sale.seats) = sale.add_performance(&app, &starts_at.to_rfc3339(), 4, 10).await;
    let holders = Holder::all(&app, &sale).await;
    for holder in &holders {
        holder.client.pay(&holder.booking_id, "key").await.expect(201);
    }
    let requests = holders.iter().map(|holder| cancel(holder.client.clone(), holder.booking_id.clone()));
    let replies = with_the_deadline_after(&app, 10, requests.collect()).await;
    let mut kept = 0;
    for (reply, holder) in replies.iter().zip(&holders) {
        let expected = match (reply.status.as_u16(), reply.code().as_str()) {
            (200, _) => ("REFUNDED", "50000"),
            (409, "REFUND_WINDOW_CLOSED") => ("CONFIRMED", "0"),
            _ => panic!("{reply:?}"),
        };
        kept += usize::from(expected.0 == "CONFIRMED");
        assert_eq!((holder.status().await.as_str(), holder.client.balance().await.as_str()), expected);
    }
    assert!(kept > 0, "the window closed too late for a race");
    app.assert_invariants_hold().await;
}

/// The seat of each hold is paid, or it is blocked once the hold is over: never both.
async fn blocking_against_expiry(servers: Servers) {
    let app = Arc::new(servers.start_with(SMALL_BATCHES));
    let sale = app.sale(4, 10).await;
    let admins = app.on_every_server(&app.admin().await);
    let holders = Holder::all(&app, &sale).await;
    let path = format!("/api/v1/admin/performances/{}/seats/block", sale.performance_id);
    let mut requests: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (number, holder) in holders.iter().enumerate() {
        let (admin, path) = (admins[number % admins.len()].clone(), path.clone());
        let block = json!({"seatIds": [holder.seat], "reason": "a race"});
        requests.push(Box::pin(pay(holder.client.clone(), holder.booking_id.clone())));
        requests.push(Box::pin(async move { admin.post(&path, block).await }));
    }
    let replies = with_the_deadline_after(&app, 20, requests).await;
    for (replies, holder) in replies.chunks(2).zip(&holders) {
        let [payment, block] = replies else { panic!("a payment and a block for each seat") };
        match block.status.as_u16() {
            200 => assert_eq!(payment.code(), "HOLD_EXPIRED", "{payment:?}"),
            _ => assert_eq!(block.code(), "SEATS_UNAVAILABLE", "{block:?}"),
        }
        holder.assert_paid_or_expired(payment).await;
    }
    let_every_hold_end(&app);
    app.assert_invariants_hold().await;
}

/// Many jobs run, and every hold expires once: one event each, which the audit counts.
async fn expiry_jobs_against_each_other(servers: Servers) {
    let app = Arc::new(servers.start());
    let sale = app.sale(4, 10).await;
    let holders = Holder::all(&app, &sale).await;
    app.advance(303);
    let jobs = (0..8).map(|number| {
        let app = Arc::clone(&app);
        async move {
            let mut expired = 0;
            loop {
                let instance = &app.instances[number % app.instances.len()];
                match instance.shared.bookings.expire_holds(3).await.unwrap() {
                    0 => return expired,
                    count => expired += count,
                }
            }
        }
    });
    let expired: u32 = race(jobs).await.into_iter().sum();
    assert_eq!(usize::try_from(expired).unwrap(), SEATS);
    for holder in &holders {
        assert_eq!(holder.status().await, "EXPIRED");
    }
    app.assert_invariants_hold().await;
}
