//! Removing what nobody needs any more, a bounded batch at a time.

use chrono::TimeDelta;

use super::{Ports, draw, error::AppError, event::EventUpkeep};
use crate::domain::{clock::Instant, repository_error::RepositoryError, unit_of_work::UnitOfWork};

/// How many rows one batch removes.
const BATCH: u32 = 500;

/// How long an idempotency key is kept: the contract's day, and one more for clients that retry late.
const KEY_DAYS: i64 = 2;

/// How long an ended login is kept, so that late use of its refresh token is still seen for what it is.
const SESSION_DAYS: i64 = 7;

/// How long an ended queue token is kept unless something else is configured.
const QUEUE_TOKEN_DAYS: i64 = 30;

/// How long after its performance the lock on choosing seats is kept: nobody chooses any more.
const CHOICE_DAYS: i64 = 1;

/// The clean-up.
pub struct HousekeepingFacade {
    ports: Ports,
    events: EventUpkeep,
    /// How long an ended queue token is kept, and the record of an admission.
    queue_token_retention: TimeDelta,
}

impl HousekeepingFacade {
    /// Works through these ports, and leaves old events to `events`.
    pub fn new(ports: Ports, events: EventUpkeep) -> Self {
        Self { ports, events, queue_token_retention: TimeDelta::days(QUEUE_TOKEN_DAYS) }
    }

    /// The same, keeping ended queue tokens for so long.
    #[must_use]
    pub fn keeping_queue_tokens(self, queue_token_retention: TimeDelta) -> Self {
        Self { queue_token_retention, ..self }
    }

    /// Removes a batch of what is old; tells whether there may be more. Safe to run anywhere, any time.
    pub async fn clean(&self) -> Result<bool, AppError> {
        draw::seal_seeds(&self.ports).await?;
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        let keys = uow.idempotency().delete_older(now - TimeDelta::days(KEY_DAYS), BATCH).await?;
        let queue = clean_queue(&mut *uow, now - self.queue_token_retention).await?;
        let choices = uow.choices().delete_choices(now - TimeDelta::days(CHOICE_DAYS), BATCH).await?;
        let sessions = uow.sessions().delete_ended(now - TimeDelta::days(SESSION_DAYS), BATCH).await?;
        uow.commit().await?;
        let more = self.events.run().await?;
        Ok(more || [keys, queue, choices, sessions].into_iter().any(|deleted| deleted >= u64::from(BATCH)))
    }
}

/// Removes admissions from before `horizon`, and when none is left the tokens that ended before it: the audit compares
/// each admission with its tokens.
async fn clean_queue(uow: &mut dyn UnitOfWork, horizon: Instant) -> Result<u64, RepositoryError> {
    let admissions = uow.queues().delete_admissions(horizon, BATCH).await?;
    if admissions >= u64::from(BATCH) {
        return Ok(admissions);
    }
    uow.queues().delete_ended_tokens(horizon, BATCH).await
}
