//! Sending to one receiver: a bounded number of events at once, each booking's in order.
//!
//! Claiming gives this worker a lease in a short transaction, sending happens outside of any, and what came of it is
//! written in another. Whoever is killed in between leaves leases that run out; then somebody else sends once more.

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant as Stopwatch, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::relay::{EventRelay, MAX_PAUSE, POLL_INTERVAL};
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        event::{AttemptOutcome, Chain, ClaimPlan, ClaimedEvent, DeliverySettlement, Destination, NextStep, Receiver},
        id::{EventId, WebhookId},
        randomness::new_uuid,
    },
};

/// How many streams are sent at once to one receiver.
const MAX_IN_FLIGHT: usize = 32;

/// How long a lease lasts: the longest that a chain takes, and as much again for clocks that differ and a database that
/// is slow.
const LEASE_DURATION: TimeDelta = TimeDelta::seconds(60);

/// For how long the next event of a chain is still begun. With the last attempt's timeout it stays within the lease.
const CHAIN_TIME_BUDGET: Duration = Duration::from_secs(20);

/// After so many failures in a row a receiver counts as down …
const FAILURES_UNTIL_DOWN: u32 = 16;

/// … and is sent only so much at once, with pauses: it costs little, and is found again soon.
const MAX_IN_FLIGHT_DOWN: usize = 2;
const PAUSE_DOWN: Duration = Duration::from_millis(100);

/// The longest that a receiver is left alone as a whole because it asked to.
const MAX_RECEIVER_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// How long a worker that is told to stop waits for what it has sent.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a chain.
struct ChainResult {
    tried: Vec<(ClaimedEvent, AttemptOutcome)>,
    untried: Chain,
}

/// What a look for work came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClaimResult {
    /// All that is due was claimed.
    Everything,
    /// There may be more.
    Some,
}

/// Sends to one receiver.
pub(super) struct Worker {
    relay: Arc<EventRelay>,
    receiver: Arc<Receiver>,
    wake: Arc<Notify>,
    stop: CancellationToken,
    lease: Uuid,
    in_flight: JoinSet<ChainResult>,
    /// What is leased and not settled.
    leased: BTreeSet<EventId>,
    /// What is still to be written down.
    sent: Vec<ChainResult>,
    failures_in_row: u32,
    /// The receiver asked to be left alone until then.
    receiver_paused_until: Option<Instant>,
    /// No claim before that.
    next_claim_at: Option<Stopwatch>,
}

impl Worker {
    pub(super) fn new(relay: Arc<EventRelay>, receiver: Receiver, wake: Arc<Notify>, stop: CancellationToken) -> Self {
        let lease = new_uuid(&*relay.ports.randomness, relay.ports.now());
        Self {
            relay,
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

    /// Sends until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut pause = POLL_INTERVAL;
        while !self.stop.is_cancelled() {
            pause = match self.run_until_idle().await {
                Ok(()) => POLL_INTERVAL,
                Err(error) => {
                    metrics::counter!("job_failures_total", "name" => "delivery").increment(1);
                    let destination = self.destination();
                    tracing::warn!(%destination, error = &error as &dyn std::error::Error, "a delivery was held up");
                    (pause * 2).min(MAX_PAUSE)
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
            tracing::warn!(%destination, error = &error as &dyn std::error::Error, "leases are left to run out");
        }
    }

    /// Sends until nothing is due and nothing is under way, or until it is told to stop.
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

    /// Waits a little for what is under way, and gives the rest back: it may then arrive twice, which receivers know
    /// from its id.
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
        self.relay.release(self.destination(), self.lease, &rest).await
    }

    fn destination(&self) -> Destination {
        self.receiver.destination
    }

    /// How many more may be sent at once.
    fn free_slots(&self) -> usize {
        let limit = if self.failures_in_row >= FAILURES_UNTIL_DOWN { MAX_IN_FLIGHT_DOWN } else { MAX_IN_FLIGHT };
        limit.saturating_sub(self.in_flight.len())
    }

    /// Claims what there is room for, and begins to send it.
    async fn claim(&mut self) -> Result<ClaimResult, AppError> {
        let now = self.relay.ports.now();
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
        let (looked_at, chains) = self.relay.claim(self.destination(), self.lease, limit, now).await?;
        for chain in chains {
            self.leased.extend(chain.iter().map(|claimed| claimed.event.id));
            let (relay, receiver) = (Arc::clone(&self.relay), Arc::clone(&self.receiver));
            self.in_flight.spawn(send(relay, receiver, chain, self.stop.clone()));
        }
        Ok(if looked_at < free_slots { ClaimResult::Everything } else { ClaimResult::Some })
    }

    /// Writes down what has come of what was sent.
    async fn settle(&mut self) -> Result<(), AppError> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let now = self.relay.ports.now();
        let mut settled = DeliverySettlements::default();
        for ChainResult { tried, untried } in &self.sent {
            // What wasn't tried follows what failed before it, or is free at once.
            let mut next = now;
            for (claimed, outcome) in tried {
                let verdict = settled.apply_outcome(&self.relay, self.destination(), claimed, outcome, now);
                if let NextStep::Retry { at, .. } = verdict {
                    next = at;
                }
            }
            settled.others.extend(untried.iter().map(|claimed| unattempted_settlement(claimed, next)));
        }
        self.relay.settle(self.destination(), self.lease, &settled).await?;
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
            AttemptOutcome::Accepted => {
                self.failures_in_row = 0;
                self.next_claim_at = None;
            }
            AttemptOutcome::Failed { retry_after, .. } => {
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                self.receiver_paused_until =
                    retry_after.map(|wish| now + wish.min(MAX_RECEIVER_PAUSE)).or(self.receiver_paused_until);
            }
            AttemptOutcome::Gone => self.stop.cancel(),
        }
    }
}

/// Sends the events of a stream until one fails.
async fn send(relay: Arc<EventRelay>, receiver: Arc<Receiver>, chain: Chain, stop: CancellationToken) -> ChainResult {
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
        let outcome = relay.sender.send(&receiver, &claimed.event, relay.ports.now()).await;
        let kind = receiver.destination.kind();
        metrics::histogram!("event_attempt_seconds", "destination" => kind).record(began.elapsed().as_secs_f64());
        continues = outcome == AttemptOutcome::Accepted;
        sent.tried.push((claimed, outcome));
    }
    sent
}

fn unattempted_settlement(claimed: &ClaimedEvent, next_attempt_at: Instant) -> DeliverySettlement {
    DeliverySettlement {
        event_id: claimed.event.id,
        attempts: claimed.attempts,
        is_parked: false,
        next_attempt_at,
        error: None,
    }
}

/// What is to be written down.
#[derive(Default)]
pub(super) struct DeliverySettlements {
    pub(super) delivered: Vec<EventId>,
    pub(super) others: Vec<DeliverySettlement>,
    /// The webhook that wants no more events.
    pub(super) gone: Option<WebhookId>,
}

impl DeliverySettlements {
    fn apply_outcome(
        &mut self,
        relay: &EventRelay,
        destination: Destination,
        claimed: &ClaimedEvent,
        outcome: &AttemptOutcome,
        now: Instant,
    ) -> NextStep {
        let verdict = relay.settings.retry.decide(claimed.attempts, outcome.clone(), now, relay.jitter_percent());
        if let (AttemptOutcome::Gone, Destination::Webhook(id)) = (outcome, destination) {
            self.gone = Some(id);
        }
        let event_id = claimed.event.id;
        let attempts = claimed.attempts.saturating_add(1);
        let word = match &verdict {
            NextStep::Delivered => {
                self.delivered.push(event_id);
                "delivered"
            }
            NextStep::Retry { at, error } => {
                let error = Some(error.clone());
                self.others.push(DeliverySettlement {
                    event_id,
                    attempts,
                    is_parked: false,
                    next_attempt_at: *at,
                    error,
                });
                "failed"
            }
            NextStep::Parked { error } => {
                tracing::warn!(event_id = %event_id, %destination, %error, "an event is parked");
                let error = Some(error.clone());
                self.others.push(DeliverySettlement {
                    event_id,
                    attempts,
                    is_parked: true,
                    next_attempt_at: now,
                    error,
                });
                "parked"
            }
        };
        metrics::counter!("event_attempts_total", "destination" => destination.kind(), "outcome" => word).increment(1);
        verdict
    }
}

impl EventRelay {
    /// Leases what is due; tells how many deliveries were looked at, and what is to be sent.
    async fn claim(
        &self,
        destination: Destination,
        lease: Uuid,
        limit: u32,
        now: Instant,
    ) -> Result<(usize, Vec<Chain>), AppError> {
        let _permit = self.acquire_connection_permit().await;
        if !self.ports.database.read().await?.deliveries().has_due(destination, now).await? {
            return Ok((0, Vec::new()));
        }
        let mut uow = self.ports.database.begin().await?;
        let candidates = uow.deliveries().claim_due(destination, now, limit).await?;
        let looked_at = candidates.len();
        let ClaimPlan { chains, postponed } = ClaimPlan::of(candidates, now);
        let ids: Vec<_> = chains.iter().flatten().map(|claimed| claimed.event.id).collect();
        uow.deliveries().lease(destination, &ids, lease, now + LEASE_DURATION).await?;
        uow.deliveries().postpone(destination, &postponed).await?;
        uow.commit().await?;
        Ok((looked_at, chains))
    }

    async fn settle(
        &self,
        destination: Destination,
        lease: Uuid,
        settled: &DeliverySettlements,
    ) -> Result<(), AppError> {
        let _permit = self.acquire_connection_permit().await;
        let mut uow = self.ports.database.begin().await?;
        uow.deliveries().settle_delivered(destination, lease, &settled.delivered).await?;
        for settlement in &settled.others {
            uow.deliveries().settle(destination, lease, settlement).await?;
        }
        if let Some(id) = settled.gone {
            uow.webhooks().disable(id, self.ports.now()).await?;
        }
        Ok(uow.commit().await?)
    }

    async fn release(&self, destination: Destination, lease: Uuid, ids: &[EventId]) -> Result<(), AppError> {
        if ids.is_empty() {
            return Ok(());
        }
        let now = self.ports.now();
        let _permit = self.acquire_connection_permit().await;
        let mut uow = self.ports.database.begin().await?;
        uow.deliveries().release(destination, lease, ids, now).await?;
        Ok(uow.commit().await?)
    }
}
