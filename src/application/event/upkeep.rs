//! The upkeep of events: deletes events that are delivered to every receiver, and parks deliveries whose receiver no
//! longer exists.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use chrono::TimeDelta;

use crate::{
    application::{
        Ports,
        error::{AppError, any},
    },
    domain::{
        clock::Instant,
        event::Destination,
        id::{EventId, WebhookId},
    },
};

/// The most rows that one transaction deletes or parks.
const BATCH: u32 = 500;

/// The interval at which the search for removable events restarts, since events that were pending may be delivered by
/// then.
const SEARCH_RESTART_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// A time within which every pending delivery is due.
const LATER: TimeDelta = TimeDelta::days(365);

/// The retention of events.
#[derive(Clone, Copy, Debug)]
pub struct EventRetention {
    /// The time after the dispatch of an event that is delivered to every receiver. For undelivered events of a webhook
    /// it is the time after the webhook's end.
    pub delivered: TimeDelta,
    /// The time after an event with a parked delivery; `None` keeps it forever.
    pub parked: Option<TimeDelta>,
}

/// The position of the search for removable events.
#[derive(Clone, Copy, Debug)]
struct RemovalCursor {
    begun_at: Instant,
    after: Option<(Instant, EventId)>,
}

/// The upkeep of events.
pub struct EventUpkeep {
    ports: Ports,
    retention: EventRetention,
    cursor: Mutex<Option<RemovalCursor>>,
}

impl EventUpkeep {
    /// Upkeep with this retention. Events with pending deliveries are always kept.
    pub fn new(ports: Ports, retention: EventRetention) -> Self {
        Self { ports, retention, cursor: Mutex::new(None) }
    }

    /// Deletes a batch of events, and parks a batch of deliveries. Returns whether more may be left. Any number of
    /// instances may run it concurrently.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone: the first failure, after everything was attempted.
    pub async fn run(&self) -> Result<bool, AppError> {
        any([self.end_deliveries().await, self.remove_old().await])
    }

    /// Examines a batch of old events, and deletes those that are delivered to every receiver, or whose parked
    /// deliveries are past their retention. The next batch continues after this one, so a large number of kept events
    /// doesn't hide removable ones.
    async fn remove_old(&self) -> Result<bool, AppError> {
        let now = self.ports.now();
        let mut cursor = self.current_cursor(now);
        let mut uow = self.ports.database.begin().await?;
        let old = uow.outbox().claim_removable(now - self.retention.delivered, cursor.after, BATCH).await?;
        let ids: Vec<_> = old.iter().map(|event| event.id).collect();
        let horizon = self.retention.parked.map_or(Instant::UNIX_EPOCH, |parked| now - parked);
        let kept = uow.deliveries().list_kept(&ids, horizon).await?;
        let kept: HashSet<_> = kept.into_iter().collect();
        let removed: Vec<_> = old.iter().filter(|event| !kept.contains(&event.id)).collect();
        if let Some(latest) = removed.iter().map(|event| event.at).max() {
            let ids: Vec<_> = removed.iter().map(|event| event.id).collect();
            uow.outbox().remove(&ids, latest + TimeDelta::microseconds(1)).await?;
        }
        uow.commit().await?;
        cursor.after = old.last().map(|event| (event.dispatched_at, event.id)).or(cursor.after);
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
        Ok(old.len() >= BATCH as usize)
    }

    fn current_cursor(&self, now: Instant) -> RemovalCursor {
        let cursor = *self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        cursor
            .filter(|cursor| now - cursor.begun_at < SEARCH_RESTART_INTERVAL)
            .unwrap_or(RemovalCursor { begun_at: now, after: None })
    }

    /// Parks the pending deliveries of receivers that no longer exist, with one transaction for each receiver.
    async fn end_deliveries(&self) -> Result<bool, AppError> {
        let mut results = Vec::new();
        for destination in self.ports.receivers.unconfigured() {
            results.push(self.park_unconfigured(destination).await);
        }
        let ended = self.ports.database.read().await?.webhooks().list_ended().await?;
        for (id, ended_at) in ended {
            results.push(self.end_deliveries_of(id, ended_at).await);
        }
        any(results)
    }

    /// Parks deliveries to a destination that isn't configured here, once they have been due for the whole retention.
    /// Until then another instance may still deliver them.
    async fn park_unconfigured(&self, destination: Destination) -> Result<bool, AppError> {
        let horizon = self.ports.now() - self.retention.delivered;
        let mut uow = self.ports.database.begin().await?;
        let reason = format!("{destination} is not configured any more");
        let parked = uow.deliveries().park(destination, horizon, &reason, BATCH).await?;
        uow.commit().await?;
        Ok(parked >= u64::from(BATCH))
    }

    /// Parks the pending deliveries of a webhook that ended, so that administrators see them and no event waits for
    /// them. Deletes them after the retention, so that they don't prolong that of their events.
    async fn end_deliveries_of(&self, id: WebhookId, ended_at: Instant) -> Result<bool, AppError> {
        let now = self.ports.now();
        let destination = Destination::Webhook(id);
        let mut uow = self.ports.database.begin().await?;
        let mut ended = uow.deliveries().park(destination, now + LATER, "the webhook has ended", BATCH).await?;
        let horizon = now - self.retention.delivered;
        if ended == 0 && ended_at < horizon {
            ended = uow.deliveries().remove_parked(destination, BATCH).await?;
            if ended == 0 {
                uow.webhooks().delete_ended(id, horizon).await?;
            }
        }
        uow.commit().await?;
        Ok(ended >= u64::from(BATCH))
    }
}
