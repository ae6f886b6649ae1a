//! Changes of a performance's start and end of sales.

use super::{facade::ConcertFacade, info::PerformanceProgressInfo, listing::progress, promoter::Actor};
use crate::{
    application::{administration, error::AppError, event},
    domain::{
        administration::{Action, ActionKind},
        concert::{SalesEnd, ScheduleChange},
        event::Fact,
        id::PerformanceId,
        refusal::Refusal,
        text::Reason,
    },
};

/// A change of a performance's times.
#[derive(Clone, Debug)]
pub struct UpdatePerformance {
    /// The performance to change.
    pub performance_id: PerformanceId,
    /// The new times.
    pub change: ScheduleChange,
    /// The reason, for the action log.
    pub reason: Option<Reason>,
}

impl UpdatePerformance {
    fn details(&self) -> String {
        let start = self.change.starts_at.map(|at| format!("starts at {at}"));
        let end = self.change.sales_end.map(|end| match end {
            SalesEnd::At(at) => format!("sales end at {at}"),
            SalesEnd::AtStart => "sales end at the start".to_owned(),
        });
        start.into_iter().chain(end).collect::<Vec<_>>().join("; ")
    }
}

impl ConcertFacade {
    /// Changes a performance's start or end of sales. The cut-off of refunds and the end of the queue follow the new
    /// start at once.
    ///
    /// # Errors
    ///
    /// [`Refusal::PerformanceNotFound`]; [`Refusal::SalesClosed`] once it has begun or is cancelled;
    /// [`Refusal::StartNotInFuture`], [`Refusal::SalesEndAfterStart`]; [`Refusal::Forbidden`] if the actor is no longer
    /// an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the queue, the concert, the performance and the actor's account (shared), in this order. Holds, payments
    /// and refunds that have shared the performance are committed first; later ones apply the new times. Ticks, which
    /// end the tokens of a concert that is over, wait for the queue's lock.
    pub async fn update_performance(
        &self,
        actor: Actor,
        command: &UpdatePerformance,
    ) -> Result<PerformanceProgressInfo, AppError> {
        self.ports.retry_on_contention(|| self.try_update_performance(actor, command)).await
    }

    async fn try_update_performance(
        &self,
        actor: Actor,
        command: &UpdatePerformance,
    ) -> Result<PerformanceProgressInfo, AppError> {
        let id = command.performance_id;
        let mut uow = self.ports.back_office.begin().await?;
        let performance = uow.concerts().find_performance(id).await?.ok_or(Refusal::PerformanceNotFound)?;
        let concert_id = performance.concert_id;
        let mut queue = uow.queues().lock_queues(&[concert_id]).await?.pop().ok_or(Refusal::PerformanceNotFound)?;
        uow.concerts().lock_concert(concert_id).await?.ok_or(Refusal::PerformanceNotFound)?;
        let mut performance = uow.concerts().lock_performance(id).await?.ok_or(Refusal::PerformanceNotFound)?;
        let now = queue.monotonic_now(self.ports.now());
        let previous_starts_at = performance.starts_at;
        performance.reschedule(&command.change, now)?;
        uow.concerts().update_schedule(&performance).await?;
        // A tick at another node of a cluster must not end the concert's tokens by its old times.
        queue.last_decision_at = now;
        uow.queues().update_queue(&queue).await?;
        let starts_at = performance.starts_at;
        if starts_at != previous_starts_at {
            let fact = Fact::PerformanceRescheduled { performance_id: id, concert_id, previous_starts_at, starts_at };
            event::record(&self.ports, &mut *uow, now, vec![fact], Vec::new()).await?;
        }
        let info = progress(&mut *uow, id, now).await?;
        if let Some(actor) = actor {
            let action = Action::new(actor, ActionKind::PerformanceUpdated, id).with_details(command.details());
            let action = Action { reason: command.reason.clone(), ..action };
            administration::record(&self.ports, &mut *uow, now, action).await?;
        }
        uow.commit().await?;
        self.changes.increment();
        Ok(info)
    }
}
