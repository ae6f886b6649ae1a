//! Counters of changes, by which caches detect that an entry was read before a change of this process.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts changes. Copies share the count.
#[derive(Clone, Debug, Default)]
pub struct ChangeCounter(Arc<AtomicU64>);

impl ChangeCounter {
    /// Counts a change. The writer calls it after each commit.
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of changes so far. A cache reads it before it reads a value from the database.
    pub(crate) fn current(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
