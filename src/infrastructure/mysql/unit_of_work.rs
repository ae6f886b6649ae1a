//! Transactions.

use std::{
    sync::Arc,
    time::{Duration, Instant as Stopwatch},
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use metrics::{Gauge, Histogram};
use sqlx::{Executor, MySql, MySqlConnection, MySqlPool, SqlStr, Transaction, pool::PoolConnection};
use tokio::{runtime::Handle, time::sleep};

use super::{cluster, connection_loss, health_probe::HealthProbe, migration::first_missing};
use crate::domain::{
    administration::ActionLog,
    audit::AuditRepository,
    booking::{BookingRepository, ChoiceRepository, SeatClaimRepository},
    clock::ClockCheck,
    concert::ConcertRepository,
    event::{DeliveryRepository, OutboxRepository, WebhookRepository},
    export::ExportRepository,
    idempotency::IdempotencyRepository,
    mail::MailRepository,
    payment::PaymentRepository,
    point::WalletRepository,
    queue::{AdmissionRepository, DrawRepository, QueueRepository, QueueTokenRepository},
    repository_error::RepositoryError,
    ticket::TicketRepository,
    top_up::{SandboxCheckoutRepository, TopUpRepository},
    unit_of_work::{AfterCommit, Database, Repositories, UnitOfWork},
    user::{CodeRepository, SessionRepository, UserRepository},
};

/// One text, so that both statements run or none: the first applies to the connection's next transaction.
const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
     START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Time limit of a `BEGIN` whose caller has stopped waiting.
const ABANDONED_BEGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The database, through a pool of connections.
#[derive(Clone, Debug)]
pub struct MySqlDatabase {
    pool: MySqlPool,
    waiting: Gauge,
    acquisition: Histogram,
    health_probe: HealthProbe,
    clock: Option<Arc<ClockCheck>>,
}

impl MySqlDatabase {
    /// Uses this pool, which [`pool`](super::pool) created.
    pub fn new(pool: MySqlPool) -> Self {
        Self {
            pool,
            waiting: Gauge::noop(),
            acquisition: Histogram::noop(),
            health_probe: HealthProbe::default(),
            clock: None,
        }
    }

    /// Measures the waits for connections under this name of the pool.
    #[must_use]
    pub fn measured_as(self, name: &'static str) -> Self {
        Self {
            waiting: metrics::gauge!("database_waiting", "pool" => name),
            acquisition: metrics::histogram!("database_acquire_seconds", "pool" => name),
            ..self
        }
    }

    /// Fails at once while the health probe gets no answer from the database.
    #[must_use]
    pub fn with_health_probe(self, health_probe: HealthProbe) -> Self {
        Self { health_probe, ..self }
    }

    /// Refuses to begin transactions while this instance's clock is wrong.
    #[must_use]
    pub fn with_clock(self, clock: Arc<ClockCheck>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    async fn acquire(&self) -> Result<PoolConnection<MySql>, sqlx::Error> {
        let _waiting = WaitingGuard::begin(&self.waiting);
        let started = Stopwatch::now();
        let connection = self.or_timed_out(self.pool.acquire()).await;
        self.acquisition.record(started.elapsed());
        connection
    }

    /// Begins a transaction: by `statement`, or by a plain `BEGIN`.
    async fn begin_transaction(&self, statement: Option<&'static str>) -> Result<Session, sqlx::Error> {
        let connection = self.acquire().await?;
        let is_guarded = statement.is_none() && cluster::is_galera();
        let statement = if is_guarded { Some(cluster::GUARDED_BEGIN) } else { statement };
        let begin = Transaction::begin(connection, statement.map(SqlStr::from_static));
        let mut begin = UnfinishedBegin { work: Some(begin), health_probe: self.health_probe.clone() };
        Ok(Session::Transaction { transaction: begin.finish().await?, is_guarded, after_commit: Vec::new() })
    }

    async fn or_timed_out<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        tokio::select! {
            biased;
            () = self.health_probe.wait_until_unavailable() => Err(sqlx::Error::PoolTimedOut),
            result = work => result,
        }
    }
}

/// A `BEGIN` that hasn't been answered.
///
/// A caller that drops it half-way would leave the connection in a transaction that sqlx doesn't track. The
/// connection's next user would read that transaction's snapshot. So a task completes it and drops the transaction, and
/// sqlx rolls it back.
struct UnfinishedBegin {
    /// `None` once it is done.
    work: Option<BoxFuture<'static, Result<Transaction<'static, MySql>, sqlx::Error>>>,
    health_probe: HealthProbe,
}

impl UnfinishedBegin {
    async fn finish(&mut self) -> Result<Transaction<'static, MySql>, sqlx::Error> {
        let Some(work) = &mut self.work else { return Err(sqlx::Error::BeginFailed) };
        let begun = work.await;
        self.work = None;
        begun
    }
}

impl Drop for UnfinishedBegin {
    fn drop(&mut self) {
        let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) else { return };
        let health_probe = self.health_probe.clone();
        runtime.spawn(async move {
            tokio::select! {
                // The pool drops connections that are released while the database is unavailable.
                () = health_probe.wait_until_unavailable() => {}
                // On a silent connection it never ends: the connection is dropped.
                () = sleep(ABANDONED_BEGIN_TIMEOUT) => {}
                _ = work => {}
            }
        });
    }
}

/// Counts a waiting task until it has a connection or is dropped.
struct WaitingGuard<'a>(&'a Gauge);

impl<'a> WaitingGuard<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[async_trait]
impl Database for MySqlDatabase {
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError> {
        if self.clock.as_ref().is_some_and(|clock| !clock.is_right()) {
            return Err(RepositoryError::ClockSkewed);
        }
        Ok(Box::new(self.begin_transaction(None).await?))
    }

    async fn read(&self) -> Result<Box<dyn Repositories>, RepositoryError> {
        Ok(Box::new(Session::Plain(self.acquire().await?)))
    }

    async fn snapshot(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError> {
        Ok(Box::new(self.begin_transaction(Some(SNAPSHOT)).await?))
    }

    async fn wait_until_lost(&self) {
        self.health_probe.wait_until_unavailable().await;
    }

    fn suspect_connections(&self) {
        connection_loss::record();
    }

    async fn schema_is_current(&self) -> Result<bool, RepositoryError> {
        // A newer schema is compatible: during a rolling upgrade the old servers keep running.
        Ok(self.or_timed_out(first_missing(&self.pool)).await?.is_none())
    }
}

/// One connection, within a transaction or without. It implements every repository.
pub(super) enum Session {
    /// Each statement commits by itself.
    Plain(PoolConnection<MySql>),
    Transaction {
        transaction: Transaction<'static, MySql>,
        /// Whether it began by [`cluster::GUARDED_BEGIN`].
        is_guarded: bool,
        /// The actions to run after its commit.
        after_commit: Vec<AfterCommit>,
    },
}

impl Session {
    pub(super) fn connection(&mut self) -> &mut MySqlConnection {
        match self {
            Self::Plain(connection) => connection,
            Self::Transaction { transaction, .. } => transaction,
        }
    }
}

impl Repositories for Session {
    fn users(&mut self) -> &mut dyn UserRepository {
        self
    }

    fn sessions(&mut self) -> &mut dyn SessionRepository {
        self
    }

    fn codes(&mut self) -> &mut dyn CodeRepository {
        self
    }

    fn concerts(&mut self) -> &mut dyn ConcertRepository {
        self
    }

    fn queues(&mut self) -> &mut dyn QueueRepository {
        self
    }

    fn queue_tokens(&mut self) -> &mut dyn QueueTokenRepository {
        self
    }

    fn admissions(&mut self) -> &mut dyn AdmissionRepository {
        self
    }

    fn draws(&mut self) -> &mut dyn DrawRepository {
        self
    }

    fn bookings(&mut self) -> &mut dyn BookingRepository {
        self
    }

    fn seat_claims(&mut self) -> &mut dyn SeatClaimRepository {
        self
    }

    fn choices(&mut self) -> &mut dyn ChoiceRepository {
        self
    }

    fn wallets(&mut self) -> &mut dyn WalletRepository {
        self
    }

    fn payments(&mut self) -> &mut dyn PaymentRepository {
        self
    }

    fn tickets(&mut self) -> &mut dyn TicketRepository {
        self
    }

    fn top_ups(&mut self) -> &mut dyn TopUpRepository {
        self
    }

    fn sandbox_checkouts(&mut self) -> &mut dyn SandboxCheckoutRepository {
        self
    }

    fn idempotency(&mut self) -> &mut dyn IdempotencyRepository {
        self
    }

    fn outbox(&mut self) -> &mut dyn OutboxRepository {
        self
    }

    fn deliveries(&mut self) -> &mut dyn DeliveryRepository {
        self
    }

    fn webhooks(&mut self) -> &mut dyn WebhookRepository {
        self
    }

    fn mail(&mut self) -> &mut dyn MailRepository {
        self
    }

    fn actions(&mut self) -> &mut dyn ActionLog {
        self
    }

    fn exports(&mut self) -> &mut dyn ExportRepository {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditRepository {
        self
    }
}

#[async_trait]
impl UnitOfWork for Session {
    fn after_commit(&mut self, action: AfterCommit) {
        match self {
            // Without a transaction every write is committed already.
            Self::Plain(_) => action(),
            Self::Transaction { after_commit, .. } => after_commit.push(action),
        }
    }

    async fn commit(self: Box<Self>) -> Result<(), RepositoryError> {
        if let Self::Transaction { mut transaction, is_guarded, after_commit } = *self {
            if is_guarded {
                transaction.execute(cluster::REQUIRE_WHOLE).await?;
            }
            transaction.commit().await?;
            for action in after_commit {
                action();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, task::Poll};

    use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

    use super::*;
    use crate::infrastructure::mysql::prepare;

    /// More polls than a `BEGIN` takes.
    const POLLS: usize = 12;

    /// Polls a future `polls` times at most, then drops it. Returns whether it was still pending.
    async fn drop_after<F: Future>(polls: usize, future: F) -> bool {
        let mut future = pin!(future);
        let mut left = polls;
        poll_fn(|context| {
            left -= 1;
            match future.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(false),
                Poll::Pending if left == 0 => Poll::Ready(true),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    async fn count(session: &mut Session) -> i64 {
        sqlx::query_scalar("SELECT CAST(COUNT(*) AS SIGNED) FROM probe").fetch_one(session.connection()).await.unwrap()
    }

    /// The pool has one connection, so that the next transaction gets the one whose `BEGIN` was dropped.
    #[sqlx::test(migrations = false)]
    async fn a_dropped_begin_leaves_no_transaction_on_its_connection(
        _: MySqlPoolOptions,
        options: MySqlConnectOptions,
    ) {
        let pool = MySqlPoolOptions::new()
            .max_connections(1)
            .after_connect(|connection, _| Box::pin(prepare(connection)))
            .connect_lazy_with(options.clone());
        let other = MySqlPool::connect_lazy_with(options);
        sqlx::query("CREATE TABLE probe (id INT PRIMARY KEY)").execute(&other).await.unwrap();
        let database = MySqlDatabase::new(pool);
        let (mut rows, mut times_dropped) = (0, 0);
        // Several next uses: a plain statement would use up what a SET TRANSACTION left for the next transaction.
        let nexts = [(true, true), (true, false), (false, true), (false, false)];
        for (polls, (is_snapshot, is_plain)) in (1..=POLLS).flat_map(|polls| nexts.map(|next| (polls, next))) {
            let was_pending = if is_snapshot {
                drop_after(polls, database.snapshot()).await
            } else {
                drop_after(polls, database.begin()).await
            };
            times_dropped += usize::from(was_pending);
            let connection = database.acquire().await.unwrap();
            let session = if is_plain {
                Session::Plain(connection)
            } else {
                let transaction = Transaction::begin(connection, None).await.unwrap();
                Session::Transaction { transaction, is_guarded: false, after_commit: Vec::new() }
            };
            rows = require_newest_commits(session, &other, rows).await;
        }
        assert!(times_dropped > 0, "it was never dropped while pending");
    }

    /// Each statement sees earlier commits of others, unless it runs in a snapshot that was left behind.
    async fn require_newest_commits(mut session: Session, other: &MySqlPool, rows: i64) -> i64 {
        assert_eq!(count(&mut session).await, rows);
        sqlx::query("INSERT INTO probe (id) VALUES (?)").bind(rows).execute(other).await.unwrap();
        assert_eq!(count(&mut session).await, rows + 1, "a statement read an old snapshot");
        rows + 1
    }
}
