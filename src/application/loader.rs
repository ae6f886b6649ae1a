//! Shared reads: one query for all concurrent requests.
//!
//! A read starts after every request that it serves, so its answer is never stale. Requests that arrive during a read
//! share the next one. Under load the database runs a few reads at a time, however many requests there are.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tokio_util::task::TaskTracker;

use super::{
    database_loss::{READ_TIMEOUT, or_unavailable_within},
    error::AppError,
    yield_to_coalesce,
};
use crate::domain::{
    repository_error::RepositoryError,
    unit_of_work::{Database, Repositories},
};

/// The most requests that one read serves.
const BATCH_LIMIT: usize = 1_024;

/// The number of readers, and so of concurrent reads.
const READER_COUNT: usize = 2;

/// The read that a loader runs for a batch of keys.
#[async_trait]
pub trait BatchRead: Send + Sync + 'static {
    /// The key of a value.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// The value of a key.
    type Value: Clone + Send + Sync + 'static;

    /// Reads the values of distinct keys; absent ones are left out. Two reads of one key never overlap.
    async fn load(
        &self,
        repositories: &mut dyn Repositories,
        keys: &[Self::Key],
    ) -> Result<HashMap<Self::Key, Self::Value>, RepositoryError>;
}

type PendingRead<L> = (<L as BatchRead>::Key, oneshot::Sender<Result<Option<<L as BatchRead>::Value>, AppError>>);

/// Serves concurrent requests with shared reads.
pub struct Loader<L: BatchRead> {
    readers: [mpsc::Sender<PendingRead<L>>; READER_COUNT],
}

impl<L: BatchRead> Loader<L> {
    /// Starts the readers. They end when the loader is dropped.
    pub fn start(source: L, database: &Arc<dyn Database>, tasks: &TaskTracker) -> Self {
        Self::start_with_delay(source, Duration::ZERO, database, tasks)
    }

    /// Starts readers that wait for `coalescing_delay` before each read, so that more requests share it: for callers
    /// that tolerate the latency.
    pub fn start_with_delay(
        source: L,
        coalescing_delay: Duration,
        database: &Arc<dyn Database>,
        tasks: &TaskTracker,
    ) -> Self {
        let source = Arc::new(source);
        let readers = std::array::from_fn(|_| {
            let (sender, inbox) = mpsc::channel(8 * BATCH_LIMIT);
            tasks.spawn(run_reader(Arc::clone(&source), coalescing_delay, Arc::clone(database), inbox));
            sender
        });
        Self { readers }
    }

    /// Reads the value of one key; `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`AppError::Overloaded`] at once if too many requests wait; the failure of the read.
    pub async fn get(&self, key: L::Key) -> Result<Option<L::Value>, AppError> {
        let (reply, answer) = oneshot::channel();
        self.reader_for_key(&key).try_send((key, reply)).map_err(|error| match error {
            TrySendError::Full(_) => AppError::Overloaded,
            TrySendError::Closed(_) => AppError::internal(ReaderEnded),
        })?;
        answer.await.unwrap_or_else(|_| Err(AppError::internal(ReaderEnded)))
    }

    /// The same reader for all requests of a key, so that they share its reads.
    fn reader_for_key(&self, key: &L::Key) -> &mpsc::Sender<PendingRead<L>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let [first, second] = &self.readers;
        if hasher.finish().is_multiple_of(2) { first } else { second }
    }
}

/// A reader ended before its loader.
#[derive(Debug, thiserror::Error)]
#[error("a shared read has ended without an answer")]
struct ReaderEnded;

async fn run_reader<L: BatchRead>(
    source: Arc<L>,
    coalescing_delay: Duration,
    database: Arc<dyn Database>,
    mut inbox: mpsc::Receiver<PendingRead<L>>,
) {
    let mut pending = Vec::new();
    while inbox.recv_many(&mut pending, BATCH_LIMIT).await > 0 {
        if !coalescing_delay.is_zero() {
            tokio::time::sleep(coalescing_delay).await;
        }
        yield_to_coalesce().await;
        while pending.len() < BATCH_LIMIT
            && let Ok(read) = inbox.try_recv()
        {
            pending.push(read);
        }
        let mut waiting: HashMap<L::Key, Vec<_>> = HashMap::new();
        for (key, reply) in pending.drain(..) {
            waiting.entry(key).or_default().push(reply);
        }
        let keys: Vec<_> = waiting.keys().cloned().collect();
        let found = match read(&*source, &*database, &keys).await {
            // The first statement detects that a connection was lost while it was idle, or has fallen silent.
            Err(RepositoryError::Unavailable(_)) => read(&*source, &*database, &keys).await,
            result => result,
        };
        let found = found.map_err(AppError::from);
        for (key, replies) in waiting {
            for reply in replies {
                let _ = reply.send(found.as_ref().map(|found| found.get(&key).cloned()).map_err(Clone::clone));
            }
        }
    }
}

async fn read<L: BatchRead>(
    source: &L,
    database: &dyn Database,
    keys: &[L::Key],
) -> Result<HashMap<L::Key, L::Value>, RepositoryError> {
    let reading = async {
        let mut repositories = database.read().await?;
        source.load(&mut *repositories, keys).await
    };
    // A panic fails the requests of this read, and the reader continues.
    or_unavailable_within(database, READ_TIMEOUT, AssertUnwindSafe(reading).catch_unwind())
        .await?
        .unwrap_or_else(|_| Err(RepositoryError::Storage("a shared read panicked".into())))
}
