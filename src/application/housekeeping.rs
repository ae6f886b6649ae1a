//! Housekeeping: deletes rows after their retention, in bounded batches.

use chrono::TimeDelta;

use super::{Ports, draw, error::AppError, event::EventUpkeep};
use crate::domain::{clock::Instant, repository_error::RepositoryError, unit_of_work::UnitOfWork};

/// The most rows of a table that one batch deletes.
const BATCH: u32 = 500;

/// The retention of idempotency keys: the documented day, and one more for late retries.
const KEY_DAYS: i64 = 2;

/// The retention of ended logins, so that late use of their refresh tokens is still detected.
const SESSION_DAYS: i64 = 7;

/// The retention of expired codes, by which the requests of an account are counted.
const CODE_DAYS: i64 = 1;

/// The default retention of ended queue tokens.
const QUEUE_TOKEN_DAYS: i64 = 30;

/// The retention of the row that locks a performance's best-available selection, after the performance.
const CHOICE_DAYS: i64 = 1;

/// The retention of top-ups that moved no money, counted from their creation.
const UNPAID_TOP_UP_DAYS: i64 = 90;

/// Deletes rows whose retention is over.
pub struct HousekeepingFacade {
    ports: Ports,
    events: EventUpkeep,
    /// The retention of ended queue tokens and of admission records.
    queue_token_retention: TimeDelta,
}

impl HousekeepingFacade {
    /// Housekeeping that leaves events to `events`.
    pub fn new(ports: Ports, events: EventUpkeep) -> Self {
        Self { ports, events, queue_token_retention: TimeDelta::days(QUEUE_TOKEN_DAYS) }
    }

    /// The same with another retention of ended queue tokens.
    #[must_use]
    pub fn keeping_queue_tokens(self, queue_token_retention: TimeDelta) -> Self {
        Self { queue_token_retention, ..self }
    }

    /// Deletes a batch, and encrypts the seeds of pending draws with the current secret. Returns whether more rows may
    /// be left. Any number of instances may run it concurrently.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn clean(&self) -> Result<bool, AppError> {
        draw::seal_seeds(&self.ports).await?;
        let top_ups = self.clean_top_ups().await?;
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        let keys = uow.idempotency().delete_older(now - TimeDelta::days(KEY_DAYS), BATCH).await?;
        let queue = clean_queue(&mut *uow, now - self.queue_token_retention).await?;
        let choices = uow.choices().delete_choices(now - TimeDelta::days(CHOICE_DAYS), BATCH).await?;
        let sessions = uow.sessions().delete_ended(now - TimeDelta::days(SESSION_DAYS), BATCH).await?;
        let codes = uow.codes().delete_expired(now - TimeDelta::days(CODE_DAYS), BATCH).await?;
        uow.commit().await?;
        let more = self.events.run().await?;
        Ok(more
            || [top_ups, keys, queue, choices, sessions, codes].into_iter().any(|deleted| deleted >= u64::from(BATCH)))
    }

    /// Uses a transaction of its own, because it waits for top-ups that a request or the job has locked.
    async fn clean_top_ups(&self) -> Result<u64, AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        // The retention of an answered request's key applies to unanswered ones, too.
        let forgotten = uow.top_ups().forget_requests(now - TimeDelta::days(KEY_DAYS), BATCH).await?;
        let deleted = uow.top_ups().delete_unpaid(now - TimeDelta::days(UNPAID_TOP_UP_DAYS), BATCH).await?;
        uow.commit().await?;
        Ok(forgotten.max(deleted))
    }
}

/// Deletes admission records from before `horizon`, and once none is left the tokens that ended before it. The audit
/// compares each admission with its tokens, so tokens are deleted last.
async fn clean_queue(uow: &mut dyn UnitOfWork, horizon: Instant) -> Result<u64, RepositoryError> {
    let admissions = uow.admissions().delete_admissions(horizon, BATCH).await?;
    if admissions >= u64::from(BATCH) {
        return Ok(admissions);
    }
    uow.queue_tokens().delete_ended_tokens(horizon, BATCH).await
}
