//! The port of top-ups.

use async_trait::async_trait;

use super::{TopUp, TopUpStatus};
use crate::domain::{
    clock::Instant,
    id::{TopUpId, UserId},
    idempotency::KeyDigest,
    page::{Page, PageRequest},
    repository_error::RepositoryError,
    text::Email,
};

/// A search for top-ups of all users.
#[derive(Clone, Copy, Debug)]
pub struct TopUpSearch {
    /// Only top-ups of this user.
    pub user_id: Option<UserId>,
    /// The status at the instant of the search; `None` for all statuses.
    pub status: Option<TopUpStatus>,
    /// Only top-ups created at or after this instant.
    pub from: Option<Instant>,
    /// Only top-ups created before this instant.
    pub to: Option<Instant>,
}

/// A top-up as administrators see it.
#[derive(Clone, Debug)]
pub struct TopUpDetails {
    /// The top-up itself.
    pub top_up: TopUp,
    /// The user's address; `None` once the account is deleted.
    pub email: Option<Email>,
}

/// Stores top-ups.
#[async_trait]
pub trait TopUpRepository: Send {
    /// Inserts a top-up. [`RepositoryError::Contention`] if an unanswered request has the same key.
    async fn insert(&mut self, top_up: &TopUp) -> Result<(), RepositoryError>;

    /// The top-up with this id. Takes no lock.
    async fn find(&mut self, id: TopUpId) -> Result<Option<TopUp>, RepositoryError>;

    /// Locks the top-up with this id until the transaction ends.
    async fn lock(&mut self, id: TopUpId) -> Result<Option<TopUp>, RepositoryError>;

    /// The top-up of an unanswered request. Takes no lock.
    async fn find_of_request(&mut self, digest: &KeyDigest) -> Result<Option<TopUp>, RepositoryError>;

    /// Writes the mutable fields of a locked top-up.
    async fn update(&mut self, top_up: &TopUp) -> Result<(), RepositoryError>;

    /// Leases at most `limit` top-ups whose next attempt is due, longest due first, until `leased_until`. Skips top-ups
    /// that another transaction has locked.
    async fn claim_due(
        &mut self,
        now: Instant,
        leased_until: Instant,
        limit: u32,
    ) -> Result<Vec<TopUp>, RepositoryError>;

    /// A page of a user's top-ups, newest first. Takes no lock.
    async fn list_page(&mut self, user_id: UserId, page: PageRequest<TopUpId>) -> Result<Page<TopUp>, RepositoryError>;

    /// A page of all users' top-ups, newest first, with statuses evaluated at `now`. Takes no lock.
    async fn search(
        &mut self,
        search: &TopUpSearch,
        page: PageRequest<TopUpId>,
        now: Instant,
    ) -> Result<Page<TopUpDetails>, RepositoryError>;

    /// A provider's top-ups created at or after `since`, in no order. Takes no lock.
    async fn list_created(&mut self, provider: &str, since: Instant) -> Result<Vec<TopUp>, RepositoryError>;

    /// The number of top-ups with an outstanding call of the provider whose deadline or request of a refund was before
    /// this instant. Takes no lock.
    async fn count_overdue(&mut self, before: Instant) -> Result<u32, RepositoryError>;

    /// Clears the unanswered requests of at most `limit` top-ups created before `horizon`, so that their keys can be
    /// used again. Locks the top-ups. Returns their number.
    async fn forget_requests(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// Deletes at most `limit` top-ups created before `horizon` that moved no money and have no outstanding call, with
    /// their checkouts of the sandbox. Skips top-ups that another transaction has locked. Returns the number of deleted
    /// top-ups.
    async fn delete_unpaid(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// Locks the provider's reconciliation, and starts the next one if it is due. That is a day after the last one
    /// started, or ten minutes after one that didn't finish. Returns whether it started one.
    async fn claim_reconciliation(&mut self, provider: &str, now: Instant) -> Result<bool, RepositoryError>;

    /// Records the number of differences that the reconciliation found.
    async fn finish_reconciliation(
        &mut self,
        provider: &str,
        now: Instant,
        differences: u32,
    ) -> Result<(), RepositoryError>;

    /// The number of differences that the latest finished reconciliation found. Takes no lock.
    async fn find_differences(&mut self, provider: &str) -> Result<u32, RepositoryError>;
}
