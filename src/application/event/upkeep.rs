//! Tidying up after events: removing what everybody has, and parking what nobody is there for.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use chrono::TimeDelta;

use crate::{
    application::{Ports, error::AppError},
    domain::{clock::Instant, event::Destination, id::EventId},
};

/// How many events one transaction removes or parks.
const BATCH: u32 = 500;

/// How often the search begins anew: what was still to be delivered then may be by now.
const ROUND: TimeDelta = TimeDelta::hours(1);

/// Where the search for old events is.
#[derive(Clone, Copy, Debug)]
struct Search {
    begun_at: Instant,
    after: Option<(Instant, EventId)>,
}

/// The clean-up of events.
pub struct EventUpkeep {
    ports: Ports,
    retention: TimeDelta,
    search: Mutex<Option<Search>>,
}

impl EventUpkeep {
    /// Events are kept for `retention` after they were handed out, and for as long as anybody is to get them.
    pub fn new(ports: Ports, retention: TimeDelta) -> Self {
        Self { ports, retention, search: Mutex::new(None) }
    }

    /// Does a batch of what is to be done; tells whether there may be more. Safe to run anywhere, any time.
    pub async fn clean(&self) -> Result<bool, AppError> {
        let parked = self.park_ended().await?;
        let removed = self.remove_old().await?;
        Ok(parked || removed)
    }

    /// Looks at a batch of old events and removes those that everybody has. It goes on where the last one ended, so
    /// that many that are kept don't hide those behind them.
    async fn remove_old(&self) -> Result<bool, AppError> {
        let now = self.ports.now();
        let mut search = self.search_at(now);
        let mut uow = self.ports.database.begin().await?;
        let old = uow.outbox().claim_dispatched(now - self.retention, search.after, BATCH).await?;
        let ids: Vec<_> = old.iter().map(|event| event.id).collect();
        let kept: HashSet<_> = uow.deliveries().list_undelivered(&ids).await?.into_iter().collect();
        let removed: Vec<_> = old.iter().filter(|event| !kept.contains(&event.id)).collect();
        if let Some(latest) = removed.iter().map(|event| event.at).max() {
            let ids: Vec<_> = removed.iter().map(|event| event.id).collect();
            uow.outbox().remove(&ids, latest + TimeDelta::microseconds(1)).await?;
        }
        uow.commit().await?;
        search.after = old.last().map(|event| (event.dispatched_at, event.id)).or(search.after);
        *self.search.lock().unwrap_or_else(PoisonError::into_inner) = Some(search);
        Ok(old.len() >= BATCH as usize)
    }

    fn search_at(&self, now: Instant) -> Search {
        let search = *self.search.lock().unwrap_or_else(PoisonError::into_inner);
        search.filter(|search| now - search.begun_at < ROUND).unwrap_or(Search { begun_at: now, after: None })
    }

    /// Parks what webhooks that have ended were still to get, so that it is seen and not waited for.
    async fn park_ended(&self) -> Result<bool, AppError> {
        let horizon = self.ports.now() - self.retention;
        let mut uow = self.ports.database.begin().await?;
        let mut more = false;
        for id in uow.webhooks().list_ended().await? {
            let parked = uow.deliveries().park(Destination::Webhook(id), "the webhook has ended", BATCH).await?;
            more |= parked >= u64::from(BATCH);
            if parked == 0 {
                uow.webhooks().forget(id, horizon).await?;
            }
        }
        uow.commit().await?;
        Ok(more)
    }
}
