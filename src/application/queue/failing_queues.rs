//! The queues whose ticks fail, and the backoff of their ticks.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::id::ConcertId;

/// The greatest n: a queue whose ticks keep failing is ticked every 2^n-th time.
const MAX_SKIP_EXPONENT: u32 = 6;

/// The queues whose ticks fail, with exponential backoff: each skips more and more ticks. So a queue whose ticks wait,
/// such as for a lock, delays the others less and less.
#[derive(Debug, Default)]
pub(super) struct FailingQueues(Mutex<HashMap<ConcertId, Failures>>);

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    /// Consecutive failures.
    count: u32,
    /// Ticks that are still to be skipped.
    skipped_ticks: u32,
}

impl FailingQueues {
    fn map(&self) -> MutexGuard<'_, HashMap<ConcertId, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a queue is ticked this time. If not, counts a skipped tick.
    pub(super) fn is_due(&self, id: ConcertId) -> bool {
        match self.map().get_mut(&id) {
            Some(failures) if failures.skipped_ticks > 0 => {
                failures.skipped_ticks -= 1;
                false
            }
            _ => true,
        }
    }

    /// Whether the last tick of a queue failed.
    pub(super) fn contains(&self, id: ConcertId) -> bool {
        self.map().contains_key(&id)
    }

    pub(super) fn record_failure(&self, id: ConcertId) {
        let mut map = self.map();
        let failures = map.entry(id).or_default();
        failures.skipped_ticks = (1 << failures.count.min(MAX_SKIP_EXPONENT)) - 1;
        failures.count += 1;
    }

    pub(super) fn remove(&self, id: ConcertId) {
        self.map().remove(&id);
    }

    pub(super) fn retain(&self, occupied: &HashSet<ConcertId>) {
        self.map().retain(|id, _| occupied.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_queue_is_ticked_less_and_less_often_until_a_tick_succeeds() {
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
