//! The lanes of one kind: commands enter an inbox, and batches start when slots are free.

use std::{
    cell::Cell,
    collections::HashSet,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram};
use tokio::time::{Instant as Stopwatch, timeout};
use tokio_util::task::TaskTracker;
use tracing::Span;

use super::{
    batch::{BatchRunner, Job},
    inbox::Inbox,
    keys::{IdempotencyKey, KeysInFlight},
    reply::{Reply, ReplyTo},
    work::{LanePorts, LaneSettings, LaneWork},
};
use crate::{
    application::{error::AppError, yield_to_coalesce},
    domain::refusal::Refusal,
};

/// The time for which a second request waits for the first one with its key.
pub(in crate::application) const DUPLICATE_KEY_TIMEOUT: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// The time for which the current request has waited for lanes.
    static LANE_WAIT: Cell<Duration>;
}

/// Runs a future; returns its output with the time for which it waited for lanes.
pub async fn with_lane_wait<F: Future>(future: F) -> (F::Output, Duration) {
    let timed = async {
        let output = future.await;
        (output, LANE_WAIT.with(Cell::get))
    };
    LANE_WAIT.scope(Cell::new(Duration::ZERO), timed).await
}

/// The lanes of one kind.
pub struct Lanes<W: LaneWork> {
    state: Arc<LaneState<W>>,
    keys_in_flight: KeysInFlight,
}

/// The state that the batches of one kind share.
struct LaneState<W: LaneWork> {
    inbox: Mutex<Inbox<Job<W::Command>>>,
    runner: BatchRunner<W>,
    slot_timeout: Duration,
    tasks: TaskTracker,
    metrics: InboxMetrics,
}

/// Metrics of one kind of lane, looked up once.
struct InboxMetrics {
    depth: Gauge,
    refused: Counter,
    wait: Histogram,
}

impl<W: LaneWork> Lanes<W> {
    /// Lanes that run this work. They require a Tokio runtime: each batch is a task of its own, which ends by itself.
    pub fn new(work: W, settings: LaneSettings, ports: LanePorts) -> Self {
        let metrics = InboxMetrics {
            depth: metrics::gauge!("lane_depth", "lane" => W::NAME),
            refused: metrics::counter!("lane_refused_total", "lane" => W::NAME),
            wait: metrics::histogram!("lane_wait_seconds", "lane" => W::NAME),
        };
        let LaneSettings { slot_timeout, transaction_timeout, .. } = settings;
        let (inbox, tasks) = (Mutex::new(Inbox::new(settings)), ports.tasks.clone());
        let runner = BatchRunner::new(work, ports, transaction_timeout);
        let state = LaneState { inbox, runner, slot_timeout, tasks, metrics };
        Self { state: Arc::new(state), keys_in_flight: KeysInFlight::default() }
    }

    /// Submits a command and waits for its reply. `command` builds the command from the destination of its reply.
    ///
    /// Commands with the same conflict key are never in two concurrent transactions of this instance: they share a
    /// batch or run one after the other. Commands that would conflict without waiting for a lock have one.
    ///
    /// A second command with the idempotency key of one that is in progress waits for it, five seconds at most.
    ///
    /// # Errors
    ///
    /// [`AppError::Overloaded`] at once if the inbox is full; [`Refusal::IdempotencyInProgress`] if the first command
    /// with the key takes longer than five seconds; the failure of the command's batch, such as
    /// [`AppError::Contention`]. The reply contains [`Refusal::IdempotencyKeyReused`] for a key that was recorded with
    /// another request body.
    pub async fn submit<T: Send + 'static>(
        &self,
        conflict_key: Option<u64>,
        key: Option<IdempotencyKey<T>>,
        command: impl FnOnce(ReplyTo<T>) -> W::Command,
    ) -> Result<Reply<T>, AppError> {
        let in_flight = key.as_ref().map(|key| self.keys_in_flight.enter(key.digest));
        let (reply_to, reply) = ReplyTo::new(key);
        let enqueued_at = Stopwatch::now();
        let untyped = reply_to.untyped();
        let job = Job { command: command(reply_to), reply: untyped, enqueued_at, span: Span::current() };
        if !self.state.update_inbox(|inbox| inbox.push(conflict_key, job)) {
            self.state.metrics.refused.increment(1);
            return Err(AppError::Overloaded);
        }
        self.state.metrics.depth.increment(1.0);
        // `in_flight` is only borrowed, so that the key counts as in flight until its reply arrives.
        let reply = if in_flight.as_ref().is_some_and(|key| key.is_duplicate) {
            timeout(DUPLICATE_KEY_TIMEOUT, reply).await.map_err(|_| Refusal::IdempotencyInProgress)?
        } else {
            reply.await
        };
        // Outside of a request there is no wait to add to.
        let _ = LANE_WAIT.try_with(|time| time.set(time.get() + enqueued_at.elapsed()));
        reply.unwrap_or_else(|_| Err(AppError::internal(Unanswered)))
    }

    /// Submits a command without an idempotency key and waits for its output.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Self::submit), and the command's refusal.
    pub async fn submit_without_key<T: Send + 'static>(
        &self,
        conflict_key: Option<u64>,
        command: impl FnOnce(ReplyTo<T>) -> W::Command,
    ) -> Result<T, AppError> {
        match self.submit(conflict_key, None, command).await? {
            Reply::Unrecorded(result) => Ok(result?),
            Reply::Recorded { .. } => Err(AppError::internal(Unanswered)),
        }
    }
}

/// A lane dropped a command, or answered one without a key with a record.
#[derive(Debug, thiserror::Error)]
#[error("a lane didn't answer a command")]
struct Unanswered;

impl<W: LaneWork> LaneState<W> {
    /// Updates the inbox, and starts a batch if one is due then.
    fn update_inbox<T>(self: &Arc<Self>, update: impl FnOnce(&mut Inbox<Job<W::Command>>) -> T) -> T {
        let (output, starts) = {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            (update(&mut inbox), inbox.try_start_batch())
        };
        // After the lock is released: a runtime that shuts down drops the batch at once, which updates the inbox again.
        if starts {
            let batch = Batch { state: Arc::clone(self), conflict_keys: None, slot_released: AtomicBool::new(false) };
            self.tasks.spawn(batch.run());
        }
        output
    }
}

/// A batch that has started. Dropping it releases its slot and its conflict keys.
struct Batch<W: LaneWork> {
    state: Arc<LaneState<W>>,
    /// `None` until the batch has taken its jobs.
    conflict_keys: Option<HashSet<u64>>,
    slot_released: AtomicBool,
}

impl<W: LaneWork> Drop for Batch<W> {
    fn drop(&mut self) {
        if self.conflict_keys.is_none() {
            // Only a runtime that shuts down drops a batch this early. Its jobs get no answer.
            self.take_jobs();
        }
        self.release_slot();
        let conflict_keys = self.conflict_keys.take().unwrap_or_default();
        self.state.update_inbox(|inbox| inbox.finish_batch(&conflict_keys));
    }
}

impl<W: LaneWork> Batch<W> {
    async fn run(mut self) {
        yield_to_coalesce().await;
        let jobs = self.take_jobs();
        let now = Stopwatch::now();
        for job in &jobs {
            self.state.metrics.wait.record(now - job.enqueued_at);
        }
        let jobs = jobs.into_iter().filter(|job| !job.reply.is_abandoned()).collect();
        let before_commit = || self.release_slot();
        let mut running = pin!(self.state.runner.run(jobs, &before_commit));
        if timeout(self.state.slot_timeout, &mut running).await.is_err() {
            self.release_slot();
            running.await;
        }
    }

    fn take_jobs(&mut self) -> Vec<Job<W::Command>> {
        let (jobs, conflict_keys) = self.state.update_inbox(Inbox::take_batch);
        self.conflict_keys = Some(conflict_keys);
        let taken = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        self.state.metrics.depth.decrement(f64::from(taken));
        jobs
    }

    /// Releases the slot once, so that the next batch may start.
    fn release_slot(&self) {
        if !self.slot_released.swap(true, Ordering::Relaxed) {
            self.state.update_inbox(Inbox::release_slot);
        }
    }
}
