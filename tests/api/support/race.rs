//! Doing things at once.

use std::{future::Future, sync::Arc};

use tokio::sync::Barrier;

/// Runs all of these at once: none begins before all are ready. Returns their outcomes in order.
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
