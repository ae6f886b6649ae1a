//! Concurrent requests, and randomness that can be repeated.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use tokio::sync::Barrier;

use super::Reply;

/// Runs all futures concurrently: none begins before all are ready. Returns their outcomes in order.
pub(crate) async fn race<F>(runners: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let runners: Vec<_> = runners.into_iter().collect();
    let barrier = Arc::new(Barrier::new(runners.len()));
    let tasks: Vec<_> = runners
        .into_iter()
        .map(|runner| {
            let barrier = Arc::clone(&barrier);
            #[expect(clippy::disallowed_methods, reason = "the race waits for every one of them")]
            tokio::spawn(async move {
                barrier.wait().await;
                runner.await
            })
        })
        .collect();
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(task.await.expect("a runner doesn't panic"));
    }
    outcomes
}

/// The number of answers of each status and code.
pub(crate) fn tally<'a>(replies: impl IntoIterator<Item = &'a Reply>) -> BTreeMap<(u16, String), usize> {
    let mut counts = BTreeMap::new();
    for reply in replies {
        *counts.entry((reply.status.as_u16(), reply.code())).or_default() += 1;
    }
    counts
}

/// Random numbers that are the same in every run, so that a failure can be repeated.
pub(crate) struct SeededRandom(u64);

impl SeededRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `bound - 1`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // Knuth's MMIX generator; its upper half is the better one.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
