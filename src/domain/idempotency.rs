//! Idempotency keys: the record of an answer, written in the transaction of the effect.

use async_trait::async_trait;

use super::{clock::Instant, id::UserId, repository_error::RepositoryError};

/// SHA-256 of user, method, path and key: what a request is recognised by.
pub type KeyDigest = [u8; 32];

/// SHA-256 of a request's body: the same key with another body is refused.
pub type Fingerprint = [u8; 32];

/// An answer as it went out: repeated byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What is kept of a request with a key.
#[derive(Clone, Debug)]
pub struct IdempotencyRecord {
    /// What it is found by.
    pub digest: KeyDigest,
    /// Whose it is.
    pub user_id: UserId,
    /// Of the body.
    pub fingerprint: Fingerprint,
    /// The first answer.
    pub answer: Answer,
    /// When it was first answered.
    pub created_at: Instant,
}

/// Keeps the records.
#[async_trait]
pub trait IdempotencyRepository: Send {
    /// The records of these keys, in no order; absent ones are left out. No lock.
    async fn list(&mut self, digests: &[KeyDigest]) -> Result<Vec<IdempotencyRecord>, RepositoryError>;

    /// Stores records. [`RepositoryError::Contention`] when one of the keys was recorded meanwhile, after waiting for
    /// a transaction that is recording it.
    async fn insert(&mut self, records: &[IdempotencyRecord]) -> Result<(), RepositoryError>;

    /// Deletes at most `limit` records from before `horizon`, and tells how many.
    async fn delete_older(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;
}
