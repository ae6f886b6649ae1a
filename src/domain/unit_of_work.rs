//! The port through which use cases reach the database: one transaction, all repositories on it.

use async_trait::async_trait;

use super::{
    audit::AuditRepository,
    booking::{BookingRepository, ChoiceRepository},
    concert::ConcertRepository,
    event::{DeliveryRepository, OutboxRepository, WebhookRepository},
    idempotency::IdempotencyRepository,
    payment::PaymentRepository,
    point::WalletRepository,
    queue::{DrawRepository, QueueRepository},
    repository_error::RepositoryError,
    user::{SessionRepository, UserRepository},
};

/// Hands out the repositories of one connection.
pub trait Repositories: Send {
    /// Accounts.
    fn users(&mut self) -> &mut dyn UserRepository;
    /// Logins.
    fn sessions(&mut self) -> &mut dyn SessionRepository;
    /// Venues, concerts, performances and their seats.
    fn concerts(&mut self) -> &mut dyn ConcertRepository;
    /// Waiting queues and their tokens.
    fn queues(&mut self) -> &mut dyn QueueRepository;
    /// Their draws.
    fn draws(&mut self) -> &mut dyn DrawRepository;
    /// Bookings and the claims on seats.
    fn bookings(&mut self) -> &mut dyn BookingRepository;
    /// The choice of seats.
    fn choices(&mut self) -> &mut dyn ChoiceRepository;
    /// Wallets and their ledgers.
    fn wallets(&mut self) -> &mut dyn WalletRepository;
    /// Payments.
    fn payments(&mut self) -> &mut dyn PaymentRepository;
    /// Idempotency keys.
    fn idempotency(&mut self) -> &mut dyn IdempotencyRepository;
    /// Events to be delivered.
    fn outbox(&mut self) -> &mut dyn OutboxRepository;
    /// What becomes of them at each destination.
    fn deliveries(&mut self) -> &mut dyn DeliveryRepository;
    /// Receivers that were registered.
    fn webhooks(&mut self) -> &mut dyn WebhookRepository;
    /// The invariants.
    fn audit(&mut self) -> &mut dyn AuditRepository;
}

/// What is done once a transaction is committed.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// One transaction. Dropped without [`commit`](Self::commit), it is rolled back.
#[async_trait]
#[must_use = "an uncommitted unit of work is rolled back"]
pub trait UnitOfWork: Repositories {
    /// Has something done once the transaction is committed, and never if it isn't: for measurements and wake-ups.
    fn after_commit(&mut self, action: AfterCommit);

    /// Makes everything durable at once. After an error it is unknown whether it was.
    async fn commit(self: Box<Self>) -> Result<(), RepositoryError>;
}

/// The database.
#[async_trait]
pub trait Database: Send + Sync {
    /// Starts a transaction that sees each statement's newest committed data. [`RepositoryError::ClockSkewed`] while
    /// nothing may be decided by this instance's clock.
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError>;

    /// For reads that need no transaction: each statement stands alone.
    async fn read(&self) -> Result<Box<dyn Repositories>, RepositoryError>;

    /// Starts a read-only transaction in which every statement sees the same instant.
    async fn snapshot(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError>;

    /// Returns once the database has stopped answering; at once while it doesn't. Whoever waits for it may give up.
    async fn wait_until_lost(&self);

    /// A connection has fallen silent: others may have, too. Each is tested before it is used again.
    fn suspect_connections(&self);

    /// Whether the database answers and has the schema that this server was built for.
    async fn schema_is_current(&self) -> Result<bool, RepositoryError>;
}
