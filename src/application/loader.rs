//! Shared reads: one query for everybody who asks meanwhile.
//!
//! A read begins after it was asked for, so nobody gets anything stale; whoever asks while a read runs shares the next
//! one. Under load the database sees a few reads at a time, however many people ask.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::{database_loss::or_unavailable, error::AppError, yield_to_coalesce};
use crate::domain::{
    repository_error::RepositoryError,
    unit_of_work::{Database, Repositories},
};

/// The most keys in one read.
const BATCH_LIMIT: usize = 1_024;

/// How many reads run at once.
const READER_COUNT: usize = 2;

/// What a loader reads.
#[async_trait]
pub trait BatchRead: Send + Sync + 'static {
    /// What is asked for.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// What is found.
    type Value: Clone + Send + Sync + 'static;

    /// Reads these keys, each once; those that aren't there are left out. Two readings of one key never overlap.
    async fn load(
        &self,
        repositories: &mut dyn Repositories,
        keys: &[Self::Key],
    ) -> Result<HashMap<Self::Key, Self::Value>, RepositoryError>;
}

type PendingRead<L> = (<L as BatchRead>::Key, oneshot::Sender<Result<Option<<L as BatchRead>::Value>, AppError>>);

/// Reads for many at once.
pub struct Loader<L: BatchRead> {
    readers: [mpsc::Sender<PendingRead<L>>; READER_COUNT],
}

impl<L: BatchRead> Loader<L> {
    /// Starts the readers. They end when this is dropped.
    pub fn start(source: L, database: &Arc<dyn Database>, tasks: &TaskTracker) -> Self {
        Self::start_with_delay(source, Duration::ZERO, database, tasks)
    }

    /// Starts readers that wait a while for others before each read: where nobody is in a hurry.
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

    /// Reads one key. [`AppError::Overloaded`] at once when too many are waiting.
    pub async fn get(&self, key: L::Key) -> Result<Option<L::Value>, AppError> {
        let (reply, answer) = oneshot::channel();
        self.reader_for_key(&key).try_send((key, reply)).map_err(|_| AppError::Overloaded)?;
        answer.await.unwrap_or(Err(AppError::Overloaded))
    }

    /// All who ask for one key ask one reader, so that they share its readings.
    fn reader_for_key(&self, key: &L::Key) -> &mpsc::Sender<PendingRead<L>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let [first, second] = &self.readers;
        if hasher.finish().is_multiple_of(2) { first } else { second }
    }
}

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
            // A connection that was lost while it lay idle shows at its first statement.
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
    // A panic is an answer to those who asked, not the end of the reader.
    or_unavailable(database, AssertUnwindSafe(reading).catch_unwind())
        .await?
        .unwrap_or_else(|_| Err(RepositoryError::Storage("a shared read panicked".into())))
}
