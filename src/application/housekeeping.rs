//! Removing what nobody needs any more, a bounded batch at a time.

use chrono::TimeDelta;

use super::{Ports, draw, error::AppError, event::EventUpkeep};

/// How many rows one batch removes.
const BATCH: u32 = 500;

/// How long an idempotency key is kept: the contract's day, and one more for clients that retry late.
const KEY_DAYS: i64 = 2;

/// How long the record of an admission is kept: the audit looks back over it.
const ADMISSION_DAYS: i64 = 30;

/// How long an ended login is kept, so that late use of its refresh token is still seen for what it is.
const SESSION_DAYS: i64 = 7;

/// The clean-up.
pub struct HousekeepingFacade {
    ports: Ports,
    events: EventUpkeep,
}

impl HousekeepingFacade {
    /// Works through these ports, and leaves old events to `events`.
    pub fn new(ports: Ports, events: EventUpkeep) -> Self {
        Self { ports, events }
    }

    /// Removes a batch of what is old; tells whether there may be more. Safe to run anywhere, any time.
    pub async fn clean(&self) -> Result<bool, AppError> {
        draw::seal_seeds(&self.ports).await?;
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        let keys = uow.idempotency().delete_older(now - TimeDelta::days(KEY_DAYS), BATCH).await?;
        let admissions = uow.queues().delete_admissions(now - TimeDelta::days(ADMISSION_DAYS), BATCH).await?;
        let sessions = uow.sessions().delete_ended(now - TimeDelta::days(SESSION_DAYS), BATCH).await?;
        uow.commit().await?;
        let more = self.events.clean().await?;
        Ok(more || [keys, admissions, sessions].into_iter().any(|deleted| deleted >= u64::from(BATCH)))
    }
}
