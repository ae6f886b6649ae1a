//! The port of payments.

use async_trait::async_trait;

use super::Payment;
use crate::domain::{
    clock::Instant,
    id::{PaymentId, UserId},
    page::{Page, PageRequest},
    points::Points,
    repository_error::RepositoryError,
};

/// Stores payments. The lock of a booking is also the lock of its payment.
#[async_trait]
pub trait PaymentRepository: Send {
    /// Inserts payments. [`RepositoryError::NotUnique`] for a second payment of a booking.
    async fn insert(&mut self, payments: &[Payment]) -> Result<(), RepositoryError>;

    /// Marks payments as refunded at `now`. [`RepositoryError::Contention`] if one already is.
    async fn refund(&mut self, ids: &[PaymentId], now: Instant) -> Result<(), RepositoryError>;

    /// The amounts of payments in points, which never change. Takes no lock. [`RepositoryError::Corrupt`] if one
    /// doesn't exist.
    async fn list_amounts(&mut self, ids: &[PaymentId]) -> Result<Vec<(PaymentId, Points)>, RepositoryError>;

    /// A user's payment. Takes no lock.
    async fn find(&mut self, user_id: UserId, id: PaymentId) -> Result<Option<Payment>, RepositoryError>;

    /// A page of a user's payments, newest first. Takes no lock.
    async fn list_page(
        &mut self,
        user_id: UserId,
        page: PageRequest<PaymentId>,
    ) -> Result<Page<Payment>, RepositoryError>;
}
