//! Ports of accounts and logins.

use async_trait::async_trait;

use super::{RefreshToken, Session, User};
use crate::domain::{
    clock::Instant,
    id::{SessionId, UserId},
    repository_error::RepositoryError,
    text::Name,
};

/// Keeps accounts. Deleted ones are found by nobody.
#[async_trait]
pub trait UserRepository: Send {
    /// Stores a new account; [`RepositoryError::NotUnique`] when its address is taken.
    async fn insert(&mut self, user: &User) -> Result<(), RepositoryError>;

    /// The account with this address, by [`Email::key`](crate::domain::text::Email::key). No lock.
    async fn find_by_email(&mut self, email_key: &str) -> Result<Option<User>, RepositoryError>;

    /// The account. No lock.
    async fn find(&mut self, id: UserId) -> Result<Option<User>, RepositoryError>;

    /// Which of these accounts there are, shared in ascending order until the transaction ends.
    async fn share(&mut self, ids: &[UserId]) -> Result<Vec<UserId>, RepositoryError>;

    /// The account, locked until the transaction ends.
    async fn lock(&mut self, id: UserId) -> Result<Option<User>, RepositoryError>;

    /// Writes another name. [`RepositoryError::Contention`] when the account has gone.
    async fn update_name(&mut self, id: UserId, name: &Name) -> Result<(), RepositoryError>;

    /// Removes what tells of the person and keeps the row that money records refer to.
    /// [`RepositoryError::Contention`] when the account has gone.
    async fn erase(&mut self, id: UserId, now: Instant) -> Result<(), RepositoryError>;
}

/// Keeps logins.
#[async_trait]
pub trait SessionRepository: Send {
    /// Stores a new login.
    async fn insert(&mut self, session: &Session) -> Result<(), RepositoryError>;

    /// Stores a refresh token and moves its session's end to the token's.
    async fn insert_refresh_token(&mut self, token: &RefreshToken) -> Result<(), RepositoryError>;

    /// The session that a refresh token belongs to. No lock.
    async fn find_session_of(&mut self, digest: &[u8; 32]) -> Result<Option<SessionId>, RepositoryError>;

    /// The session with one of its refresh tokens, both locked, the session first. The token is `None` when it was
    /// removed or never was.
    async fn lock_with_token(
        &mut self,
        id: SessionId,
        digest: &[u8; 32],
    ) -> Result<Option<(Session, Option<RefreshToken>)>, RepositoryError>;

    /// Marks a refresh token as exchanged for one that this key signed. [`RepositoryError::Contention`] when it already
    /// was.
    async fn mark_used(&mut self, digest: &[u8; 32], now: Instant, successor_key: u32) -> Result<(), RepositoryError>;

    /// Deletes some of the refresh tokens of a session that were exchanged before `horizon`; the session must be
    /// locked. Those that a former version exchanged stay: their texts don't name their session.
    async fn delete_used(&mut self, id: SessionId, horizon: Instant) -> Result<(), RepositoryError>;

    /// Ends a login, unless it has ended.
    async fn revoke(&mut self, id: SessionId, now: Instant) -> Result<(), RepositoryError>;

    /// Ends every login of a user, and tells which.
    async fn revoke_all(&mut self, user_id: UserId, now: Instant) -> Result<Vec<SessionId>, RepositoryError>;

    /// The logins revoked at or after `since`. No lock.
    async fn list_revoked(&mut self, since: Instant) -> Result<Vec<SessionId>, RepositoryError>;

    /// Deletes at most `limit` sessions whose last token expired before `horizon`, after their refresh tokens, of which
    /// it deletes at most twice as many; returns the number of rows. A revoked session stays as long, so that an
    /// instance that starts later still reads of it.
    async fn delete_ended(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;
}
