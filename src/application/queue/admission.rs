//! Ticks: each ends lapsed tokens of a queue, and admits the next users.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::TimeDelta;

use super::{
    estimate::kept_bound,
    failing_queues::FailingQueues,
    selection::{ADMISSION_BATCH, select_next},
    snapshot::QueueSnapshotReader,
};
use crate::{
    application::{Ports, draw, error::AppError, loader::Loader},
    domain::{
        clock::Instant,
        id::ConcertId,
        queue::{
            AdmissionRecord, Drawn, EndReason, OccupiedQueue, Queue, QueueToken, TickReason, TokenState,
            admission_budget,
        },
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// The interval at which a tick without other changes writes the queue's time. So the measured pace includes times in
/// which the head doesn't advance.
const IDLE_WRITE_INTERVAL: TimeDelta = TimeDelta::seconds(1);

/// The most transactions of one queue's tick, so that it delays the ticks of other queues little.
const TRANSACTIONS_PER_TICK: u32 = 5;

/// The most ended concerts' queues of one run, so that they delay admission little.
const ENDINGS_PER_TICK: usize = 100;

/// The treatment of a queue that another transaction has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhenLocked {
    Skip,
    Wait,
}

/// The end of a tick, or of one transaction of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TickEnd {
    Done,
    /// Another transaction has work to do now.
    More,
    /// Another transaction has locked the queue.
    Skipped,
    /// Another transaction kept a lock for the whole lock wait.
    TimedOut,
}

/// The number of admitted users, and the end of a tick or transaction.
type Outcome = (u32, TickEnd);

/// The ticks that end lapsed tokens and admit the next users.
pub struct AdmissionFacade {
    ports: Ports,
    snapshots: Arc<Loader<QueueSnapshotReader>>,
    snapshot_reader: QueueSnapshotReader,
    draw_orders: PendingDrawOrders,
    failing_queues: FailingQueues,
}

impl AdmissionFacade {
    pub(super) fn new(
        ports: Ports,
        snapshots: Arc<Loader<QueueSnapshotReader>>,
        snapshot_reader: QueueSnapshotReader,
    ) -> Self {
        let (draw_orders, failing_queues) = (PendingDrawOrders::default(), FailingQueues::default());
        Self { ports, snapshots, snapshot_reader, draw_orders, failing_queues }
    }

    /// Runs one tick of every queue with due work, and returns the number of admitted users. A queue whose tick fails
    /// is retried later.
    ///
    /// Queues that others have locked are skipped at first, so that they delay no other queue. Then their ticks wait in
    /// turn, since joins may lock a queue almost all the time. The run ends with the first wait in vain. So it takes
    /// one lock wait longer at most, however many queues stay locked.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone. Only [`AppError::Unavailable`] ends the run; other failures
    /// of a queue's tick are logged and counted.
    ///
    /// # Concurrency
    ///
    /// Each transaction locks one queue, then tokens: by ascending id, or without waiting for locked ones.
    pub async fn admit_due(&self) -> Result<u32, AppError> {
        let occupied = {
            let mut repositories = self.ports.back_office.read().await?;
            repositories.queues().list_occupied(self.ports.now()).await?
        };
        let ids: HashSet<_> = occupied.iter().map(|queue| queue.concert_id).collect();
        self.retain_occupied(&ids);
        let mut admitted = 0;
        for reason in [TickReason::Admission, TickReason::End] {
            let (count, end) = self.tick_queues(due_queues(&occupied, reason, &self.failing_queues)).await?;
            admitted += count;
            if end == TickEnd::TimedOut {
                break;
            }
        }
        Ok(admitted)
    }

    /// Ticks these queues, and those last that others have locked. Ends with the first wait in vain for a lock.
    async fn tick_queues(&self, mut concert_ids: Vec<ConcertId>) -> Result<Outcome, AppError> {
        let mut admitted = 0;
        for when_locked in [WhenLocked::Skip, WhenLocked::Wait] {
            let mut skipped = Vec::new();
            for concert_id in concert_ids {
                let (count, end) = self.tick_queue(concert_id, when_locked).await?;
                admitted += count;
                match end {
                    TickEnd::Done | TickEnd::More => {}
                    TickEnd::Skipped => skipped.push(concert_id),
                    TickEnd::TimedOut => return Ok((admitted, end)),
                }
            }
            concert_ids = skipped;
        }
        Ok((admitted, TickEnd::Done))
    }

    fn record_failure(&self, concert_id: ConcertId, error: &AppError) {
        self.failing_queues.record_failure(concert_id);
        metrics::counter!("job_failures_total", "name" => "admission").increment(1);
        tracing::warn!(concert_id = concert_id.0, error = error as &dyn Error, "a queue's tick failed");
    }

    /// Removes the cached state of queues without live tokens.
    fn retain_occupied(&self, occupied: &HashSet<ConcertId>) {
        self.draw_orders.retain(occupied);
        self.failing_queues.retain(occupied);
        self.snapshot_reader.retain(occupied);
    }

    /// Ticks one queue. Only [`AppError::Unavailable`] is returned, because then the other queues can't be reached
    /// either. Another failure is recorded.
    async fn tick_queue(&self, concert_id: ConcertId, when_locked: WhenLocked) -> Result<Outcome, AppError> {
        let outcome = self.run_transactions(concert_id, when_locked).await;
        match &outcome {
            Ok((_, TickEnd::Done | TickEnd::More)) => self.failing_queues.remove(concert_id),
            Ok((_, TickEnd::TimedOut)) => self.record_failure(concert_id, &AppError::Contention),
            Ok((_, TickEnd::Skipped)) | Err(AppError::Unavailable(_)) => {}
            Err(error) => {
                self.record_failure(concert_id, error);
                return Ok((0, TickEnd::Done));
            }
        }
        outcome
    }

    /// Runs up to `TRANSACTIONS_PER_TICK` transactions of a queue's tick while there is more to do.
    async fn run_transactions(&self, concert_id: ConcertId, when_locked: WhenLocked) -> Result<Outcome, AppError> {
        let (mut sum, mut end) = (0, TickEnd::Done);
        for _ in 0..TRANSACTIONS_PER_TICK {
            // On a cluster of databases, a conflict with another instance's tick is detected only at the commit. A wait
            // for a lock isn't repeated: it may be as long again.
            let attempt = || async {
                match self.run_transaction(concert_id, when_locked).await {
                    Err(RepositoryError::Contention { is_lock_timeout: true, .. }) => Ok((0, TickEnd::TimedOut)),
                    outcome => Ok(outcome?),
                }
            };
            let (admitted, then) = self.ports.retry_on_contention(attempt).await?;
            sum += admitted;
            end = then;
            if end != TickEnd::More {
                break;
            }
        }
        Ok((sum, end))
    }

    /// Sets the gauges of waiting and active tokens, summed over all queues. The counts are read from the database, so
    /// all instances report the same.
    ///
    /// # Errors
    ///
    /// [`AppError::Overloaded`] if too many reads wait.
    pub async fn measure_queue_sizes(&self) -> Result<(), AppError> {
        let (active, concert_ids) = {
            let mut repositories = self.ports.back_office.read().await?;
            repositories.queues().summarize_queues(self.ports.now()).await?
        };
        let mut waiting = 0.0;
        for concert_id in concert_ids {
            waiting +=
                self.snapshots.get(concert_id).await?.map_or(0.0, |snapshot| f64::from(snapshot.waiting_count()));
        }
        metrics::gauge!("queue_active").set(u32::try_from(active).unwrap_or(u32::MAX));
        metrics::gauge!("queue_waiting").set(waiting);
        Ok(())
    }

    /// Runs one transaction of a tick, under the lock of the queue's row. The tick of another instance comes after it,
    /// and then has nothing left to do.
    ///
    /// Rate and capacity are counted from stored rows, so the bounds hold at every instant with any number of
    /// instances.
    async fn run_transaction(
        &self,
        concert_id: ConcertId,
        when_locked: WhenLocked,
    ) -> Result<Outcome, RepositoryError> {
        let mut uow = self.ports.back_office.begin().await?;
        let queue = match when_locked {
            WhenLocked::Skip => uow.queues().claim_queue(concert_id).await?,
            WhenLocked::Wait => uow.queues().lock_queue(concert_id).await?,
        };
        let Some(mut queue) = queue else { return Ok((0, TickEnd::Skipped)) };
        let now = queue.monotonic_now(self.ports.now());
        let before = queue.clone();
        let mut expired = uow.queue_tokens().expire_lapsed(concert_id, now, ADMISSION_BATCH).await?;
        let mut more = expired == u64::from(ADMISSION_BATCH);
        let mut changed = draw::make_draw_if_due(&self.ports, &mut *uow, &mut queue, now).await?;
        if let Some(order) = self.draw_orders.get(concert_id) {
            changed |= draw::write_next_places(&mut *uow, &mut queue, &order, now).await?;
        }
        let mut next = Vec::new();
        if queue.is_over(now) {
            let ended = end_live(&mut *uow, &mut queue, now).await?;
            more |= ended == ADMISSION_BATCH;
            expired += u64::from(ended);
        } else {
            next = admit_next(&mut *uow, &mut queue, now).await?;
        }
        if next.is_empty() && !uow.queue_tokens().has_live(concert_id).await? {
            queue.mark_ended();
        }
        changed |= expired > 0 || !next.is_empty() || queue.head != before.head;
        changed |= queue.ended_number != before.ended_number;
        if changed || now - queue.last_decision_at >= IDLE_WRITE_INTERVAL {
            queue.last_decision_at = now;
            uow.queues().update_queue(&queue).await?;
        }
        uow.commit().await?;
        record_metrics(expired, &next, before.head, now);
        self.prepare_draw_order(&queue).await?;
        more |= self.draw_orders.get(concert_id).is_some();
        let end = if more { TickEnd::More } else { TickEnd::Done };
        Ok((u32::try_from(next.len()).unwrap_or(u32::MAX), end))
    }

    /// Computes the order of a draw whose places aren't all written yet, for this instance's next transactions, and
    /// removes it once they are written. It needs no lock, since seed and entrants are final.
    async fn prepare_draw_order(&self, queue: &Queue) -> Result<(), RepositoryError> {
        if queue.pending_draw().is_none() {
            self.draw_orders.remove(queue.concert_id);
        } else if self.draw_orders.get(queue.concert_id).is_none() {
            let mut repositories = self.ports.back_office.read().await?;
            let order = draw::drawn_order(repositories.draws(), queue).await?;
            self.draw_orders.insert(queue.concert_id, order);
        }
        Ok(())
    }
}

/// The queues to tick for this reason, those whose last tick failed after the others. So failing queues take no other's
/// turn.
fn due_queues(occupied: &[OccupiedQueue], reason: TickReason, failing: &FailingQueues) -> Vec<ConcertId> {
    let limit = if reason == TickReason::End { ENDINGS_PER_TICK } else { usize::MAX };
    let due = occupied.iter().filter(|queue| queue.due == Some(reason)).map(|queue| queue.concert_id);
    let mut ids: Vec<_> = due.filter(|concert_id| failing.is_due(*concert_id)).collect();
    ids.sort_by_key(|concert_id| failing.contains(*concert_id));
    ids.truncate(limit);
    ids
}

/// Records the metrics of a transaction. `head` is the queue's head before the admission. Tokens that had been passed
/// over are left out of the estimates' metric, because their users were absent.
fn record_metrics(expired: u64, admitted: &[QueueToken], head: u32, now: Instant) {
    metrics::counter!("queue_expired_total").increment(expired);
    metrics::counter!("queue_admitted_total").increment(admitted.len() as u64);
    for token in admitted {
        let waited = (now - token.issued_at).max(TimeDelta::zero());
        metrics::histogram!("queue_wait_seconds").record(waited.as_seconds_f64());
        if let Some(estimate) = token.estimate.filter(|_| token.place > Some(head)) {
            let within = kept_bound(estimate, waited);
            metrics::counter!("queue_estimates_total", "within" => within).increment(1);
        }
    }
}

/// Admits the next users within the budget, and records the admission.
async fn admit_next(
    uow: &mut dyn UnitOfWork,
    queue: &mut Queue,
    now: Instant,
) -> Result<Vec<QueueToken>, RepositoryError> {
    let (budget, active) = budget(uow, queue, now).await?;
    let next = select_next(uow, queue, budget, now).await?;
    uow.queue_tokens().update_tokens(&next, now).await?;
    let admitted = u32::try_from(next.len()).unwrap_or(u32::MAX);
    if admitted > 0 {
        let (concert_id, settings) = (queue.concert_id, queue.settings);
        let record = AdmissionRecord { concert_id, admitted_at: now, admitted, active: active + admitted, settings };
        uow.admissions().insert_admission(&record).await?;
    }
    Ok(next)
}

/// Ends tokens of a queue whose concert is over, and returns their number. The token of a user with a hold stays active
/// until the hold is paid or has ended. Tokens that another transaction has locked are left for the next tick.
async fn end_live(uow: &mut dyn UnitOfWork, queue: &mut Queue, now: Instant) -> Result<u32, RepositoryError> {
    // Positions are no longer computed from places.
    queue.advance_head(queue.last_place);
    let mut tokens = uow.queue_tokens().claim_live(queue.concert_id, ADMISSION_BATCH).await?;
    let active = tokens.iter().filter(|token| matches!(token.state, TokenState::Active(_)));
    let users: Vec<_> = active.map(|token| token.user_id).collect();
    let held = uow.bookings().list_holds_of_users(&users, now).await?;
    let holders: HashSet<_> =
        held.iter().filter(|held| held.concert_id == queue.concert_id).map(|held| held.user_id).collect();
    tokens.retain(|token| !holders.contains(&token.user_id));
    for token in &mut tokens {
        *token = QueueToken { state: TokenState::Ended(EndReason::Expired), ..queue.remove_entrant(*token) };
    }
    uow.queue_tokens().update_tokens(&tokens, now).await?;
    Ok(u32::try_from(tokens.len()).unwrap_or(u32::MAX))
}

/// The admission budget, and the number of active tokens. Active tokens are counted only if the window leaves a budget,
/// because counting is slow, and the window is usually used up.
async fn budget(uow: &mut dyn UnitOfWork, queue: &Queue, now: Instant) -> Result<(u32, u32), RepositoryError> {
    // The range includes admissions that another instance recorded ahead of this clock.
    let interval = queue.settings.admit_interval();
    let recently = uow.admissions().count_admitted(queue.concert_id, now - interval, now + interval).await?;
    if admission_budget(queue, 0, recently, now) == 0 {
        return Ok((0, 0));
    }
    let active = uow.queue_tokens().count_active(queue.concert_id).await?;
    Ok((admission_budget(queue, active, recently, now), active))
}

/// The drawn orders whose places this instance is writing, by concert.
#[derive(Debug, Default)]
pub(super) struct PendingDrawOrders(Mutex<HashMap<ConcertId, Arc<Vec<Drawn>>>>);

impl PendingDrawOrders {
    fn map(&self) -> MutexGuard<'_, HashMap<ConcertId, Arc<Vec<Drawn>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: ConcertId) -> Option<Arc<Vec<Drawn>>> {
        self.map().get(&id).cloned()
    }

    fn insert(&self, id: ConcertId, order: Vec<Drawn>) {
        self.map().insert(id, Arc::new(order));
    }

    fn remove(&self, id: ConcertId) {
        self.map().remove(&id);
    }

    /// Removes all orders but those of these queues: another instance may have finished them.
    fn retain(&self, occupied: &HashSet<ConcertId>) {
        self.map().retain(|id, _| occupied.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_queues_whose_ticks_fail_take_no_other_queues_turn() {
        let queue = |id| OccupiedQueue { concert_id: ConcertId(id), due: Some(TickReason::End) };
        let occupied: Vec<_> = (1..=150).map(queue).collect();
        let failing = FailingQueues::default();
        let due = || due_queues(&occupied, TickReason::End, &failing);
        assert!(due_queues(&occupied, TickReason::Admission, &failing).is_empty());
        let first = due();
        assert_eq!(first, (1..=100).map(ConcertId).collect::<Vec<_>>());
        for concert_id in &first {
            failing.record_failure(*concert_id);
            failing.record_failure(*concert_id);
        }
        let others: Vec<_> = (101..=150).map(ConcertId).collect();
        assert_eq!(due(), others);
        // The failing ones are due again, and come last.
        let again = due();
        assert_eq!((&again[..50], again[50], again.len()), (&*others, ConcertId(1), ENDINGS_PER_TICK));
    }
}
