//! Transactions.

use std::time::Instant as Stopwatch;

use async_trait::async_trait;
use metrics::{Gauge, Histogram};
use sqlx::{MySql, MySqlConnection, MySqlPool, Transaction, pool::PoolConnection};

use super::{MIGRATOR, error::lacks_table, pulse::Pulse};
use crate::domain::{
    audit::AuditRepository,
    booking::{BookingRepository, ChoiceRepository},
    concert::ConcertRepository,
    event::{DeliveryRepository, OutboxRepository, WebhookRepository},
    idempotency::IdempotencyRepository,
    payment::PaymentRepository,
    point::WalletRepository,
    queue::{DrawRepository, QueueRepository},
    repository_error::RepositoryError,
    unit_of_work::{AfterCommit, Database, Repositories, UnitOfWork},
    user::{SessionRepository, UserRepository},
};

/// The database, through a pool of connections.
#[derive(Clone, Debug)]
pub struct MySqlDatabase {
    pool: MySqlPool,
    waiting: Gauge,
    acquisition: Histogram,
    pulse: Pulse,
}

impl MySqlDatabase {
    /// Uses this pool, made by [`pool`](super::pool).
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool, waiting: Gauge::noop(), acquisition: Histogram::noop(), pulse: Pulse::default() }
    }

    /// Measures, by this name, how long its users wait for connections.
    #[must_use]
    pub fn measured_as(self, name: &'static str) -> Self {
        Self {
            waiting: metrics::gauge!("database_waiting", "pool" => name),
            acquisition: metrics::histogram!("database_acquire_seconds", "pool" => name),
            ..self
        }
    }

    /// Turns its users away while the database doesn't answer.
    #[must_use]
    pub fn with_pulse(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    async fn acquire(&self) -> Result<PoolConnection<MySql>, sqlx::Error> {
        let _waiting = Waiting::begin(&self.waiting);
        let started = Stopwatch::now();
        let connection = self.while_alive(self.pool.acquire()).await;
        self.acquisition.record(started.elapsed());
        connection
    }

    async fn while_alive<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        tokio::select! {
            biased;
            () = self.pulse.stopped() => Err(sqlx::Error::PoolTimedOut),
            result = work => result,
        }
    }
}

/// Counts a task that waits, also if it gives up.
struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[async_trait]
impl Database for MySqlDatabase {
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError> {
        let transaction = Transaction::begin(self.acquire().await?, None).await?;
        Ok(Box::new(Session::Transaction(transaction, Vec::new())))
    }

    async fn read(&self) -> Result<Box<dyn Repositories>, RepositoryError> {
        Ok(Box::new(Session::Plain(self.acquire().await?)))
    }

    async fn snapshot(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError> {
        let mut connection = self.acquire().await?;
        // For the next transaction of this connection only.
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *connection).await?;
        let transaction = Transaction::begin(
            connection,
            Some(sqlx::SqlStr::from_static("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")),
        )
        .await?;
        Ok(Box::new(Session::Transaction(transaction, Vec::new())))
    }

    async fn lost(&self) {
        self.pulse.stopped().await;
    }

    async fn schema_is_current(&self) -> Result<bool, RepositoryError> {
        let text = "SELECT MAX(version) FROM _sqlx_migrations WHERE success";
        let newest: Result<Option<i64>, _> = self.while_alive(sqlx::query_scalar(text).fetch_one(&self.pool)).await;
        let newest = match newest {
            // Nothing has ever been migrated here.
            Err(error) if lacks_table(&error) => return Ok(false),
            newest => newest?,
        };
        // A newer schema is compatible: during a rolling upgrade the old servers go on.
        Ok(newest >= MIGRATOR.iter().map(|migration| migration.version).max())
    }
}

/// One connection, within a transaction or without: it *is* every repository.
pub(super) enum Session {
    /// Each statement stands alone.
    Plain(PoolConnection<MySql>),
    /// All or nothing, and what is done after all of it.
    Transaction(Transaction<'static, MySql>, Vec<AfterCommit>),
}

impl Session {
    pub(super) fn connection(&mut self) -> &mut MySqlConnection {
        match self {
            Self::Plain(connection) => connection,
            Self::Transaction(transaction, _) => transaction,
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

    fn concerts(&mut self) -> &mut dyn ConcertRepository {
        self
    }

    fn queues(&mut self) -> &mut dyn QueueRepository {
        self
    }

    fn draws(&mut self) -> &mut dyn DrawRepository {
        self
    }

    fn bookings(&mut self) -> &mut dyn BookingRepository {
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

    fn audit(&mut self) -> &mut dyn AuditRepository {
        self
    }
}

#[async_trait]
impl UnitOfWork for Session {
    fn after_commit(&mut self, action: AfterCommit) {
        match self {
            // Without a transaction everything is committed as soon as it is written.
            Self::Plain(_) => action(),
            Self::Transaction(_, actions) => actions.push(action),
        }
    }

    async fn commit(self: Box<Self>) -> Result<(), RepositoryError> {
        if let Self::Transaction(transaction, actions) = *self {
            transaction.commit().await?;
            for action in actions {
                action();
            }
        }
        Ok(())
    }
}
