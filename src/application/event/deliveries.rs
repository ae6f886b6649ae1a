//! The claims and settlements of deliveries: short transactions on the few connections that the relay may use.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    application::{Ports, database_loss::or_unavailable_within, error::AppError},
    domain::{
        clock::Instant,
        event::{
            AttemptOutcome, Chain, ClaimPlan, ClaimedEvent, DeliverySettlement, Destination, EventSender, NextStep,
            RetryPolicy,
        },
        id::{EventId, WebhookId},
        randomness::below,
    },
};

/// The most connections that the relay of an instance uses at once, however many receivers there are.
const MAX_CONNECTIONS: usize = 2;

/// The duration of a lease: twice the longest time for a chain. The reserve covers clock differences between instances
/// and a slow database.
const LEASE_DURATION: TimeDelta = TimeDelta::seconds(60);

/// The state that the relay and its workers share.
pub(super) struct Deliveries {
    pub(super) ports: Ports,
    pub(super) sender: Arc<dyn EventSender>,
    retry: RetryPolicy,
    connections: Semaphore,
    transaction_timeout: Duration,
}

/// The changes that settle the attempts of one worker.
#[derive(Default)]
pub(super) struct DeliverySettlements {
    delivered: Vec<EventId>,
    others: Vec<DeliverySettlement>,
    /// A webhook whose receiver accepts no more events.
    gone: Option<WebhookId>,
}

impl Deliveries {
    pub(super) fn new(
        ports: Ports,
        sender: Arc<dyn EventSender>,
        retry: RetryPolicy,
        transaction_timeout: Duration,
    ) -> Self {
        Self { ports, sender, retry, connections: Semaphore::new(MAX_CONNECTIONS), transaction_timeout }
    }

    /// Runs work on one of the connections that the relay may use. Work that exceeds the time limit gives it up, or two
    /// silent connections would end the sending of events.
    pub(super) async fn on_connection<T>(
        &self,
        work: impl Future<Output = Result<T, AppError>>,
    ) -> Result<T, AppError> {
        // It doesn't fail, since the semaphore is never closed.
        let _permit = self.connections.acquire().await;
        or_unavailable_within(&*self.ports.database, self.transaction_timeout, work).await?
    }

    /// Leases at most `limit` due deliveries. Returns the number of deliveries that it examined, and the chains to
    /// send.
    pub(super) async fn claim(
        &self,
        destination: Destination,
        lease: Uuid,
        limit: u32,
        now: Instant,
    ) -> Result<(usize, Vec<Chain>), AppError> {
        self.on_connection(async {
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
        })
        .await
    }

    /// Settles the deliveries that the lease still holds.
    pub(super) async fn settle(
        &self,
        destination: Destination,
        lease: Uuid,
        settlements: &DeliverySettlements,
    ) -> Result<(), AppError> {
        self.on_connection(async {
            let mut uow = self.ports.database.begin().await?;
            uow.deliveries().settle_delivered(destination, lease, &settlements.delivered).await?;
            for settlement in &settlements.others {
                uow.deliveries().settle(destination, lease, settlement).await?;
            }
            if let Some(id) = settlements.gone {
                uow.webhooks().disable(id, self.ports.now()).await?;
            }
            Ok(uow.commit().await?)
        })
        .await
    }

    /// Ends the leases of deliveries that weren't attempted.
    pub(super) async fn release(&self, destination: Destination, lease: Uuid, ids: &[EventId]) -> Result<(), AppError> {
        if ids.is_empty() {
            return Ok(());
        }
        let now = self.ports.now();
        self.on_connection(async {
            let mut uow = self.ports.database.begin().await?;
            uow.deliveries().release(destination, lease, ids, now).await?;
            Ok(uow.commit().await?)
        })
        .await
    }

    /// The percentage of a backoff that is waited: 75 to 125.
    fn jitter_percent(&self) -> u8 {
        75 + u8::try_from(below(&*self.ports.randomness, 51)).unwrap_or(0)
    }
}

impl DeliverySettlements {
    /// Adds the outcome of an attempt. Returns the delivery's next step by the retry policy.
    pub(super) fn apply_outcome(
        &mut self,
        deliveries: &Deliveries,
        destination: Destination,
        claimed: &ClaimedEvent,
        outcome: &AttemptOutcome,
        now: Instant,
    ) -> NextStep {
        let next_step = deliveries.retry.decide(claimed.attempts, outcome.clone(), now, deliveries.jitter_percent());
        if let (AttemptOutcome::Gone, Destination::Webhook(id)) = (outcome, destination) {
            self.gone = Some(id);
        }
        let event_id = claimed.event.id;
        let attempts = claimed.attempts.saturating_add(1);
        let word = match &next_step {
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
        next_step
    }

    /// Adds a delivery that wasn't attempted.
    pub(super) fn add_unattempted(&mut self, claimed: &ClaimedEvent, next_attempt_at: Instant) {
        self.others.push(DeliverySettlement {
            event_id: claimed.event.id,
            attempts: claimed.attempts,
            is_parked: false,
            next_attempt_at,
            error: None,
        });
    }
}
