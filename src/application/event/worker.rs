//! The worker of one receiver: sends a bounded number of streams concurrently, and the events of a booking in order.
//!
//! A short transaction leases deliveries to the worker, the worker sends them outside of any transaction, and another
//! one settles the outcomes. The leases of a killed instance expire; then another worker sends the events again.

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant as Stopwatch, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    deliveries::{Deliveries, DeliverySettlements},
    pause::{POLL_INTERVAL, after_failure},
};
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        event::{AttemptOutcome, Chain, ClaimedEvent, Destination, NextStep, Receiver},
        id::EventId,
        randomness::new_uuid,
    },
};

/// The time within which a chain may start its next event. With the timeout of the last attempt it stays within the
/// lease.
const CHAIN_TIME_BUDGET: Duration = Duration::from_secs(20);

/// The number of consecutive failures after which a receiver counts as down.
const FAILURES_UNTIL_DOWN: u32 = 16;

/// The limits for a receiver that is down: few concurrent streams, and a pause between claims. Its recovery is still
/// detected soon.
const MAX_IN_FLIGHT_DOWN: usize = 2;
const PAUSE_DOWN: Duration = Duration::from_millis(100);

/// The longest pause of all deliveries that a receiver's `Retry-After` causes.
const MAX_RECEIVER_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// The time for which a stopping worker waits for requests in flight.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcomes of a chain.
struct ChainResult {
    tried: Vec<(ClaimedEvent, AttemptOutcome)>,
    untried: Chain,
}

/// The result of claiming.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClaimResult {
    /// Every due delivery is claimed.
    Everything,
    /// More deliveries may be due.
    Some,
}

/// Sends to one receiver.
pub(super) struct Worker {
    deliveries: Arc<Deliveries>,
    receiver: Arc<Receiver>,
    wake: Arc<Notify>,
    stop: CancellationToken,
    lease: Uuid,
    in_flight: JoinSet<ChainResult>,
    /// The leased deliveries that aren't settled yet.
    leased: BTreeSet<EventId>,
    /// Outcomes that aren't settled yet.
    sent: Vec<ChainResult>,
    failures_in_row: u32,
    /// The end of the pause that the receiver requested by `Retry-After`.
    receiver_paused_until: Option<Instant>,
    /// The earliest time of the next claim; `None` unless the receiver is down.
    next_claim_at: Option<Stopwatch>,
}

impl Worker {
    pub(super) fn new(
        deliveries: Arc<Deliveries>,
        receiver: Receiver,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) -> Self {
        let lease = new_uuid(&*deliveries.ports.randomness, deliveries.ports.now());
        Self {
            deliveries,
            receiver: Arc::new(receiver),
            wake,
            stop,
            lease,
            in_flight: JoinSet::new(),
            leased: BTreeSet::new(),
            sent: Vec::new(),
            failures_in_row: 0,
            receiver_paused_until: None,
            next_claim_at: None,
        }
    }

    /// Sends until `stop` is cancelled.
    pub(super) async fn run(mut self) {
        let mut pause = POLL_INTERVAL;
        while !self.stop.is_cancelled() {
            pause = match self.run_until_idle().await {
                Ok(()) => POLL_INTERVAL,
                Err(error) => {
                    metrics::counter!("job_failures_total", "name" => "delivery").increment(1);
                    let destination = self.destination();
                    tracing::warn!(%destination, error = &error as &dyn std::error::Error, "deliveries are delayed");
                    after_failure(pause)
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
        if let Err(error) = self.finish().await {
            let destination = self.destination();
            tracing::warn!(%destination, error = &error as &dyn std::error::Error, "leases are left to expire");
        }
    }

    /// Sends until no delivery is due and none is in flight, or until `stop` is cancelled.
    pub(super) async fn run_until_idle(&mut self) -> Result<(), AppError> {
        loop {
            self.settle().await?;
            let found = self.claim().await?;
            if found == ClaimResult::Everything && self.in_flight.is_empty() {
                return Ok(());
            }
            let pause = self.next_claim_at.map(|until| until.saturating_duration_since(Stopwatch::now()));
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Some(done) = self.in_flight.join_next() => {
                    self.sent.extend(done.ok());
                    while let Some(done) = self.in_flight.try_join_next() {
                        self.sent.extend(done.ok());
                    }
                }
                () = self.wake.notified() => {}
                () = sleep(pause.filter(|pause| !pause.is_zero()).unwrap_or(POLL_INTERVAL)) => {}
            }
        }
    }

    /// Waits up to [`SHUTDOWN_TIMEOUT`] for the requests in flight, and releases the other leases. An event in flight
    /// may arrive twice; receivers deduplicate it by its id.
    async fn finish(&mut self) -> Result<(), AppError> {
        let in_flight = &mut self.in_flight;
        let sent = &mut self.sent;
        let all = async {
            while let Some(done) = in_flight.join_next().await {
                sent.extend(done.ok());
            }
        };
        if timeout(SHUTDOWN_TIMEOUT, all).await.is_err() {
            self.in_flight.shutdown().await;
        }
        self.settle().await?;
        let rest: Vec<_> = mem::take(&mut self.leased).into_iter().collect();
        self.deliveries.release(self.destination(), self.lease, &rest).await
    }

    fn destination(&self) -> Destination {
        self.receiver.destination
    }

    /// The number of further streams that may be sent now.
    fn free_slots(&self) -> usize {
        let is_down = self.failures_in_row >= FAILURES_UNTIL_DOWN;
        let limit = if is_down { MAX_IN_FLIGHT_DOWN } else { self.destination().max_in_flight() };
        limit.saturating_sub(self.in_flight.len())
    }

    /// Claims deliveries for the free slots, and starts to send them.
    async fn claim(&mut self) -> Result<ClaimResult, AppError> {
        let now = self.deliveries.ports.now();
        if self.receiver_paused_until.is_some_and(|until| now < until) {
            return Ok(ClaimResult::Everything);
        }
        let paused = self.next_claim_at.is_some_and(|until| Stopwatch::now() < until);
        let free_slots = self.free_slots();
        if paused || free_slots == 0 {
            return Ok(ClaimResult::Some);
        }
        self.next_claim_at = (self.failures_in_row >= FAILURES_UNTIL_DOWN).then(|| Stopwatch::now() + PAUSE_DOWN);
        let limit = u32::try_from(free_slots).unwrap_or(1);
        let (looked_at, chains) = self.deliveries.claim(self.destination(), self.lease, limit, now).await?;
        for chain in chains {
            self.leased.extend(chain.iter().map(|claimed| claimed.event.id));
            let (deliveries, receiver) = (Arc::clone(&self.deliveries), Arc::clone(&self.receiver));
            self.in_flight.spawn(send(deliveries, receiver, chain, self.stop.clone()));
        }
        Ok(if looked_at < free_slots { ClaimResult::Everything } else { ClaimResult::Some })
    }

    /// Settles the outcomes.
    async fn settle(&mut self) -> Result<(), AppError> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let now = self.deliveries.ports.now();
        let mut settlements = DeliverySettlements::default();
        for ChainResult { tried, untried } in &self.sent {
            // The rest of a chain is due when its failed event is retried, or at once.
            let mut next = now;
            for (claimed, outcome) in tried {
                let next_step = settlements.apply_outcome(&self.deliveries, self.destination(), claimed, outcome, now);
                if let NextStep::Retry { at, .. } = next_step {
                    next = at;
                }
            }
            for claimed in untried {
                settlements.add_unattempted(claimed, next);
            }
        }
        self.deliveries.settle(self.destination(), self.lease, &settlements).await?;
        for ChainResult { tried, untried } in mem::take(&mut self.sent) {
            for (claimed, outcome) in &tried {
                self.leased.remove(&claimed.event.id);
                self.record_outcome(outcome, now);
            }
            for claimed in &untried {
                self.leased.remove(&claimed.event.id);
            }
        }
        Ok(())
    }

    fn record_outcome(&mut self, outcome: &AttemptOutcome, now: Instant) {
        match outcome {
            AttemptOutcome::Accepted | AttemptOutcome::Rejected { .. } => {
                self.failures_in_row = 0;
                self.next_claim_at = None;
            }
            AttemptOutcome::Failed { retry_after, .. } => {
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                self.receiver_paused_until =
                    retry_after.map(|pause| now + pause.min(MAX_RECEIVER_PAUSE)).or(self.receiver_paused_until);
            }
            AttemptOutcome::Gone => self.stop.cancel(),
        }
    }
}

/// Sends the events of a chain in order, until one isn't accepted, the time budget is used up, or the worker stops.
async fn send(
    deliveries: Arc<Deliveries>,
    receiver: Arc<Receiver>,
    chain: Chain,
    stop: CancellationToken,
) -> ChainResult {
    let started = Stopwatch::now();
    let mut sent = ChainResult { tried: Vec::new(), untried: Vec::new() };
    let mut continues = true;
    for claimed in chain {
        continues &= !stop.is_cancelled() && started.elapsed() < CHAIN_TIME_BUDGET;
        if !continues {
            sent.untried.push(claimed);
            continue;
        }
        let began = Stopwatch::now();
        let outcome = deliveries.sender.send(&receiver, &claimed.event, deliveries.ports.now()).await;
        let kind = receiver.destination.kind();
        metrics::histogram!("event_attempt_seconds", "destination" => kind).record(began.elapsed().as_secs_f64());
        continues = outcome == AttemptOutcome::Accepted;
        sent.tried.push((claimed, outcome));
    }
    sent
}
