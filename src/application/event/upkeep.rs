//! Tidying up after events: removing those that every receiver has, and ending deliveries whose receiver has ended.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use chrono::TimeDelta;

use crate::{
    application::{Ports, error::AppError},
    domain::{
        clock::Instant,
        event::Destination,
        id::{EventId, WebhookId},
    },
};

/// How many events one transaction removes or parks.
const BATCH: u32 = 500;

/// How often the search begins anew: what was still to be delivered then may be by now.
const SEARCH_RESTART_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// Later than any delivery is due.
const LATER: TimeDelta = TimeDelta::days(365);

/// How long events are kept.
#[derive(Clone, Copy, Debug)]
pub struct EventRetention {
    /// After they were handed out, once every receiver has them; what a webhook didn't get, after the webhook has ended.
    pub delivered: TimeDelta,
    /// After they happened, if a receiver's attempts are used up; `None`: for ever.
    pub parked: Option<TimeDelta>,
}

/// Where the search for old events is.
#[derive(Clone, Copy, Debug)]
struct RemovalCursor {
    begun_at: Instant,
    after: Option<(Instant, EventId)>,
}

/// The clean-up of events.
pub struct EventUpkeep {
    ports: Ports,
    retention: EventRetention,
    cursor: Mutex<Option<RemovalCursor>>,
}

impl EventUpkeep {
    /// Events are kept for so long, and for as long as a receiver is to be sent them.
    pub fn new(ports: Ports, retention: EventRetention) -> Self {
        Self { ports, retention, cursor: Mutex::new(None) }
    }

    /// Does a batch of what is to be done; tells whether there may be more. Safe to run anywhere, any time.
    pub async fn run(&self) -> Result<bool, AppError> {
        let ended = self.end_deliveries().await?;
        let removed = self.remove_old().await?;
        Ok(ended || removed)
    }

    /// Looks at a batch of old events and removes those that every receiver has, or was given up for long ago. It goes on
    /// where the last one ended, so that many that are kept don't hide those behind them.
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

    /// Ends what is to be sent to receivers that are no more, each in a transaction of its own.
    async fn end_deliveries(&self) -> Result<bool, AppError> {
        let mut more = false;
        if !self.ports.has_data_platform {
            more |= self.park_for_want_of_a_platform().await?;
        }
        let ended = self.ports.database.read().await?.webhooks().list_ended().await?;
        for (id, ended_at) in ended {
            more |= self.end_deliveries_of(id, ended_at).await?;
        }
        Ok(more)
    }

    /// What no instance has tried to send to the data platform for long: it isn't configured any more.
    async fn park_for_want_of_a_platform(&self) -> Result<bool, AppError> {
        let horizon = self.ports.now() - self.retention.delivered;
        let mut uow = self.ports.database.begin().await?;
        let reason = "there is no data platform any more";
        let parked = uow.deliveries().park(Destination::DataPlatform, horizon, reason, BATCH).await?;
        uow.commit().await?;
        Ok(parked >= u64::from(BATCH))
    }

    /// What a webhook that has ended didn't get is parked, so that it is seen and not waited for, and removed after the
    /// time for which events are kept: so it keeps none of them longer.
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
