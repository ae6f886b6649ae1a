//! Port of payments.

use async_trait::async_trait;

use super::Payment;
use crate::domain::{
    clock::Instant,
    id::{PaymentId, UserId},
    page::Page,
    repository_error::RepositoryError,
};

/// Keeps payments. A payment is locked by its booking.
#[async_trait]
pub trait PaymentRepository: Send {
    /// Stores new payments; [`RepositoryError::NotUnique`] for a second one of a booking.
    async fn insert(&mut self, payments: &[Payment]) -> Result<(), RepositoryError>;

    /// Marks payments as refunded. [`RepositoryError::Contention`] when one already was.
    async fn refund(&mut self, ids: &[PaymentId], now: Instant) -> Result<(), RepositoryError>;

    /// A user's payment. No lock.
    async fn find(&mut self, user_id: UserId, id: PaymentId) -> Result<Option<Payment>, RepositoryError>;

    /// A user's payments, newest first, older than `before`. No lock.
    async fn list_page(
        &mut self,
        user_id: UserId,
        before: Option<PaymentId>,
        limit: u32,
    ) -> Result<Page<Payment>, RepositoryError>;
}
