//! The cancellation of a performance: first the performance itself, then its bookings in batches.
//!
//! No progress is stored: the pending and confirmed bookings of cancelled performances are the remaining work. So any
//! instance continues where another stopped, and if two settle the same booking, it has one effect.

use std::{collections::HashMap, time::Duration};

use futures::future::join_all;
use tokio::time::Instant as Stopwatch;

use super::{facade::ConcertFacade, info::CancellationInfo, listing::progress, promoter::Actor};
use crate::{
    application::{error::AppError, event},
    domain::{
        administration::ActionKind,
        booking::Booking,
        concert::PerformanceStatus,
        event::Fact,
        id::{BookingId, PerformanceId},
        refusal::Refusal,
    },
};

/// The number of bookings that are settled concurrently: enough to fill transactions, and few enough to leave capacity
/// in the lanes.
const BATCH: u32 = 64;

/// The time for which the request settles bookings, before it leaves the rest to the job.
const TIME_BUDGET: Duration = Duration::from_secs(2);

/// The most performances that the job reads at a time.
const MAX_PERFORMANCES_PER_RUN: u32 = 16;

/// The result of settling some bookings of a cancelled performance.
struct Batch {
    /// The number of bookings that were cancelled or refunded.
    settled: usize,
    /// The booking after which the next batch starts; `None` if there are no more, or if the lanes or the database are
    /// busy.
    next: Option<BookingId>,
}

impl ConcertFacade {
    /// Cancels a performance, and settles its bookings for two seconds: holds are cancelled, paid bookings refunded.
    /// The [job](Self::finish_cancellations) settles the rest. Repeating the request continues.
    ///
    /// # Errors
    ///
    /// [`Refusal::PerformanceNotFound`]; [`Refusal::Forbidden`] if the actor is no longer an administrator. Bookings
    /// that can't be settled now are no error: the result counts them.
    ///
    /// # Concurrency
    ///
    /// Locks the concert, the performance and the actor's account (shared), in this order. Holds and payments that have
    /// shared the performance are committed first, and their bookings are settled with the others; later holds are
    /// refused. Then each booking is a settlement.
    pub async fn cancel_performance(&self, actor: Actor, id: PerformanceId) -> Result<CancellationInfo, AppError> {
        self.ports.retry_on_contention(|| self.mark_cancelled(actor, id)).await?;
        let started = Stopwatch::now();
        let mut after = None;
        loop {
            match self.cancel_bookings_of(id, after).await {
                Ok(Batch { next: Some(next), .. }) if started.elapsed() < TIME_BUDGET => after = Some(next),
                Ok(_) => break,
                Err(error) => {
                    // The performance is cancelled even if a batch fails: the job repeats the batch.
                    tracing::warn!(performance_id = id.0, %error, "left a cancellation's bookings to the job");
                    break;
                }
            }
        }
        let mut repositories = self.ports.back_office.read().await?;
        let info = progress(&mut *repositories, id, self.ports.now()).await?;
        let status = info.listed.performance.status;
        Ok(CancellationInfo { performance_id: id, status, bookings_left: info.bookings_left })
    }

    /// Continues unfinished cancellations, and returns whether it settled a booking, so that there may be more. Any
    /// number of instances may run it concurrently. A booking or performance that can't be settled delays no other.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone. A failed settlement is no error: it is logged, and repeated
    /// later.
    pub async fn finish_cancellations(&self) -> Result<bool, AppError> {
        let mut settled = 0;
        let mut after = None;
        loop {
            let mut repositories = self.ports.back_office.read().await?;
            let unfinished =
                repositories.concerts().list_unfinished_cancellations(after, MAX_PERFORMANCES_PER_RUN).await?;
            drop(repositories);
            for id in &unfinished {
                match self.continue_cancellation(*id).await {
                    Ok(bookings) => settled += bookings,
                    Err(error) => tracing::warn!(performance_id = id.0, %error, "left a cancellation for later"),
                }
            }
            after = unfinished.last().copied();
            if unfinished.len() < MAX_PERFORMANCES_PER_RUN as usize {
                return Ok(settled > 0);
            }
        }
    }

    /// Settles batches until one has a booking that could be settled. Returns the number of bookings that it settled.
    async fn continue_cancellation(&self, id: PerformanceId) -> Result<usize, AppError> {
        let mut after = None;
        loop {
            match self.cancel_bookings_of(id, after).await? {
                Batch { settled: 0, next: Some(next) } => after = Some(next),
                Batch { settled, .. } => return Ok(settled),
            }
        }
    }

    /// Cancels or refunds the next bookings of a cancelled performance after `after`, concurrently. A booking that
    /// can't be settled now, such as a refund that exceeds the largest amount, is left for later.
    async fn cancel_bookings_of(&self, id: PerformanceId, after: Option<BookingId>) -> Result<Batch, AppError> {
        // The connection is returned before commands are submitted: the lanes need connections, too.
        let (open, bookings) = {
            let mut repositories = self.ports.back_office.read().await?;
            let open = repositories.bookings().list_open_of_performance(id, after, BATCH).await?;
            let bookings = repositories.bookings().list(&open).await?;
            (open, bookings)
        };
        let settle = |booking: &Booking| self.settlement.cancel_by_promoter(booking.id, booking.user_id);
        let results = join_all(bookings.iter().map(settle)).await;
        let mut failures: HashMap<String, usize> = HashMap::new();
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            *failures.entry(error.to_string()).or_default() += 1;
        }
        for (error, count) in failures {
            tracing::info!(performance_id = id.0, count, error, "left bookings of a cancelled performance for later");
        }
        let busy = |result: &Result<bool, AppError>| {
            matches!(result, Err(AppError::Overloaded | AppError::Contention | AppError::Unavailable(_)))
        };
        let has_more = open.len() == BATCH as usize && !results.iter().any(busy);
        Ok(Batch {
            settled: results.iter().filter(|result| matches!(result, Ok(true))).count(),
            next: open.last().copied().filter(|_| has_more),
        })
    }

    async fn mark_cancelled(&self, actor: Actor, id: PerformanceId) -> Result<(), AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.back_office.begin().await?;
        let performance = uow.concerts().find_performance(id).await?.ok_or(Refusal::PerformanceNotFound)?;
        let concert_id = performance.concert_id;
        uow.concerts().lock_concert(concert_id).await?.ok_or(Refusal::PerformanceNotFound)?;
        let performance = uow.concerts().lock_performance(id).await?.ok_or(Refusal::PerformanceNotFound)?;
        // A repetition changes nothing, so it has neither an event nor an entry in the action log.
        if performance.status != PerformanceStatus::Scheduled {
            return Ok(());
        }
        uow.concerts().cancel_performance(id, now).await?;
        let starts_at = performance.starts_at;
        let fact = Fact::PerformanceCancelled { performance_id: id, concert_id, starts_at };
        event::record(&self.ports, &mut *uow, now, vec![fact], Vec::new()).await?;
        self.record(&mut *uow, now, actor, ActionKind::PerformanceCancelled, id, "").await?;
        uow.commit().await?;
        self.changes.increment();
        Ok(())
    }
}
