//! Transactions.

use async_trait::async_trait;
use sqlx::{MySql, MySqlConnection, MySqlPool, Transaction, pool::PoolConnection};

use super::{MIGRATOR, error::lacks_table};
use crate::domain::{
    audit::AuditRepository,
    booking::BookingRepository,
    concert::ConcertRepository,
    event::OutboxRepository,
    idempotency::IdempotencyRepository,
    payment::PaymentRepository,
    point::WalletRepository,
    queue::{DrawRepository, QueueRepository},
    repository_error::RepositoryError,
    unit_of_work::{Database, Repositories, UnitOfWork},
    user::{SessionRepository, UserRepository},
};

/// The database, through a pool of connections.
#[derive(Clone, Debug)]
pub struct MySqlDatabase {
    pool: MySqlPool,
}

impl MySqlDatabase {
    /// Uses this pool, made by [`pool`](super::pool).
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Database for MySqlDatabase {
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError> {
        Ok(Box::new(Session::Transaction(self.pool.begin().await?)))
    }

    async fn read(&self) -> Result<Box<dyn Repositories>, RepositoryError> {
        Ok(Box::new(Session::Plain(self.pool.acquire().await?)))
    }

    async fn snapshot(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError> {
        let mut connection = self.pool.acquire().await?;
        // For the next transaction of this connection only.
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *connection).await?;
        let transaction = Transaction::begin(
            connection,
            Some(sqlx::SqlStr::from_static("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")),
        )
        .await?;
        Ok(Box::new(Session::Transaction(transaction)))
    }

    async fn schema_is_current(&self) -> Result<bool, RepositoryError> {
        let newest: Result<Option<i64>, _> =
            sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success").fetch_one(&self.pool).await;
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
    /// All or nothing.
    Transaction(Transaction<'static, MySql>),
}

impl Session {
    pub(super) fn connection(&mut self) -> &mut MySqlConnection {
        match self {
            Self::Plain(connection) => connection,
            Self::Transaction(transaction) => transaction,
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

    fn audit(&mut self) -> &mut dyn AuditRepository {
        self
    }
}

#[async_trait]
impl UnitOfWork for Session {
    async fn commit(self: Box<Self>) -> Result<(), RepositoryError> {
        match *self {
            Self::Plain(_) => Ok(()),
            Self::Transaction(transaction) => Ok(transaction.commit().await?),
        }
    }
}
