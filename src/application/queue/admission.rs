//! The tick: ends what has lapsed, and lets the next ones in.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::TimeDelta;

use super::{QueueFacade, choice::choose, pace::turned_out};
use crate::{
    application::{draw, error::AppError},
    domain::{
        clock::Instant,
        id::ConcertId,
        queue::{AdmissionRecord, Drawn, Ending, Queue, QueueToken, TokenState, Turn, admission_budget},
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// How many tokens one transaction admits at most: it keeps the queue's lock for a bounded time.
pub(super) const BATCH: u32 = 2_000;

/// A tick that changes nothing writes the queue's time this often: the pace of a queue that stands still is seen by it.
const IDLE_WRITE: TimeDelta = TimeDelta::seconds(1);

/// How many transactions one tick of a queue takes at most while there is more to do: other queues are to be ticked, too.
const TRANSACTIONS_PER_TICK: u32 = 5;

/// How many queues one tick brings to their end, or writes down as ended: those that admit are not to wait for long.
const ENDINGS_PER_TICK: usize = 100;

/// A queue whose ticks keep failing is tried at every 2^n-th one.
const LONGEST_ABSENCE: u32 = 6;

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
        self.forget_all_but(&ids);
        let due = |turn| occupied.iter().filter(move |queue| queue.due == Some(turn)).map(|queue| queue.concert_id);
        let ending = due(Turn::End).take(ENDINGS_PER_TICK);
        let mut admitted = 0;
        for concert_id in due(Turn::Admission).chain(ending) {
            if !self.failing.is_turn(concert_id) {
                continue;
            }
            match self.tick(concert_id).await {
                Ok(more) => {
                    admitted += more;
                    self.failing.forget(concert_id);
                }
                // The other queues are out of reach as well.
                Err(error @ AppError::Unavailable(_)) => return Err(error),
                Err(error) => {
                    self.failing.note(concert_id);
                    metrics::counter!("job_failures_total", "name" => "admission").increment(1);
                    tracing::warn!(concert_id = concert_id.0, error = &error as &dyn Error, "a queue's tick failed");
                }
            }
        }
        Ok(admitted)
    }

    /// Forgets what this instance knows of queues in which nobody is.
    fn forget_all_but(&self, occupied: &HashSet<ConcertId>) {
        self.orders.retain(occupied);
        self.failing.retain(occupied);
        self.known.retain(occupied);
    }

    /// One tick of one queue: some transactions while there is more to do.
    async fn tick(&self, concert_id: ConcertId) -> Result<u32, AppError> {
        let mut admitted = 0;
        for _ in 0..TRANSACTIONS_PER_TICK {
            let outcome = self.admit(concert_id).await?;
            admitted += outcome.admitted;
            if !outcome.more {
                break;
            }
        }
        Ok(admitted)
    }

    /// Measures how many wait and are active, in all queues together: a read of what is written, so every instance
    /// tells the same.
    pub async fn take_census(&self) -> Result<(), AppError> {
        let (active, lines) = {
            let mut repositories = self.ports.back_office.read().await?;
            repositories.queues().census(self.ports.now()).await?
        };
        let mut waiting = 0.0;
        for concert_id in lines {
            waiting += self.boards.get(concert_id).await?.map_or(0.0, |board| f64::from(board.waiting()));
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
    async fn admit(&self, concert_id: ConcertId) -> Result<Outcome, AppError> {
        let mut uow = self.ports.back_office.begin().await?;
        let Some(mut queue) = uow.queues().lock_queue(concert_id).await? else { return Ok(Outcome::default()) };
        let now = queue.present(self.ports.now());
        let before = queue.clone();
        let mut expired = uow.queues().expire_lapsed(concert_id, now, BATCH).await?;
        let mut more = expired == u64::from(BATCH);
        let mut changed = draw::settle(&self.ports, &mut *uow, &mut queue, now).await?;
        if let Some(order) = self.orders.get(concert_id) {
            changed |= draw::place_next(&mut *uow, &mut queue, &order, now).await?;
        }
        let mut next = Vec::new();
        if queue.is_over(now) {
            let ended = end_live(&mut *uow, &mut queue, now).await?;
            more |= ended == BATCH;
            expired += u64::from(ended);
        } else {
            next = let_in(&mut *uow, &mut queue, now).await?;
        }
        if next.is_empty() && !uow.queues().has_live(concert_id).await? {
            queue.ended_number = queue.last_number;
        }
        changed |= expired > 0 || !next.is_empty() || queue.head != before.head;
        changed |= queue.ended_number != before.ended_number;
        if changed || now - queue.decided_at >= IDLE_WRITE {
            queue.decided_at = now;
            uow.queues().update_queue(&queue).await?;
        }
        uow.commit().await?;
        measure(expired, &next, before.head, now);
        self.keep_order(&queue).await?;
        more |= self.orders.get(concert_id).is_some();
        Ok(Outcome { admitted: u32::try_from(next.len()).unwrap_or(u32::MAX), more })
    }

    /// Works out the order of a draw whose places are still to be written, for the next transactions of this instance,
    /// and forgets it when they are. No lock is held meanwhile: seed and entrants don't change any more.
    async fn keep_order(&self, queue: &Queue) -> Result<(), AppError> {
        if queue.pending_draw().is_none() {
            self.orders.remove(queue.concert_id);
        } else if self.orders.get(queue.concert_id).is_none() {
            let mut repositories = self.ports.back_office.read().await?;
            let order = draw::order(repositories.draws(), queue).await?;
            self.orders.insert(queue.concert_id, order);
        }
        Ok(())
    }
}

/// `head` is where it was before these were admitted. Whoever had been passed over has waited for longer than their turn:
/// that tells nothing about what they had been told.
fn measure(expired: u64, admitted: &[QueueToken], head: u32, now: Instant) {
    metrics::counter!("queue_expired_total").increment(expired);
    metrics::counter!("queue_admitted_total").increment(admitted.len() as u64);
    for token in admitted {
        let waited = (now - token.issued_at).max(TimeDelta::zero());
        metrics::histogram!("queue_wait_seconds").record(waited.as_seconds_f64());
        if let Some(estimate) = token.estimate.filter(|_| token.place > Some(head)) {
            let within = turned_out(estimate, waited);
            metrics::counter!("queue_estimates_total", "within" => within).increment(1);
        }
    }
}

/// Lets the next ones in, as many as rate and room leave, and records their admission.
async fn let_in(uow: &mut dyn UnitOfWork, queue: &mut Queue, now: Instant) -> Result<Vec<QueueToken>, RepositoryError> {
    let (budget, active) = budget(uow, queue, now).await?;
    let next = choose(uow, queue, budget, now).await?;
    uow.queues().update_tokens(&next, now).await?;
    let admitted = u32::try_from(next.len()).unwrap_or(u32::MAX);
    if admitted > 0 {
        let (concert_id, settings) = (queue.concert_id, queue.settings);
        let record = AdmissionRecord { concert_id, admitted_at: now, admitted, active: active + admitted, settings };
        uow.queues().insert_admission(&record).await?;
    }
    Ok(next)
}

/// Ends tokens of a queue whose concert is over, and tells how many. A token by which something is held lives on until
/// that is paid or over. Those that another transaction holds are left for the next one.
async fn end_live(uow: &mut dyn UnitOfWork, queue: &mut Queue, now: Instant) -> Result<u32, RepositoryError> {
    // Nobody's position is read from the places any more.
    queue.pass(queue.last_place);
    let mut tokens = uow.queues().claim_live(queue.concert_id, BATCH).await?;
    let active = tokens.iter().filter(|token| matches!(token.state, TokenState::Active(_)));
    let users: Vec<_> = active.map(|token| token.user_id).collect();
    let held = uow.bookings().list_held(&users, now).await?;
    let holders: HashSet<_> =
        held.iter().filter(|held| held.concert_id == queue.concert_id).map(|held| held.user_id).collect();
    tokens.retain(|token| !holders.contains(&token.user_id));
    for token in &mut tokens {
        *token = QueueToken { state: TokenState::Ended(Ending::Expired), ..queue.withdraw(*token) };
    }
    uow.queues().update_tokens(&tokens, now).await?;
    Ok(u32::try_from(tokens.len()).unwrap_or(u32::MAX))
}

/// How many may be let in, and how many are active. These are counted only where the rate leaves something: it takes
/// longest, and a window is used up most of the time.
async fn budget(uow: &mut dyn UnitOfWork, queue: &Queue, now: Instant) -> Result<(u32, u32), RepositoryError> {
    // Every window that holds the present: with what was recorded ahead of it, too.
    let interval = queue.settings.admit_interval();
    let recently = uow.queues().count_admitted(queue.concert_id, now - interval, now + interval).await?;
    if admission_budget(queue, 0, recently, now) == 0 {
        return Ok((0, 0));
    }
    let active = uow.queues().count_active(queue.concert_id).await?;
    Ok((admission_budget(queue, active, recently, now), active))
}

/// The drawn orders that this instance is writing.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<HashMap<ConcertId, Arc<Vec<Drawn>>>>);

impl Orders {
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
pub(super) struct Failing(Mutex<HashMap<ConcertId, Failures>>);

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    /// How often in a row it has failed.
    count: u32,
    /// How many ticks it is still left out for.
    left_out: u32,
}

impl Failing {
    fn map(&self) -> MutexGuard<'_, HashMap<ConcertId, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a queue is to be ticked this time.
    fn is_turn(&self, id: ConcertId) -> bool {
        match self.map().get_mut(&id) {
            Some(failures) if failures.left_out > 0 => {
                failures.left_out -= 1;
                false
            }
            _ => true,
        }
    }

    fn note(&self, id: ConcertId) {
        let mut map = self.map();
        let failures = map.entry(id).or_default();
        failures.left_out = (1 << failures.count.min(LONGEST_ABSENCE)) - 1;
        failures.count += 1;
    }

    fn forget(&self, id: ConcertId) {
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
        let failing = Failing::default();
        let id = ConcertId(1);
        let mut tried = Vec::new();
        for tick in 0..300 {
            if failing.is_turn(id) {
                tried.push(tick);
                failing.note(id);
            }
        }
        assert_eq!(tried, [0, 1, 3, 7, 15, 31, 63, 127, 191, 255]);
        failing.forget(id);
        assert!(failing.is_turn(id) && failing.map().is_empty());
        failing.note(id);
        failing.retain(&HashSet::new());
        assert!(failing.map().is_empty());
    }
}
