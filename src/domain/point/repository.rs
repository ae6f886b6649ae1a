//! The port of wallets and their ledgers.

use async_trait::async_trait;

use super::{LedgerEntry, Wallet};
use crate::domain::{
    clock::Instant,
    id::UserId,
    page::{Page, PageRequest},
    repository_error::RepositoryError,
};

/// Stores wallets. Readers take no lock: a write checks the version that was read (optimistic lock).
#[async_trait]
pub trait WalletRepository: Send {
    /// The wallets of these users, in no order; users who never had points are left out. Takes no lock.
    async fn list(&mut self, user_ids: &[UserId]) -> Result<Vec<Wallet>, RepositoryError>;

    /// The wallet of a user; an empty one for a user who never had points. Takes no lock.
    async fn find_or_empty(&mut self, user_id: UserId) -> Result<Wallet, RepositoryError> {
        Ok(self.list(&[user_id]).await?.pop().unwrap_or_else(|| Wallet::empty(user_id)))
    }

    /// Inserts ledger entries, each wallet's in order of version, and updates the wallets to their last entries.
    /// [`RepositoryError::Contention`] if a wallet has another version by now, or was closed and an entry isn't a
    /// refund.
    async fn apply(&mut self, entries: &[LedgerEntry]) -> Result<(), RepositoryError>;

    /// Closes a user's wallet at `now`, even an unused one, and locks it until the transaction ends. The caller has
    /// locked the account.
    async fn close(&mut self, user_id: UserId, now: Instant) -> Result<(), RepositoryError>;

    /// A page of a user's ledger entries by version, newest first. Takes no lock.
    async fn list_entries(
        &mut self,
        user_id: UserId,
        page: PageRequest<u64>,
    ) -> Result<Page<LedgerEntry>, RepositoryError>;
}
