//! The contract between a lane and the work that its batches do.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio_util::task::TaskTracker;

use super::reply::Decision;
use crate::domain::{
    clock::{Clock, Instant},
    randomness::Randomness,
    repository_error::RepositoryError,
    unit_of_work::{Database, UnitOfWork},
};

/// The work of one kind of lane.
#[async_trait]
pub trait LaneWork: Send + Sync + 'static {
    /// A request, with the [`ReplyTo`](super::ReplyTo) that makes its decision.
    type Command: Send + Sync + 'static;

    /// The lane's name in metrics and logs.
    const NAME: &'static str;

    /// Loads and locks every row that the commands need, reads the clock, decides the commands in order of arrival, and
    /// stores the changes. The caller commits.
    ///
    /// A refusal is a decision, too. An error fails the whole batch.
    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&Self::Command],
    ) -> Result<Decisions, RepositoryError>;
}

/// The decisions of one batch.
pub struct Decisions {
    /// The instant of every decision. It is read after the locks are taken, so a transaction of this instance that held
    /// the same locks before decided at an earlier instant.
    pub at: Instant,
    /// One decision for each command, in the commands' order.
    pub decisions: Vec<Decision>,
}

/// Limits of the lanes of one kind.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// The most batches whose transactions run concurrently, not counting those that wait for their commit.
    pub max_parallel_batches: usize,
    /// The most commands in one transaction.
    pub batch_limit: usize,
    /// The most commands that wait for a batch.
    pub inbox_capacity: usize,
    /// The longest time for which a batch occupies its slot. So a batch that waits for a lock doesn't delay commands
    /// that don't need the lock.
    pub slot_timeout: Duration,
    /// The time limit of one transaction, after which the lane abandons it and closes its connection.
    pub transaction_timeout: Duration,
}

/// The ports that a lane needs.
#[derive(Clone)]
pub struct LanePorts {
    /// A connection pool that only lanes use.
    pub database: Arc<dyn Database>,
    /// The clock that dates decisions.
    pub clock: Arc<dyn Clock>,
    /// The source of the jitter of retries.
    pub randomness: Arc<dyn Randomness>,
    /// The tasks that shutdown waits for: one for each batch.
    pub tasks: TaskTracker,
}
