//! The counts of unavailable seats per performance, each counted at most once per `max_age` for all lists together.
//!
//! Anonymous requests choose the lists, so counts are cached by performance and not by list. One counting query runs at
//! a time, and a request that waits for it finds its counts cached. So counting for anonymous requests occupies at most
//! one connection.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;

use crate::{
    application::{Ports, error::AppError},
    domain::{clock::Instant, id::PerformanceId},
};

/// The most performances of one counting query.
const MAX_COUNTED: usize = 1_024;

/// Claimed seats by performance, with the instant of the oldest count.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// The number of held, sold and blocked seats.
    pub(super) claimed: HashMap<PerformanceId, u32>,
    /// The instant of the oldest count; `None` without a count.
    pub(super) as_of: Option<Instant>,
}

impl Counts {
    fn add(&mut self, id: PerformanceId, count: Count) {
        self.claimed.insert(id, count.claimed);
        self.as_of = Some(self.as_of.map_or(count.counted_at, |as_of| as_of.min(count.counted_at)));
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    claimed: u32,
    counted_at: Instant,
}

/// The counts of this instance, each younger than `max_age`.
pub(super) struct SeatCounts {
    ports: Ports,
    max_age: TimeDelta,
    cached: Mutex<HashMap<PerformanceId, Count>>,
    count_turn: tokio::sync::Mutex<()>,
}

impl SeatCounts {
    pub(super) fn new(ports: &Ports, max_age: Duration) -> Self {
        Self {
            ports: ports.clone(),
            max_age: TimeDelta::from_std(max_age).unwrap_or(TimeDelta::zero()),
            cached: Mutex::default(),
            count_turn: tokio::sync::Mutex::default(),
        }
    }

    /// The claimed seats of these performances, each counted less than `max_age` ago.
    pub(super) async fn of(&self, ids: &[PerformanceId]) -> Result<Counts, AppError> {
        let (counts, missing) = self.split(ids);
        if missing.is_empty() {
            return Ok(counts);
        }
        let _turn = self.count_turn.lock().await;
        let (mut counts, missing) = self.split(ids);
        for ids in missing.chunks(MAX_COUNTED) {
            for (id, count) in self.count(ids).await? {
                counts.add(id, count);
            }
        }
        Ok(counts)
    }

    /// The cached counts of these performances, and those without one.
    fn split(&self, ids: &[PerformanceId]) -> (Counts, Vec<PerformanceId>) {
        let now = self.ports.now();
        let cached = self.lock();
        let (mut counts, mut missing) = (Counts::default(), Vec::new());
        for id in ids {
            match cached.get(id).filter(|count| self.is_fresh(count, now)) {
                Some(count) => counts.add(*id, *count),
                None => missing.push(*id),
            }
        }
        (counts, missing)
    }

    async fn count(&self, ids: &[PerformanceId]) -> Result<Vec<(PerformanceId, Count)>, AppError> {
        let now = self.ports.now();
        let found = {
            let mut repositories = self.ports.database.read().await?;
            repositories.concerts().list_occupancy(ids, now).await?
        };
        let claimed: HashMap<_, _> = found.into_iter().map(|found| (found.performance_id, found.claimed)).collect();
        let count =
            |id: &PerformanceId| (*id, Count { claimed: claimed.get(id).copied().unwrap_or(0), counted_at: now });
        let counts: Vec<_> = ids.iter().map(count).collect();
        let mut cached = self.lock();
        cached.retain(|_, count| self.is_fresh(count, now));
        cached.extend(counts.iter().copied());
        Ok(counts)
    }

    fn is_fresh(&self, count: &Count, now: Instant) -> bool {
        (now - count.counted_at).abs() < self.max_age
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PerformanceId, Count>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
