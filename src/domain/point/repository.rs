//! Port of wallets and their ledgers.

use async_trait::async_trait;

use super::{LedgerEntry, Wallet};
use crate::domain::{clock::Instant, id::UserId, page::Page, repository_error::RepositoryError};

/// Keeps wallets. There is no lock: a change is written only while the version is the one that was read.
#[async_trait]
pub trait WalletRepository: Send {
    /// The wallets of these users, in no order; users who never had points are left out. No lock.
    async fn list(&mut self, user_ids: &[UserId]) -> Result<Vec<Wallet>, RepositoryError>;

    /// Writes ledger entries, a wallet's in order of version, and moves each wallet to its last entry.
    /// [`RepositoryError::Contention`] when a wallet isn't at the version before its first entry any more, or has closed
    /// meanwhile and isn't given refunds alone.
    async fn apply(&mut self, entries: &[LedgerEntry]) -> Result<(), RepositoryError>;

    /// Closes a user's wallet, also one that was never used. The account must be locked.
    async fn close(&mut self, user_id: UserId, now: Instant) -> Result<(), RepositoryError>;

    /// A user's entries, newest first, below version `before`. No lock.
    async fn list_entries(
        &mut self,
        user_id: UserId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<LedgerEntry>, RepositoryError>;
}
