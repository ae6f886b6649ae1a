//! The tick: ends what has lapsed, and lets the next ones in.

use chrono::TimeDelta;

use super::{QueueFacade, choice::choose};
use crate::{
    application::error::AppError,
    domain::{
        id::ConcertId,
        queue::{AdmissionRecord, admission_budget},
    },
};

/// How many tokens one transaction admits at most: it keeps the queue's lock for a bounded time.
pub(super) const BATCH: u32 = 2_000;

impl QueueFacade {
    /// Runs one tick of every queue where something is due, and tells how many were admitted.
    pub async fn admit_due(&self) -> Result<u32, AppError> {
        let due = {
            let mut repositories = self.ports.database.read().await?;
            repositories.queues().list_due(self.ports.now()).await?
        };
        let mut admitted = 0;
        for concert_id in due {
            admitted += self.admit(concert_id).await?;
        }
        metrics::counter!("queue_admitted_total").increment(u64::from(admitted));
        Ok(admitted)
    }

    /// One tick of one queue, under the lock of its row: whoever else ticks it waits, and finds nothing left to do.
    ///
    /// Rate and room are counted from what is written, so the bounds hold at every instant and with any number of
    /// instances.
    async fn admit(&self, concert_id: ConcertId) -> Result<u32, AppError> {
        let mut uow = self.ports.database.begin().await?;
        let Some(mut queue) = uow.queues().lock_queues(&[concert_id]).await?.pop() else { return Ok(0) };
        let now = queue.present(self.ports.now());
        uow.queues().expire_lapsed(concert_id, now).await?;
        if queue.settings.is_open(now) {
            let scheduled = uow.queues().lock_scheduled(concert_id, BATCH).await?;
            let placed: Vec<_> = scheduled.into_iter().map(|token| queue.place(token)).collect();
            uow.queues().update_tokens(&placed, now).await?;
        }
        let active = uow.queues().count_active(concert_id).await?;
        let window = now - queue.settings.admit_interval();
        let recently = uow.queues().count_admitted(concert_id, window).await?;
        let budget = admission_budget(&queue, active, recently, now);
        let next = choose(&mut *uow, &mut queue, budget, now).await?;
        let admitted = u32::try_from(next.len()).unwrap_or(u32::MAX);
        uow.queues().update_tokens(&next, now).await?;
        if admitted > 0 {
            let active = active + admitted;
            let settings = queue.settings;
            let record = AdmissionRecord { concert_id, admitted_at: now, admitted, active, settings };
            uow.queues().insert_admission(&record).await?;
        }
        queue.decided_at = now;
        uow.queues().update_queue(&queue).await?;
        uow.commit().await?;
        for token in &next {
            let waited = (now - token.issued_at).max(TimeDelta::zero());
            metrics::histogram!("queue_wait_seconds").record(waited.as_seconds_f64());
        }
        Ok(admitted)
    }
}
