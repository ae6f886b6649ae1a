//! Write lanes: one transaction for everybody who is waiting.
//!
//! Commands of a kind wait in one bounded [inbox]. A batch takes all that are waiting, decides them in one transaction,
//! and answers each after the commit. No timer adds a wait: the batch is whoever arrived while the transaction before it
//! worked; it begins when that one commits or is stuck, or beside it when a crowd waits. What would conflict isn't in two of them at
//! once where that is known beforehand; nothing depends on it, since other instances have lanes of their own.
//!
//! A command may carry an idempotency key: its answer is recorded in the transaction of the effect. Hardly any key comes
//! twice, so the lane takes each for new and lets the key's uniqueness say otherwise; then nothing of the attempt is left,
//! the batch is repeated, and the keys are looked up first: what was answered before is answered again. The
//! [latest keys](keys) are recognised at once, so that repeating a request costs its batch no attempt.

mod inbox;
mod keys;

use std::{
    cell::Cell,
    collections::{HashMap, HashSet, VecDeque},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt;
use metrics::{Counter, Gauge, Histogram};
use tokio::{
    sync::oneshot,
    time::{Instant as Stopwatch, sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, debug_span};

pub use self::keys::{IdempotencyKey, RenderAnswer};
use self::{
    inbox::Inbox,
    keys::{KeysInFlight, RecentKeys},
};
use super::{database_loss::or_unavailable, error::AppError, yield_to_coalesce};
use crate::domain::{
    clock::{Clock, Instant},
    idempotency::{Answer, IdempotencyRecord, KeyDigest},
    randomness::{Randomness, below},
    refusal::Refusal,
    repository_error::RepositoryError,
    unit_of_work::{Database, UnitOfWork},
};

/// How long the second request with a key waits for the first.
const DUPLICATE_KEY_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a batch that lost a race is repeated before it is split.
const MAX_ATTEMPTS: u32 = 8;

tokio::task_local! {
    /// How long the request at hand has waited for lanes.
    static LANE_WAIT: Cell<Duration>;
}

/// Tells, with what a future gives, how long it waited for lanes.
pub async fn with_lane_wait<F: Future>(future: F) -> (F::Output, Duration) {
    let timed = async {
        let output = future.await;
        (output, LANE_WAIT.with(Cell::get))
    };
    LANE_WAIT.scope(Cell::new(Duration::ZERO), timed).await
}

/// What a kind of lane does.
#[async_trait]
pub trait LaneWork: Send + Sync + 'static {
    /// What is asked.
    type Command: Send + Sync + 'static;
    /// What is answered.
    type Output: Send + Sync + 'static;

    /// The lane's name, in metrics and logs.
    const NAME: &'static str;

    /// Loads and locks everything the commands need, reads the clock, decides the commands in order of arrival, and
    /// stores. The caller commits. A refusal of one command is a result; an error is everybody's.
    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&Self::Command],
    ) -> Result<Decisions<Self::Output>, RepositoryError>;
}

/// What a batch decided.
#[derive(Debug)]
pub struct Decisions<T> {
    /// The instant of all of it. It was read after the locks: what another transaction decided before it, under the
    /// same locks, was decided at an earlier instant.
    pub at: Instant,
    /// One result a command, in their order.
    pub results: Vec<Result<T, Refusal>>,
}

/// What a lane answers.
#[derive(Debug)]
pub enum Reply<T> {
    /// A result that no key keeps.
    Unrecorded(Result<T, Refusal>),
    /// An answer kept under a key.
    Recorded {
        /// The answer, byte for byte.
        answer: Answer,
        /// Whether it was given before.
        replayed: bool,
    },
}

impl<T> Reply<T> {
    /// The same reply with a part of what it holds.
    pub(crate) fn narrow<U>(self, part: impl FnOnce(T) -> Option<U>) -> Result<Reply<U>, AppError> {
        match self {
            Self::Unrecorded(Ok(value)) => {
                let part = part(value).ok_or_else(|| AppError::from(foreign_output()))?;
                Ok(Reply::Unrecorded(Ok(part)))
            }
            Self::Unrecorded(Err(refusal)) => Ok(Reply::Unrecorded(Err(refusal))),
            Self::Recorded { answer, replayed } => Ok(Reply::Recorded { answer, replayed }),
        }
    }
}

/// How lanes are laid out.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// How many lanes of each kind: the most transactions that work at once.
    pub max_parallel_batches: usize,
    /// The most commands in one transaction.
    pub batch_limit: usize,
    /// The most commands waiting for the lanes of one kind.
    pub inbox_capacity: usize,
    /// How long a batch keeps the next one waiting: one that is stuck in a lock must not keep those who don't want it.
    pub slot_timeout: Duration,
    /// How long one transaction may take before it is given up, with its connection.
    pub transaction_timeout: Duration,
}

/// The ports a lane needs.
#[derive(Clone)]
pub struct LanePorts {
    /// Connections that are for lanes alone.
    pub database: Arc<dyn Database>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub randomness: Arc<dyn Randomness>,
    /// What the lanes run on: it waits for them at shutdown.
    pub tasks: TaskTracker,
}

/// The lanes of one kind.
pub struct Lanes<W: LaneWork> {
    shared: Arc<LaneState<W>>,
    keys_in_flight: KeysInFlight,
}

/// What the lanes of one kind share.
struct LaneState<W: LaneWork> {
    work: W,
    ports: LanePorts,
    metrics: LaneMetrics,
    settings: LaneSettings,
    recent_keys: RecentKeys,
    inbox: Mutex<Inbox<Job<W>>>,
}

struct Job<W: LaneWork> {
    command: W::Command,
    key: Option<IdempotencyKey<W::Output>>,
    reply: oneshot::Sender<Result<Reply<W::Output>, AppError>>,
    enqueued_at: Stopwatch,
    /// The request's, for a trace.
    span: Span,
}

/// What is measured of one kind of lane; looked up once, for every command passes here.
struct LaneMetrics {
    depth: Gauge,
    refused: Counter,
    wait: Histogram,
    batch_size: Histogram,
    transaction: Histogram,
    retries: Counter,
}

impl LaneMetrics {
    fn of(lane: &'static str) -> Self {
        Self {
            depth: metrics::gauge!("lane_depth", "lane" => lane),
            refused: metrics::counter!("lane_refused_total", "lane" => lane),
            wait: metrics::histogram!("lane_wait_seconds", "lane" => lane),
            batch_size: metrics::histogram!("lane_batch_size", "lane" => lane),
            transaction: metrics::histogram!("lane_transaction_seconds", "lane" => lane),
            retries: metrics::counter!("lane_retries_total", "lane" => lane),
        }
    }
}

impl<W: LaneWork> Lanes<W> {
    /// Lanes that do this work; they need a tokio runtime. Each batch is a task of its own, which ends by itself.
    pub fn new(work: W, settings: LaneSettings, ports: LanePorts) -> Self {
        let (inbox, metrics) = (Mutex::new(Inbox::new(settings)), LaneMetrics::of(W::NAME));
        let shared = LaneState { work, ports, metrics, settings, recent_keys: RecentKeys::default(), inbox };
        Self { shared: Arc::new(shared), keys_in_flight: KeysInFlight::default() }
    }

    /// Has a command decided.
    ///
    /// Commands that have the same `conflict_key` are never in two transactions of this instance at once: what conflicts
    /// without waiting for a lock meets in one batch, or comes one after the other.
    ///
    /// [`AppError::Overloaded`] at once when the inbox is full. A second command with the key of one that is still under
    /// way waits for it, and after five seconds is [`Refusal::IdempotencyInProgress`].
    pub async fn submit(
        &self,
        conflict_key: Option<u64>,
        command: W::Command,
        key: Option<IdempotencyKey<W::Output>>,
    ) -> Result<Reply<W::Output>, AppError> {
        let in_flight = key.as_ref().map(|key| self.keys_in_flight.enter(key.digest));
        let (reply, answer) = oneshot::channel();
        let enqueued_at = Stopwatch::now();
        let job = Job { command, key, reply, enqueued_at, span: Span::current() };
        if !self.shared.update_inbox(|inbox| inbox.push(conflict_key, job)) {
            self.shared.metrics.refused.increment(1);
            return Err(AppError::Overloaded);
        }
        self.shared.metrics.depth.increment(1.0);
        // Borrowed: the key counts as under way until its answer is here.
        let answer = if in_flight.as_ref().is_some_and(|key| key.is_duplicate) {
            timeout(DUPLICATE_KEY_TIMEOUT, answer).await.map_err(|_| Refusal::IdempotencyInProgress)?
        } else {
            answer.await
        };
        // Outside of a request nobody wants to know.
        let _ = LANE_WAIT.try_with(|time| time.set(time.get() + enqueued_at.elapsed()));
        answer.unwrap_or(Err(AppError::Overloaded))
    }

    /// Has a command without a key decided.
    pub async fn submit_without_key(
        &self,
        conflict_key: Option<u64>,
        command: W::Command,
    ) -> Result<W::Output, AppError> {
        match self.submit(conflict_key, command, None).await? {
            Reply::Unrecorded(result) => Ok(result?),
            Reply::Recorded { .. } => Err(AppError::Overloaded),
        }
    }
}

impl<W: LaneWork> LaneState<W> {
    /// Changes the inbox, and begins a batch if that makes one due.
    fn update_inbox<T>(self: &Arc<Self>, change: impl FnOnce(&mut Inbox<Job<W>>) -> T) -> T {
        let (output, starts) = {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            (change(&mut inbox), inbox.try_start_batch())
        };
        // Without the lock: a runtime that ends drops the batch at once, which changes the inbox again.
        if starts {
            let batch = Batch { shared: Arc::clone(self), conflict_keys: None, slot_released: AtomicBool::new(false) };
            self.ports.tasks.spawn(batch.run());
        }
        output
    }
}

/// A batch that has begun. It gives its place in the lanes up when it is dropped, whatever became of it.
struct Batch<W: LaneWork> {
    shared: Arc<LaneState<W>>,
    /// What it has for itself, once it is gathered.
    conflict_keys: Option<HashSet<u64>>,
    /// Whether it lets the next one begin.
    slot_released: AtomicBool,
}

impl<W: LaneWork> Drop for Batch<W> {
    fn drop(&mut self) {
        if self.conflict_keys.is_none() {
            // Without an answer: only a runtime that ends drops a batch that early.
            self.take_jobs();
        }
        self.release_slot();
        let conflict_keys = self.conflict_keys.take().unwrap_or_default();
        self.shared.update_inbox(|inbox| inbox.finish_batch(&conflict_keys));
    }
}

impl<W: LaneWork> Batch<W> {
    async fn run(mut self) {
        yield_to_coalesce().await;
        let jobs = self.take_jobs();
        let now = Stopwatch::now();
        for job in &jobs {
            self.shared.metrics.wait.record(now - job.enqueued_at);
        }
        // Nobody waits any more for what a closed channel asked: its request timed out or was dropped.
        let mut processing =
            pin!(self.process_with_splitting(jobs.into_iter().filter(|job| !job.reply.is_closed()).collect()));
        if timeout(self.shared.settings.slot_timeout, &mut processing).await.is_err() {
            self.release_slot();
            processing.await;
        }
    }

    fn take_jobs(&mut self) -> Vec<Job<W>> {
        let (jobs, conflict_keys) = self.shared.update_inbox(Inbox::take_batch);
        self.conflict_keys = Some(conflict_keys);
        self.shared.metrics.depth.decrement(to_f64(jobs.len()));
        jobs
    }

    /// Lets the next batch begin.
    fn release_slot(&self) {
        if !self.slot_released.swap(true, Ordering::Relaxed) {
            self.shared.update_inbox(Inbox::release_slot);
        }
    }

    /// Answers every job: in one transaction if it goes well; a group that keeps failing is split in halves until the
    /// culprit stands alone.
    async fn process_with_splitting(&self, jobs: Vec<Job<W>>) {
        let mut groups = VecDeque::from([jobs]);
        while let Some(group) = groups.pop_front() {
            let (group, repeats) = split_duplicate_keys(group);
            if !repeats.is_empty() {
                groups.push_front(repeats);
            }
            if group.is_empty() {
                continue;
            }
            match self.attempt_with_retries(&group).instrument(span_of(&group)).await {
                Ok(replies) => {
                    for (job, reply) in group.into_iter().zip(replies) {
                        let _ = job.reply.send(Ok(reply));
                    }
                }
                Err(AttemptError { error, lost_commit }) => {
                    let is_not_retryable =
                        lost_commit || matches!(error, RepositoryError::Unavailable(_) | RepositoryError::ClockSkewed);
                    if group.len() == 1 || is_not_retryable {
                        reply_error(group, error);
                    } else {
                        tracing::warn!(lane = W::NAME, jobs = group.len(), %error, "splitting a failed batch");
                        let mut first = group;
                        let second = first.split_off(first.len() / 2);
                        groups.push_front(second);
                        groups.push_front(first);
                    }
                }
            }
        }
    }

    async fn attempt_with_retries(&self, group: &[Job<W>]) -> Result<Vec<Reply<W::Output>>, AttemptError> {
        let shared = &self.shared;
        let mut attempt = 1;
        loop {
            let started = Stopwatch::now();
            let check_keys = attempt > 1 || shared.recent_keys.knows_any(digests(group));
            let result = self.attempt_in_time(group, check_keys).await;
            shared.metrics.transaction.record(started.elapsed());
            shared.metrics.batch_size.record(to_f64(group.len()));
            let Err(failure) = result else { return result };
            let again = match failure.error {
                RepositoryError::Contention { .. } => attempt < MAX_ATTEMPTS,
                // A connection that was lost while it lay idle shows at its first statement.
                RepositoryError::Unavailable(_) => attempt == 1,
                _ => false,
            };
            if failure.lost_commit || !again {
                return Err(failure);
            }
            shared.metrics.retries.increment(1);
            let jitter = below(&*shared.ports.randomness, 1_000 << attempt);
            sleep(Duration::from_micros(jitter)).await;
            attempt += 1;
        }
    }

    /// An attempt that ends: when the database is lost, and when it takes too long. Its connection has fallen silent then,
    /// and is closed when it is given back.
    async fn attempt_in_time(&self, group: &[Job<W>], check_keys: bool) -> Result<Vec<Reply<W::Output>>, AttemptError> {
        let LaneState { ports, settings, .. } = &*self.shared;
        let commits = AtomicBool::new(false);
        let attempt = AssertUnwindSafe(self.attempt(group, check_keys, &commits)).catch_unwind();
        let mut attempt = pin!(or_unavailable(&*ports.database, attempt));
        let Ok(attempt) = timeout(settings.transaction_timeout, &mut attempt).await else {
            // Before the connection is given back, so that none of those beside it is taken unseen.
            ports.database.suspect_connections();
            let error = RepositoryError::Unavailable("a transaction took too long".into());
            return Err(AttemptError { error, lost_commit: commits.load(Ordering::Relaxed) });
        };
        match attempt {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RepositoryError::Storage("a decision panicked".into()).into()),
            // It may have been at its commit.
            Err(error) => Err(AttemptError { error, lost_commit: true }),
        }
    }

    async fn attempt(
        &self,
        group: &[Job<W>],
        check_keys: bool,
        commits: &AtomicBool,
    ) -> Result<Vec<Reply<W::Output>>, AttemptError> {
        let LaneState { work, ports, .. } = &*self.shared;
        let mut uow = ports.database.begin().instrument(debug_span!("begin")).await?;
        let known = if check_keys {
            find_recorded_answers(&mut *uow, group).await?
        } else {
            group.iter().map(|_| None).collect()
        };
        let commands: Vec<_> =
            group.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(job, _)| &job.command).collect();
        let Decisions { at, results } = if commands.is_empty() {
            Decisions { at: ports.clock.now(), results: Vec::new() }
        } else {
            work.run(&mut *uow, &*ports.clock, &commands).instrument(debug_span!("lock, decide, store")).await?
        };
        if results.len() != commands.len() {
            return Err(
                RepositoryError::Storage("a lane gave another number of results than of commands".into()).into()
            );
        }
        let Answers { replies, records, unrecorded_keys } = answer(group, known, results, at)?;
        require_no_recorded_answer(&mut *uow, &unrecorded_keys).await?;
        if !records.is_empty() {
            uow.idempotency().insert(&records).await?;
        }
        if !commands.is_empty() {
            // It waits for the disk, not for a core.
            self.release_slot();
            commits.store(true, Ordering::Relaxed);
            uow.commit().instrument(debug_span!("commit")).await.map_err(|error| AttemptError {
                // A certification conflict is a plain no: nothing was committed.
                lost_commit: !matches!(error, RepositoryError::Contention { .. }),
                error,
            })?;
        }
        let kept = group.iter().zip(&replies).filter(|(_, reply)| matches!(reply, Reply::Recorded { .. }));
        self.shared.recent_keys.note(kept.filter_map(|(job, _)| job.digest()));
        Ok(replies)
    }
}

impl<W: LaneWork> Job<W> {
    fn digest(&self) -> Option<KeyDigest> {
        self.key.as_ref().map(|key| key.digest)
    }
}

fn digests<W: LaneWork>(group: &[Job<W>]) -> impl Iterator<Item = KeyDigest> {
    group.iter().filter_map(Job::digest)
}

/// What a batch answers, and what is to be recorded of it.
struct Answers<T> {
    replies: Vec<Reply<T>>,
    records: Vec<IdempotencyRecord>,
    /// Keys whose answers aren't recorded.
    unrecorded_keys: Vec<KeyDigest>,
}

/// Answers each job: by what is known of its key, or else by its result.
fn answer<W: LaneWork>(
    group: &[Job<W>],
    known: Vec<Option<IdempotencyRecord>>,
    results: Vec<Result<W::Output, Refusal>>,
    at: Instant,
) -> Result<Answers<W::Output>, RepositoryError> {
    let mut results = results.into_iter();
    let mut answers =
        Answers { replies: Vec::with_capacity(group.len()), records: Vec::new(), unrecorded_keys: Vec::new() };
    for (job, known) in group.iter().zip(known) {
        let reply = match (known, &job.key) {
            (Some(record), _) => replay(job, record),
            (None, None) => Reply::Unrecorded(results.next().ok_or_else(foreign_output)?),
            (None, Some(key)) => {
                let result = results.next().ok_or_else(foreign_output)?;
                if result.as_ref().map_or_else(Refusal::is_lasting, |_| true) {
                    let record = record_answer(key, &result, at)?;
                    let answer = record.answer.clone();
                    answers.records.push(record);
                    Reply::Recorded { answer, replayed: false }
                } else {
                    answers.unrecorded_keys.push(key.digest);
                    Reply::Unrecorded(result)
                }
            }
        };
        answers.replies.push(reply);
    }
    Ok(answers)
}

fn record_answer<T>(
    key: &IdempotencyKey<T>,
    result: &Result<T, Refusal>,
    at: Instant,
) -> Result<IdempotencyRecord, RepositoryError> {
    Ok(IdempotencyRecord {
        digest: key.digest,
        user_id: key.user_id,
        fingerprint: key.fingerprint,
        answer: (key.render)(result.as_ref()).ok_or_else(foreign_output)?,
        created_at: at,
    })
}

/// A lane gave a command the output of another one: a defect, for which nothing may be stored.
fn foreign_output() -> RepositoryError {
    RepositoryError::Storage("a lane answered a command with another one's output".into())
}

/// One for many requests: a trace shows it by itself, with links to all of theirs.
fn span_of<W: LaneWork>(group: &[Job<W>]) -> Span {
    let name = format_args!("lane {}", W::NAME);
    let span = debug_span!("lane", otel.name = %name, commands = group.len());
    for job in group {
        span.follows_from(&job.span);
    }
    span
}

/// Why a batch failed.
struct AttemptError {
    error: RepositoryError,
    /// The commit itself failed: nobody knows whether it took place, so it is not repeated.
    lost_commit: bool,
}

impl From<RepositoryError> for AttemptError {
    fn from(error: RepositoryError) -> Self {
        Self { error, lost_commit: false }
    }
}

/// Parts the jobs whose key another job of the group carries: they come after it.
fn split_duplicate_keys<W: LaneWork>(group: Vec<Job<W>>) -> (Vec<Job<W>>, Vec<Job<W>>) {
    let mut seen = HashSet::new();
    group.into_iter().partition(|job| job.key.as_ref().is_none_or(|key| seen.insert(key.digest)))
}

async fn find_recorded_answers<W: LaneWork>(
    uow: &mut dyn UnitOfWork,
    group: &[Job<W>],
) -> Result<Vec<Option<IdempotencyRecord>>, RepositoryError> {
    let digests: Vec<_> = digests(group).collect();
    let mut records = HashMap::new();
    if !digests.is_empty() {
        let known = uow.idempotency().list(&digests).await?;
        records.extend(known.into_iter().map(|record| (record.digest, record)));
    }
    Ok(group.iter().map(|job| job.digest().and_then(|digest| records.remove(&digest))).collect())
}

/// An answer that no key keeps may be due to the very request it repeats, which had ended its token or moved its balance
/// on when the rows were locked. Then the key has its answer by now.
async fn require_no_recorded_answer(uow: &mut dyn UnitOfWork, digests: &[KeyDigest]) -> Result<(), RepositoryError> {
    if digests.is_empty() || uow.idempotency().list(digests).await?.is_empty() {
        return Ok(());
    }
    // The caller repeats, and finds the answer that was recorded.
    Err(RepositoryError::stale("an idempotency key"))
}

fn replay<W: LaneWork>(job: &Job<W>, record: IdempotencyRecord) -> Reply<W::Output> {
    if job.key.as_ref().is_some_and(|key| key.fingerprint == record.fingerprint) {
        Reply::Recorded { answer: record.answer, replayed: true }
    } else {
        Reply::Unrecorded(Err(Refusal::IdempotencyKeyReused))
    }
}

fn reply_error<W: LaneWork>(group: Vec<Job<W>>, error: RepositoryError) {
    let error = AppError::from(error);
    for job in group {
        let _ = job.reply.send(Err(error.clone()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric of at most a few thousand")]
fn to_f64(number: usize) -> f64 {
    number as f64
}
