//! The port to the database: a unit of work is one transaction with all repositories on it.

use async_trait::async_trait;

use super::{
    administration::ActionLog,
    audit::AuditRepository,
    booking::{BookingRepository, ChoiceRepository, SeatClaimRepository},
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
    user::{CodeRepository, SessionRepository, UserRepository},
};

/// The repositories of one connection.
pub trait Repositories: Send {
    /// Accounts.
    fn users(&mut self) -> &mut dyn UserRepository;
    /// Logins and their refresh tokens.
    fn sessions(&mut self) -> &mut dyn SessionRepository;
    /// Mailed codes.
    fn codes(&mut self) -> &mut dyn CodeRepository;
    /// Venues, concerts, performances and seats.
    fn concerts(&mut self) -> &mut dyn ConcertRepository;
    /// Waiting queues.
    fn queues(&mut self) -> &mut dyn QueueRepository;
    /// The tokens of waiting queues.
    fn queue_tokens(&mut self) -> &mut dyn QueueTokenRepository;
    /// The record of admissions.
    fn admissions(&mut self) -> &mut dyn AdmissionRepository;
    /// The draws of waiting queues.
    fn draws(&mut self) -> &mut dyn DrawRepository;
    /// Bookings.
    fn bookings(&mut self) -> &mut dyn BookingRepository;
    /// The claims on seats.
    fn seat_claims(&mut self) -> &mut dyn SeatClaimRepository;
    /// The locks and reads of best-available selection.
    fn choices(&mut self) -> &mut dyn ChoiceRepository;
    /// Wallets and their ledgers.
    fn wallets(&mut self) -> &mut dyn WalletRepository;
    /// Payments.
    fn payments(&mut self) -> &mut dyn PaymentRepository;
    /// The uses of tickets.
    fn tickets(&mut self) -> &mut dyn TicketRepository;
    /// Top-ups.
    fn top_ups(&mut self) -> &mut dyn TopUpRepository;
    /// The sandbox's checkouts.
    fn sandbox_checkouts(&mut self) -> &mut dyn SandboxCheckoutRepository;
    /// Records of answered idempotency keys.
    fn idempotency(&mut self) -> &mut dyn IdempotencyRepository;
    /// The outbox: events to be delivered.
    fn outbox(&mut self) -> &mut dyn OutboxRepository;
    /// Deliveries of events to destinations.
    fn deliveries(&mut self) -> &mut dyn DeliveryRepository;
    /// Webhooks.
    fn webhooks(&mut self) -> &mut dyn WebhookRepository;
    /// The contents of mails.
    fn mail(&mut self) -> &mut dyn MailRepository;
    /// The log of administrative writes.
    fn actions(&mut self) -> &mut dyn ActionLog;
    /// The pages of exports.
    fn exports(&mut self) -> &mut dyn ExportRepository;
    /// The audit of the invariants.
    fn audit(&mut self) -> &mut dyn AuditRepository;
}

/// An action that runs after the commit.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// One transaction. Dropping it without [`commit`](Self::commit) rolls it back.
#[async_trait]
#[must_use = "an uncommitted unit of work is rolled back"]
pub trait UnitOfWork: Repositories {
    /// Runs `action` after the commit, and never if the transaction isn't committed: for metrics and wake-ups.
    fn after_commit(&mut self, action: AfterCommit);

    /// Commits all changes at once. After an error the outcome is unknown: the commit may have succeeded.
    async fn commit(self: Box<Self>) -> Result<(), RepositoryError>;
}

/// The database: it begins transactions and reports its availability.
#[async_trait]
pub trait Database: Send + Sync {
    /// Begins a transaction in which each statement sees the newest committed data. [`RepositoryError::ClockSkewed`]
    /// while this instance's clock differs too much from the database's.
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError>;

    /// Takes a connection for reads without a transaction: each statement sees the data committed by its own start.
    async fn read(&self) -> Result<Box<dyn Repositories>, RepositoryError>;

    /// Begins a read-only transaction in which all statements see the same instant.
    async fn snapshot(&self) -> Result<Box<dyn UnitOfWork>, RepositoryError>;

    /// Waits until the database stops answering; returns at once while it is unavailable.
    async fn wait_until_lost(&self);

    /// Marks all pooled connections as suspect after one has stopped responding: each is tested before its next use.
    fn suspect_connections(&self);

    /// Whether the database answers and has the schema of this version.
    async fn schema_is_current(&self) -> Result<bool, RepositoryError>;
}
