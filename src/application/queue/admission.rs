//! The tick: ends what has lapsed, and lets the next ones in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::TimeDelta;

use super::{QueueFacade, choice::choose, pace::turned_out};
use crate::{
    application::{draw, error::AppError},
    domain::{
        clock::Instant,
        id::ConcertId,
        queue::{AdmissionRecord, Drawn, Queue, QueueToken, admission_budget},
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// How many tokens one transaction admits at most: it keeps the queue's lock for a bounded time.
pub(super) const BATCH: u32 = 2_000;

/// A tick that changes nothing writes the queue's time this often: the pace of a queue that stands still is seen by it.
const IDLE_WRITE: TimeDelta = TimeDelta::seconds(1);

/// How many transactions of one tick write a draw's places: other queues are to be ticked, too.
const DRAW_BATCHES: u32 = 5;

impl QueueFacade {
    /// Runs one tick of every queue where something is due, and tells how many were admitted.
    pub async fn admit_due(&self) -> Result<u32, AppError> {
        let due = {
            let mut repositories = self.ports.back_office.read().await?;
            repositories.queues().list_due(self.ports.now()).await?
        };
        self.orders.retain(&due);
        let mut admitted = 0;
        for concert_id in due {
            admitted += self.admit(concert_id).await?;
            for _ in 1..DRAW_BATCHES {
                if self.orders.get(concert_id).is_none() {
                    break;
                }
                admitted += self.admit(concert_id).await?;
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

    /// One tick of one queue, under the lock of its row: whoever else ticks it waits, and finds nothing left to do.
    ///
    /// Rate and room are counted from what is written, so the bounds hold at every instant and with any number of
    /// instances.
    async fn admit(&self, concert_id: ConcertId) -> Result<u32, AppError> {
        let mut uow = self.ports.back_office.begin().await?;
        let Some(mut queue) = uow.queues().lock_queues(&[concert_id]).await?.pop() else { return Ok(0) };
        let now = queue.present(self.ports.now());
        let expired = uow.queues().expire_lapsed(concert_id, now).await?;
        let mut changed = expired > 0;
        changed |= draw::settle(&self.ports, &mut *uow, &mut queue, now).await?;
        if let Some(order) = self.orders.get(concert_id) {
            changed |= draw::place_next(&mut *uow, &mut queue, &order, now).await?;
        }
        let head = queue.head;
        let (budget, active) = budget(&mut *uow, &queue, now).await?;
        let next = choose(&mut *uow, &mut queue, budget, now).await?;
        let admitted = u32::try_from(next.len()).unwrap_or(u32::MAX);
        uow.queues().update_tokens(&next, now).await?;
        if admitted > 0 {
            let active = active + admitted;
            let settings = queue.settings;
            let record = AdmissionRecord { concert_id, admitted_at: now, admitted, active, settings };
            uow.queues().insert_admission(&record).await?;
        }
        changed |= admitted > 0 || queue.head != head;
        if changed || now - queue.decided_at >= IDLE_WRITE {
            queue.decided_at = now;
            uow.queues().update_queue(&queue).await?;
        }
        uow.commit().await?;
        measure(expired, &next, head, now);
        self.keep_order(&queue).await?;
        Ok(admitted)
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
    fn retain(&self, due: &[ConcertId]) {
        self.map().retain(|id, _| due.contains(id));
    }
}
