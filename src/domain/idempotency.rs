//! Idempotency: the recorded answer of a key, written in the transaction of the effect.

use async_trait::async_trait;

use super::{clock::Instant, id::UserId, repository_error::RepositoryError};

/// SHA-256 of user, method, path and key: it identifies a keyed request.
pub type KeyDigest = [u8; 32];

/// SHA-256 of the request's body: the same key with another body is refused.
pub type Fingerprint = [u8; 32];

/// An answer as the first request got it: replayed byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The response's body, as sent.
    pub body: Vec<u8>,
}

/// The record of a request with an idempotency key, and of its answer.
#[derive(Clone, Debug)]
pub struct IdempotencyRecord {
    /// The identity of the keyed request: the primary key.
    pub digest: KeyDigest,
    /// The user of the request; a key belongs to one user.
    pub user_id: UserId,
    /// The body's hash, which a repetition must match.
    pub fingerprint: Fingerprint,
    /// The answer of the first request.
    pub answer: Answer,
    /// The instant of the first answer: the start of the retention.
    pub created_at: Instant,
}

/// Stores and finds records of answered requests.
#[async_trait]
pub trait IdempotencyRepository: Send {
    /// The records of these keys, in no order; absent ones are left out. Takes no lock.
    async fn list(&mut self, digests: &[KeyDigest]) -> Result<Vec<IdempotencyRecord>, RepositoryError>;

    /// Inserts records. Waits for a transaction that inserts one of the keys. [`RepositoryError::Contention`] if a key
    /// is recorded by then.
    async fn insert(&mut self, records: &[IdempotencyRecord]) -> Result<(), RepositoryError>;

    /// Deletes at most `limit` records created before `horizon`, and returns the number of deleted records. Skips
    /// locked ones.
    async fn delete_older(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;
}
