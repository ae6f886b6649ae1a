//! Counting what this process changes: what was read before a change isn't given to anybody after it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts changes. Copies share the count.
#[derive(Clone, Debug, Default)]
pub struct ChangeCounter(Arc<AtomicU64>);

impl ChangeCounter {
    /// To be called after each commit.
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// How many there were: to be asked before a reading begins.
    pub(crate) fn current(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
