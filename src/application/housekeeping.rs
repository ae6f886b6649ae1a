//! Housekeeping: deletes rows after their retention, in bounded batches.

use chrono::TimeDelta;
use futures::future::{BoxFuture, FutureExt};

use super::{
    Ports, draw,
    error::{AppError, any},
    event::EventUpkeep,
};
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

    /// Deletes a batch of each kind, and encrypts the seeds of pending draws with the current secret. Returns whether
    /// more rows may be left. Any number of instances may run it concurrently.
    ///
    /// Each kind has a transaction of its own, and a failure keeps no other from being deleted.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone: the first failure, after everything was attempted.
    pub async fn clean(&self) -> Result<bool, AppError> {
        let queue_horizon = self.ports.now() - self.queue_token_retention;
        any([
            draw::seal_seeds(&self.ports).await.map(|()| false),
            // The retention of an answered request's key applies to unanswered ones, too.
            self.delete(KEY_DAYS, |uow, horizon| uow.top_ups().forget_requests(horizon, BATCH)).await,
            self.delete(UNPAID_TOP_UP_DAYS, |uow, horizon| uow.top_ups().delete_unpaid(horizon, BATCH)).await,
            self.delete(KEY_DAYS, |uow, horizon| uow.idempotency().delete_older(horizon, BATCH)).await,
            self.delete_before(queue_horizon, |uow, horizon| clean_queue(uow, horizon).boxed()).await,
            self.delete(CHOICE_DAYS, |uow, horizon| uow.choices().delete_choices(horizon, BATCH)).await,
            self.delete(SESSION_DAYS, |uow, horizon| uow.sessions().delete_ended(horizon, BATCH)).await,
            self.delete(CODE_DAYS, |uow, horizon| uow.codes().delete_expired(horizon, BATCH)).await,
            self.events.run().await,
        ])
    }

    /// Deletes a batch of rows that ended more than `days` ago. Returns whether more may be left.
    async fn delete<F>(&self, days: i64, rows: F) -> Result<bool, AppError>
    where
        F: for<'a> FnOnce(&'a mut dyn UnitOfWork, Instant) -> BoxFuture<'a, Result<u64, RepositoryError>>,
    {
        self.delete_before(self.ports.now() - TimeDelta::days(days), rows).await
    }

    async fn delete_before<F>(&self, horizon: Instant, rows: F) -> Result<bool, AppError>
    where
        F: for<'a> FnOnce(&'a mut dyn UnitOfWork, Instant) -> BoxFuture<'a, Result<u64, RepositoryError>>,
    {
        let mut uow = self.ports.database.begin().await?;
        let deleted = rows(&mut *uow, horizon).await?;
        uow.commit().await?;
        Ok(deleted >= u64::from(BATCH))
    }
}

/// Deletes admission records from before `horizon`, and once none is left the tokens that ended before it. The audit
/// compares each admission with its tokens, so tokens are deleted last. For that reason the deletion of records waits
/// for another instance's.
async fn clean_queue(uow: &mut dyn UnitOfWork, horizon: Instant) -> Result<u64, RepositoryError> {
    let admissions = uow.admissions().delete_admissions(horizon, BATCH).await?;
    if admissions >= u64::from(BATCH) {
        return Ok(admissions);
    }
    uow.queue_tokens().delete_ended_tokens(horizon, BATCH).await
}
