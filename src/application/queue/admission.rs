//! The tick: ends what has lapsed, and lets the next ones in.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::TimeDelta;

use super::{QueueFacade, estimate::kept_bound, selection::select_next};
use crate::{
    application::{draw, error::AppError},
    domain::{
        clock::Instant,
        id::ConcertId,
        queue::{AdmissionRecord, Drawn, EndReason, Queue, QueueToken, TickReason, TokenState, admission_budget},
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// How many tokens one transaction admits at most: it keeps the queue's lock for a bounded time.
pub(super) const ADMISSION_BATCH: u32 = 2_000;

/// A tick that changes nothing writes the queue's time this often: the pace of a queue that stands still is seen by it.
const IDLE_WRITE_INTERVAL: TimeDelta = TimeDelta::seconds(1);

/// How many transactions one tick of a queue takes at most while there is more to do: other queues are to be ticked, too.
const TRANSACTIONS_PER_TICK: u32 = 5;

/// How many queues one tick brings to their end, or writes down as ended: those that admit are not to wait for long.
const ENDINGS_PER_TICK: usize = 100;

/// A queue whose ticks keep failing is tried at every 2^n-th one.
const MAX_SKIP_EXPONENT: u32 = 6;

/// What one transaction of a tick did.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    admitted: u32,
    /// Whether there is more to do at once.
    more: bool,
}

impl QueueFacade {
    /// Runs one tick of every queue where something is due, and tells how many were admitted. A queue whose tick fails
    /// is left for later, and holds up no other.
    pub async fn admit_due(&self) -> Result<u32, AppError> {
        let occupied = {
            let mut repositories = self.ports.back_office.read().await?;
            repositories.queues().list_occupied(self.ports.now()).await?
        };
        let ids: HashSet<_> = occupied.iter().map(|queue| queue.concert_id).collect();
        self.retain_occupied(&ids);
        let due = |turn| occupied.iter().filter(move |queue| queue.due == Some(turn)).map(|queue| queue.concert_id);
        let ending = due(TickReason::End).take(ENDINGS_PER_TICK);
        let mut admitted = 0;
        for concert_id in due(TickReason::Admission).chain(ending) {
            if !self.failing_queues.is_due(concert_id) {
                continue;
            }
            match self.tick_queue(concert_id).await {
                Ok(more) => {
                    admitted += more;
                    self.failing_queues.remove(concert_id);
                }
                // The other queues are out of reach as well.
                Err(error @ AppError::Unavailable(_)) => return Err(error),
                Err(error) => {
                    self.failing_queues.record_failure(concert_id);
                    metrics::counter!("job_failures_total", "name" => "admission").increment(1);
                    tracing::warn!(concert_id = concert_id.0, error = &error as &dyn Error, "a queue's tick failed");
                }
            }
        }
        Ok(admitted)
    }

    /// Forgets what this instance knows of queues in which nobody is.
    fn retain_occupied(&self, occupied: &HashSet<ConcertId>) {
        self.draw_orders.retain(occupied);
        self.failing_queues.retain(occupied);
        self.snapshot_reader.retain(occupied);
    }

    /// One tick of one queue: some transactions while there is more to do.
    async fn tick_queue(&self, concert_id: ConcertId) -> Result<u32, AppError> {
        let mut admitted = 0;
        for _ in 0..TRANSACTIONS_PER_TICK {
            let outcome = self.run_transaction(concert_id).await?;
            admitted += outcome.admitted;
            if !outcome.more {
                break;
            }
        }
        Ok(admitted)
    }

    /// Measures how many wait and are active, in all queues together: a read of what is written, so every instance
    /// tells the same.
    pub async fn measure_queue_sizes(&self) -> Result<(), AppError> {
        let (active, lines) = {
            let mut repositories = self.ports.back_office.read().await?;
            repositories.queues().summarize_queues(self.ports.now()).await?
        };
        let mut waiting = 0.0;
        for concert_id in lines {
            waiting +=
                self.snapshots.get(concert_id).await?.map_or(0.0, |snapshot| f64::from(snapshot.waiting_count()));
        }
        metrics::gauge!("queue_active").set(u32::try_from(active).unwrap_or(u32::MAX));
        metrics::gauge!("queue_waiting").set(waiting);
        Ok(())
    }

    /// One transaction of a tick, under the lock of the queue's row: whoever else ticks it waits, and finds nothing left
    /// to do.
    ///
    /// Rate and room are counted from what is written, so the bounds hold at every instant and with any number of
    /// instances.
    async fn run_transaction(&self, concert_id: ConcertId) -> Result<Outcome, AppError> {
        let mut uow = self.ports.back_office.begin().await?;
        let Some(mut queue) = uow.queues().lock_queue(concert_id).await? else { return Ok(Outcome::default()) };
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
            queue.ended_number = queue.last_number;
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
        Ok(Outcome { admitted: u32::try_from(next.len()).unwrap_or(u32::MAX), more })
    }

    /// Works out the order of a draw whose places are still to be written, for the next transactions of this instance,
    /// and forgets it when they are. No lock is held meanwhile: seed and entrants don't change any more.
    async fn prepare_draw_order(&self, queue: &Queue) -> Result<(), AppError> {
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

/// `head` is where it was before these were admitted. Whoever had been passed over has waited for longer than their turn:
/// that tells nothing about what they had been told.
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

/// Lets the next ones in, as many as rate and room leave, and records their admission.
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

/// Ends tokens of a queue whose concert is over, and tells how many. A token by which something is held lives on until
/// that is paid or over. Those that another transaction holds are left for the next one.
async fn end_live(uow: &mut dyn UnitOfWork, queue: &mut Queue, now: Instant) -> Result<u32, RepositoryError> {
    // Nobody's position is read from the places any more.
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

/// How many may be let in, and how many are active. These are counted only where the rate leaves something: it takes
/// longest, and a window is used up most of the time.
async fn budget(uow: &mut dyn UnitOfWork, queue: &Queue, now: Instant) -> Result<(u32, u32), RepositoryError> {
    // Every window that holds the present: with what was recorded ahead of it, too.
    let interval = queue.settings.admit_interval();
    let recently = uow.admissions().count_admitted(queue.concert_id, now - interval, now + interval).await?;
    if admission_budget(queue, 0, recently, now) == 0 {
        return Ok((0, 0));
    }
    let active = uow.queue_tokens().count_active(queue.concert_id).await?;
    Ok((admission_budget(queue, active, recently, now), active))
}

/// The drawn orders that this instance is writing.
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

    /// Another instance may have finished what this one began.
    fn retain(&self, occupied: &HashSet<ConcertId>) {
        self.map().retain(|id, _| occupied.contains(id));
    }
}

/// The queues whose ticks fail: each is left out for more and more ticks, so that what it waits for, a lock maybe, delays
/// the others less and less.
#[derive(Debug, Default)]
pub(super) struct FailingQueues(Mutex<HashMap<ConcertId, Failures>>);

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    /// How often in a row it has failed.
    count: u32,
    /// How many ticks it is still left out for.
    skipped_ticks: u32,
}

impl FailingQueues {
    fn map(&self) -> MutexGuard<'_, HashMap<ConcertId, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a queue is to be ticked this time.
    fn is_due(&self, id: ConcertId) -> bool {
        match self.map().get_mut(&id) {
            Some(failures) if failures.skipped_ticks > 0 => {
                failures.skipped_ticks -= 1;
                false
            }
            _ => true,
        }
    }

    fn record_failure(&self, id: ConcertId) {
        let mut map = self.map();
        let failures = map.entry(id).or_default();
        failures.skipped_ticks = (1 << failures.count.min(MAX_SKIP_EXPONENT)) - 1;
        failures.count += 1;
    }

    fn remove(&self, id: ConcertId) {
        self.map().remove(&id);
    }

    fn retain(&self, occupied: &HashSet<ConcertId>) {
        self.map().retain(|id, _| occupied.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_fails_is_tried_less_and_less_often_until_it_works() {
        let failing = FailingQueues::default();
        let id = ConcertId(1);
        let mut tried = Vec::new();
        for tick in 0..300 {
            if failing.is_due(id) {
                tried.push(tick);
                failing.record_failure(id);
            }
        }
        assert_eq!(tried, [0, 1, 3, 7, 15, 31, 63, 127, 191, 255]);
        failing.remove(id);
        assert!(failing.is_due(id) && failing.map().is_empty());
        failing.record_failure(id);
        failing.retain(&HashSet::new());
        assert!(failing.map().is_empty());
    }
}
