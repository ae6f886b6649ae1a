//! The transactions of a batch: attempts, retries, splitting, and replays of recorded answers.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use metrics::{Counter, Histogram};
use tokio::time::{Instant as Stopwatch, sleep, timeout};
use tracing::{Instrument, Span, debug_span};

use super::{
    keys::RecentKeys,
    reply::{Decision, UntypedReply},
    work::{Decisions, LanePorts, LaneWork},
};
use crate::{
    application::{database_loss::or_unavailable, error::AppError},
    domain::{
        idempotency::{IdempotencyRecord, KeyDigest},
        randomness::below,
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// The most attempts of a transaction that meets contention. Then the batch is split.
const MAX_ATTEMPTS: u32 = 8;

/// A command on its way through a lane.
pub(super) struct Job<C> {
    pub(super) command: C,
    pub(super) reply: Arc<dyn UntypedReply>,
    pub(super) enqueued_at: Stopwatch,
    /// The request's span, to which the batch's span links.
    pub(super) span: Span,
}

/// Runs the transactions of one kind of lane.
pub(super) struct BatchRunner<W> {
    work: W,
    ports: LanePorts,
    transaction_timeout: Duration,
    recent_keys: RecentKeys,
    metrics: BatchMetrics,
}

/// Metrics of one kind of lane, looked up once.
struct BatchMetrics {
    batch_size: Histogram,
    transaction: Histogram,
    retries: Counter,
}

/// The outcome for one job of a committed batch.
enum Resolution {
    Decided(Decision),
    /// The job's key was recorded before.
    Replayed(IdempotencyRecord),
}

impl<W: LaneWork> BatchRunner<W> {
    pub(super) fn new(work: W, ports: LanePorts, transaction_timeout: Duration) -> Self {
        let metrics = BatchMetrics {
            batch_size: metrics::histogram!("lane_batch_size", "lane" => W::NAME),
            transaction: metrics::histogram!("lane_transaction_seconds", "lane" => W::NAME),
            retries: metrics::counter!("lane_retries_total", "lane" => W::NAME),
        };
        Self { work, ports, transaction_timeout, recent_keys: RecentKeys::default(), metrics }
    }

    /// Answers every job, normally in one transaction. A group that keeps failing is split in halves, until the failing
    /// command has a group of its own.
    ///
    /// `before_commit` is called before each commit, which waits for the disk and uses no CPU time.
    pub(super) async fn run(&self, jobs: Vec<Job<W::Command>>, before_commit: &(dyn Fn() + Send + Sync)) {
        let mut groups = VecDeque::from([jobs]);
        while let Some(group) = groups.pop_front() {
            let (group, repeats) = split_duplicate_keys(group);
            if !repeats.is_empty() {
                groups.push_front(repeats);
            }
            if group.is_empty() {
                continue;
            }
            let attempts = self.attempt_with_retries(&group, before_commit);
            match attempts.instrument(span_of::<W>(&group)).await {
                Ok(resolutions) => {
                    for (job, resolution) in group.into_iter().zip(resolutions) {
                        match resolution {
                            Resolution::Decided(decision) => decision.send(),
                            Resolution::Replayed(record) => job.reply.replay(record),
                        }
                    }
                }
                Err(AttemptError { error, lost_commit }) => {
                    let fails_every_job =
                        lost_commit || matches!(error, RepositoryError::Unavailable(_) | RepositoryError::ClockSkewed);
                    if group.len() == 1 || fails_every_job {
                        let error = AppError::from(error);
                        for job in group {
                            job.reply.fail(error.clone());
                        }
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

    async fn attempt_with_retries(
        &self,
        group: &[Job<W::Command>],
        before_commit: &(dyn Fn() + Send + Sync),
    ) -> Result<Vec<Resolution>, AttemptError> {
        let mut attempt = 1;
        loop {
            let started = Stopwatch::now();
            let check_keys = attempt > 1 || self.recent_keys.contains_any(digests(group));
            let result = self.attempt_in_time(group, check_keys, before_commit).await;
            self.metrics.transaction.record(started.elapsed());
            self.metrics.batch_size.record(to_f64(group.len()));
            let Err(failure) = result else { return result };
            let is_retryable = match failure.error {
                RepositoryError::Contention { .. } => attempt < MAX_ATTEMPTS,
                // The first statement detects that a connection was lost while it was idle.
                RepositoryError::Unavailable(_) => attempt == 1,
                _ => false,
            };
            if failure.lost_commit || !is_retryable {
                return Err(failure);
            }
            self.metrics.retries.increment(1);
            let jitter = below(&*self.ports.randomness, 1_000 << attempt);
            sleep(Duration::from_micros(jitter)).await;
            attempt += 1;
        }
    }

    /// Makes one attempt, and abandons it if the database is lost or the transaction exceeds its timeout. The
    /// connection of such a transaction has stopped responding, and is closed when it is released.
    async fn attempt_in_time(
        &self,
        group: &[Job<W::Command>],
        check_keys: bool,
        before_commit: &(dyn Fn() + Send + Sync),
    ) -> Result<Vec<Resolution>, AttemptError> {
        let is_committing = AtomicBool::new(false);
        let commits = || {
            before_commit();
            is_committing.store(true, Ordering::Relaxed);
        };
        let attempt = AssertUnwindSafe(self.attempt(group, check_keys, &commits)).catch_unwind();
        let mut attempt = pin!(or_unavailable(&*self.ports.database, attempt));
        let Ok(attempt) = timeout(self.transaction_timeout, &mut attempt).await else {
            // This precedes the release of the connection, so that each other connection is tested before it is used.
            self.ports.database.suspect_connections();
            let error = RepositoryError::Unavailable("a transaction took too long".into());
            return Err(AttemptError { error, lost_commit: is_committing.load(Ordering::Relaxed) });
        };
        match attempt {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RepositoryError::Storage("a decision panicked".into()).into()),
            // The transaction may have been at its commit.
            Err(error) => Err(AttemptError { error, lost_commit: true }),
        }
    }

    async fn attempt(
        &self,
        group: &[Job<W::Command>],
        check_keys: bool,
        before_commit: &(dyn Fn() + Send + Sync),
    ) -> Result<Vec<Resolution>, AttemptError> {
        let Self { work, ports, .. } = self;
        let mut uow = ports.database.begin().instrument(debug_span!("begin")).await?;
        let mut recorded = if check_keys { find_recorded_answers(&mut *uow, group).await? } else { HashMap::new() };
        let recorded: Vec<_> =
            group.iter().map(|job| job.reply.key_digest().and_then(|digest| recorded.remove(&digest))).collect();
        let commands: Vec<_> =
            group.iter().zip(&recorded).filter(|(_, record)| record.is_none()).map(|(job, _)| &job.command).collect();
        let mut decisions = Vec::new();
        if !commands.is_empty() {
            let run = work.run(&mut *uow, &*ports.clock, &commands).instrument(debug_span!("lock, decide, store"));
            let decided = run.await?;
            require_decision_per_command(&decided, commands.len())?;
            let unrecorded: Vec<_> = decided.decisions.iter().filter_map(Decision::unrecorded_key).collect();
            require_no_recorded_answer(&mut *uow, &unrecorded).await?;
            let records: Vec<_> = decided.decisions.iter().filter_map(|decision| decision.record(decided.at)).collect();
            if !records.is_empty() {
                uow.idempotency().insert(&records).await?;
            }
            before_commit();
            uow.commit().instrument(debug_span!("commit")).await.map_err(|error| AttemptError {
                // Contention at the commit, such as a certification conflict, proves that nothing was committed.
                lost_commit: !matches!(error, RepositoryError::Contention { .. }),
                error,
            })?;
            decisions = decided.decisions;
        }
        let replayed = recorded.iter().flatten().map(|record| record.digest);
        self.recent_keys.insert(replayed.chain(decisions.iter().filter_map(Decision::recorded_key)));
        let mut decisions = decisions.into_iter();
        let resolve = |record: Option<_>| match record {
            Some(record) => Some(Resolution::Replayed(record)),
            None => decisions.next().map(Resolution::Decided),
        };
        Ok(recorded.into_iter().filter_map(resolve).collect())
    }
}

fn digests<C>(group: &[Job<C>]) -> impl Iterator<Item = KeyDigest> {
    group.iter().filter_map(|job| job.reply.key_digest())
}

/// The span of a batch, with links to the spans of all of its requests.
fn span_of<W: LaneWork>(group: &[Job<W::Command>]) -> Span {
    let name = format_args!("lane {}", W::NAME);
    let span = debug_span!("lane", otel.name = %name, commands = group.len());
    for job in group {
        span.follows_from(&job.span);
    }
    span
}

/// The failure of one attempt.
struct AttemptError {
    error: RepositoryError,
    /// Whether the commit itself failed: its outcome is unknown, so it isn't repeated.
    lost_commit: bool,
}

impl From<RepositoryError> for AttemptError {
    fn from(error: RepositoryError) -> Self {
        Self { error, lost_commit: false }
    }
}

/// Separates the jobs whose key an earlier job of the group has. They are processed after that job.
fn split_duplicate_keys<C>(group: Vec<Job<C>>) -> (Vec<Job<C>>, Vec<Job<C>>) {
    let mut seen = HashSet::new();
    group.into_iter().partition(|job| job.reply.key_digest().is_none_or(|digest| seen.insert(digest)))
}

async fn find_recorded_answers<C>(
    uow: &mut dyn UnitOfWork,
    group: &[Job<C>],
) -> Result<HashMap<KeyDigest, IdempotencyRecord>, RepositoryError> {
    let digests: Vec<_> = digests(group).collect();
    if digests.is_empty() {
        return Ok(HashMap::new());
    }
    let records = uow.idempotency().list(&digests).await?;
    Ok(records.into_iter().map(|record| (record.digest, record)).collect())
}

fn require_decision_per_command(decided: &Decisions, commands: usize) -> Result<(), RepositoryError> {
    if decided.decisions.len() == commands {
        Ok(())
    } else {
        Err(RepositoryError::Storage("a lane made another number of decisions than it got commands".into()))
    }
}

/// Checks that no unrecorded key has a recorded answer. A command may be refused temporarily because the request that
/// it repeats has taken effect, such as ended its token or changed its balance. Then the key has a recorded answer by
/// now.
async fn require_no_recorded_answer(uow: &mut dyn UnitOfWork, digests: &[KeyDigest]) -> Result<(), RepositoryError> {
    if digests.is_empty() || uow.idempotency().list(digests).await?.is_empty() {
        return Ok(());
    }
    // The next attempt finds the recorded answer.
    Err(RepositoryError::stale("an idempotency key"))
}

#[expect(clippy::cast_precision_loss, reason = "a metric of at most a few thousand")]
fn to_f64(number: usize) -> f64 {
    number as f64
}
