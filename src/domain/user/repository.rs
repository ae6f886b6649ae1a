//! The ports of accounts and logins.

use async_trait::async_trait;

use super::{
    CodePurpose, MailedCode, RefreshToken, Role, Session, SessionSummary, Standing, User, UserDetails, UserFilter,
};
use crate::domain::{
    clock::Instant,
    id::{SessionId, UserId},
    page::{Page, PageRequest},
    repository_error::RepositoryError,
    text::Name,
};

/// Stores accounts. Deleted accounts count as absent.
#[async_trait]
pub trait UserRepository: Send {
    /// Inserts an account. [`RepositoryError::NotUnique`] if its address is taken.
    async fn insert(&mut self, user: &User) -> Result<(), RepositoryError>;

    /// The account with this address, by [`Email::key`](crate::domain::text::Email::key). Takes no lock.
    async fn find_by_email(&mut self, email_key: &str) -> Result<Option<User>, RepositoryError>;

    /// The account with this id. Takes no lock.
    async fn find(&mut self, id: UserId) -> Result<Option<User>, RepositoryError>;

    /// Locks accounts (shared) by ascending id, until the transaction ends, so that none is deleted or blocked
    /// meanwhile. Returns the existing ones that aren't blocked, each with whether its address is verified.
    async fn share(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, bool)>, RepositoryError>;

    /// Locks accounts (shared) by ascending id, until the transaction ends. Returns those that exist.
    async fn share_standings(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, Standing)>, RepositoryError>;

    /// Locks the account until the transaction ends. `None` if it doesn't exist.
    async fn lock(&mut self, id: UserId) -> Result<Option<User>, RepositoryError>;

    /// Writes a new name. [`RepositoryError::Contention`] if the account no longer exists.
    async fn update_name(&mut self, id: UserId, name: &Name) -> Result<(), RepositoryError>;

    /// Replaces the password's hash. [`RepositoryError::Contention`] if the account no longer exists.
    async fn update_password(&mut self, id: UserId, password_hash: &str) -> Result<(), RepositoryError>;

    /// Records the verification of the account's address at `now`, unless the address is verified already.
    async fn verify_email(&mut self, id: UserId, now: Instant) -> Result<(), RepositoryError>;

    /// Locks an account (shared) until the transaction ends. Returns its role, if it is not blocked.
    async fn share_role(&mut self, id: UserId) -> Result<Option<Role>, RepositoryError>;

    /// The role of an account that is not blocked. Takes no lock.
    async fn find_role(&mut self, id: UserId) -> Result<Option<Role>, RepositoryError>;

    /// Locks all administrators that aren't blocked, by ascending id, until the transaction ends. Returns their ids.
    async fn lock_admins(&mut self) -> Result<Vec<UserId>, RepositoryError>;

    /// Writes the role and the instant of blocking of a locked account.
    async fn update_standing(
        &mut self,
        id: UserId,
        role: Role,
        blocked_at: Option<Instant>,
    ) -> Result<(), RepositoryError>;

    /// The account with its balance and live bookings at `now`. Takes no lock.
    async fn find_details(&mut self, id: UserId, now: Instant) -> Result<Option<UserDetails>, RepositoryError>;

    /// A page of accounts with their balances and live bookings at `now`, newest first. Takes no lock.
    async fn list_details(
        &mut self,
        filter: &UserFilter,
        page: PageRequest<UserId>,
        now: Instant,
    ) -> Result<Page<UserDetails>, RepositoryError>;

    /// Deletes the account: removes personal data, and keeps the row that ledger and payments refer to.
    /// [`RepositoryError::Contention`] if the account no longer exists.
    async fn erase(&mut self, id: UserId, now: Instant) -> Result<(), RepositoryError>;
}

/// Stores logins and their refresh tokens.
#[async_trait]
pub trait SessionRepository: Send {
    /// Inserts a login with the client's `User-Agent`.
    async fn insert(&mut self, session: &Session, user_agent: Option<&str>) -> Result<(), RepositoryError>;

    /// A page of the user's sessions that are alive at `now`, newest first. Takes no lock.
    async fn list_live(
        &mut self,
        user_id: UserId,
        page: PageRequest<SessionId>,
        now: Instant,
    ) -> Result<Page<SessionSummary>, RepositoryError>;

    /// Inserts a refresh token, and moves its session's deadline to the token's.
    async fn insert_refresh_token(&mut self, token: &RefreshToken) -> Result<(), RepositoryError>;

    /// The session of the refresh token with this digest. Takes no lock.
    async fn find_session_of(&mut self, digest: &[u8; 32]) -> Result<Option<SessionId>, RepositoryError>;

    /// Locks a session, then one of its refresh tokens. The token is `None` if it doesn't exist, or was removed.
    async fn lock_with_token(
        &mut self,
        id: SessionId,
        digest: &[u8; 32],
    ) -> Result<Option<(Session, Option<RefreshToken>)>, RepositoryError>;

    /// Marks a refresh token as exchanged at `now`, for one signed by `successor_key`. [`RepositoryError::Contention`]
    /// if it already is.
    async fn mark_used(&mut self, digest: &[u8; 32], now: Instant, successor_key: u32) -> Result<(), RepositoryError>;

    /// Deletes some of the refresh tokens of a locked session that were exchanged before `horizon`. Tokens that an
    /// older version exchanged stay, since their texts don't contain the session's id.
    async fn delete_used(&mut self, id: SessionId, horizon: Instant) -> Result<(), RepositoryError>;

    /// Revokes a login at `now`, unless it is revoked already.
    async fn revoke(&mut self, id: SessionId, now: Instant) -> Result<(), RepositoryError>;

    /// Revokes a user's login that is alive at `now`. Returns whether there was one.
    async fn revoke_own(&mut self, user_id: UserId, id: SessionId, now: Instant) -> Result<bool, RepositoryError>;

    /// Locks the unrevoked logins of a user by ascending id, revokes all of them except `kept`, and returns the revoked
    /// ones.
    async fn revoke_all(
        &mut self,
        user_id: UserId,
        kept: Option<SessionId>,
        now: Instant,
    ) -> Result<Vec<SessionId>, RepositoryError>;

    /// Removes the `User-Agent` of all logins of a user, also of those that have ended.
    async fn erase_user_agents(&mut self, user_id: UserId) -> Result<(), RepositoryError>;

    /// The logins revoked at or after `since`. Takes no lock.
    async fn list_revoked(&mut self, since: Instant) -> Result<Vec<SessionId>, RepositoryError>;

    /// Deletes at most `limit` sessions whose last token expired before `horizon`, and first at most twice as many of
    /// their refresh tokens. Returns the number of deleted rows. Revoked sessions stay as long, so that a restarted
    /// instance still reads their revocation.
    async fn delete_ended(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;
}

/// Stores mailed codes. All codes of an account are written under the account's lock.
#[async_trait]
pub trait CodeRepository: Send {
    /// Inserts a code.
    async fn insert(&mut self, code: &MailedCode) -> Result<(), RepositoryError>;

    /// The number of an account's codes for this purpose that were made at or after `since`. Takes no lock.
    async fn count_since(
        &mut self,
        user_id: UserId,
        purpose: CodePurpose,
        since: Instant,
    ) -> Result<u32, RepositoryError>;

    /// The code with this digest. Takes no lock.
    async fn find(&mut self, digest: &[u8; 32]) -> Result<Option<MailedCode>, RepositoryError>;

    /// Makes the unused codes of an account for this purpose void.
    async fn void(&mut self, user_id: UserId, purpose: CodePurpose, now: Instant) -> Result<(), RepositoryError>;

    /// Deletes every code of an account.
    async fn delete_of(&mut self, user_id: UserId) -> Result<(), RepositoryError>;

    /// Deletes at most `limit` codes that expired before `horizon`, and returns the number of deleted rows. Skips
    /// locked ones.
    async fn delete_expired(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;
}
