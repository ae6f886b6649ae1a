//! Accounts and logins.
//!
//! An access token is signed and read without the database; a set in [memory](sessions) that follows the database has the
//! sessions that were ended early. A [refresh token](refresh) is signed as well, and recorded by its hash.

mod deletion;
mod failed_logins;
mod fair_queue;
mod hashing;
mod refresh;
mod sessions;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use chrono::TimeDelta;

use self::{failed_logins::FailedLoginLimiter, hashing::Hashing, refresh::TokenParts, sessions::RevocationCache};
use super::{Ports, error::AppError, retry::retry_on_contention};
use crate::domain::{
    clock::Instant,
    id::{SessionId, UserId},
    randomness::new_uuid,
    refusal::Refusal,
    repository_error::RepositoryError,
    text::{Email, Name},
    token::AccessClaims,
    unit_of_work::{Database, UnitOfWork},
    user::{HashingFailed, Password, PasswordHasher, Role, Session, User},
};

/// The longest life of an access token that can be set. Ended sessions are remembered as long, whatever is set now: a
/// token lives as long as was set when it was issued.
pub const MAX_ACCESS_TOKEN_SECONDS: u32 = 86_400;

/// How long logins last, and how often one may fail.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// How long an access token works.
    pub access_token_seconds: u32,
    /// How long a refresh token works; each exchange begins anew.
    pub refresh_token_days: u32,
    /// How long a used refresh token gets its first answer again.
    pub refresh_reuse_seconds: u32,
    /// How long a session lasts, however often it is refreshed.
    pub session_max_days: u32,
    /// How many wrong passwords an account takes in an hour; 0 for any number.
    pub failed_logins_per_account: u32,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            access_token_seconds: 3_600,
            refresh_token_days: 14,
            refresh_reuse_seconds: 10,
            session_max_days: 90,
            failed_logins_per_account: 100,
        }
    }
}

impl SessionSettings {
    fn access_lifetime(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.access_token_seconds))
    }

    fn refresh_lifetime(self) -> TimeDelta {
        TimeDelta::days(i64::from(self.refresh_token_days))
    }

    fn refresh_reuse(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.refresh_reuse_seconds))
    }

    fn session_end(self, session: &Session) -> Instant {
        session.created_at + TimeDelta::days(i64::from(self.session_max_days))
    }
}

/// An account as its owner sees it.
#[derive(Clone, Debug)]
pub struct ProfileInfo {
    /// Its id.
    pub id: UserId,
    /// Its address, as it was given.
    pub email: Email,
    /// How the person is called.
    pub name: Name,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Instant,
}

impl From<User> for ProfileInfo {
    fn from(user: User) -> Self {
        let User { id, email, name, role, created_at, password_hash: _ } = user;
        Self { id, email, name, role, created_at }
    }
}

/// What a client gets to prove who it is. Not `Debug`: it must not end in a log.
pub struct TokensInfo {
    /// Whose.
    pub user_id: UserId,
    /// For each request.
    pub access_token: String,
    /// How long it works.
    pub expires_in_seconds: i64,
    /// For new tokens, once.
    pub refresh_token: String,
    /// How long it works.
    pub refresh_expires_in_seconds: i64,
}

/// The use cases of accounts and logins.
pub struct UserFacade {
    ports: Ports,
    hashing: Hashing,
    failed_logins: FailedLoginLimiter,
    settings: SessionSettings,
    revocations: RevocationCache,
}

impl UserFacade {
    /// Reads ended sessions through `authentication`, which nothing else uses. Hashes passwords on at most
    /// `hashing_threads` threads at once: as many as there are cores.
    pub fn new(
        ports: Ports,
        authentication: Arc<dyn Database>,
        hasher: Arc<dyn PasswordHasher>,
        hashing_threads: usize,
        settings: SessionSettings,
    ) -> Result<Self, HashingFailed> {
        let hashing = Hashing::new(hasher, hashing_threads)?;
        let revocations = RevocationCache::new(authentication);
        let failed_logins = FailedLoginLimiter::new(settings.failed_logins_per_account);
        Ok(Self { ports, hashing, failed_logins, settings, revocations })
    }

    /// Makes an account for a client at this address.
    ///
    /// # Errors
    ///
    /// [`Refusal::EmailTaken`]; [`AppError::Overloaded`] when too many passwords are waiting to be hashed.
    pub async fn sign_up(
        &self,
        email: Email,
        password: Password,
        name: Name,
        client: IpAddr,
    ) -> Result<ProfileInfo, AppError> {
        let password_hash = self.hashing.hash(password.as_str().to_owned(), client).await?;
        self.create(email, password_hash, name, Role::User).await
    }

    /// Makes an administrator's account: for operators, no request leads here.
    ///
    /// # Errors
    ///
    /// [`Refusal::EmailTaken`].
    pub async fn create_admin(&self, email: Email, password: Password, name: Name) -> Result<ProfileInfo, AppError> {
        let password_hash = self.hashing.hash(password.as_str().to_owned(), Ipv4Addr::LOCALHOST.into()).await?;
        self.create(email, password_hash, name, Role::Admin).await
    }

    async fn create(
        &self,
        email: Email,
        password_hash: String,
        name: Name,
        role: Role,
    ) -> Result<ProfileInfo, AppError> {
        let now = self.ports.now();
        let id = UserId(new_uuid(&*self.ports.randomness, now));
        let user = User { id, email, name, role, password_hash, created_at: now };
        self.retry(|| self.try_create(&user)).await?;
        Ok(user.into())
    }

    async fn try_create(&self, user: &User) -> Result<(), AppError> {
        let mut uow = self.ports.database.begin().await?;
        match uow.users().insert(user).await {
            // The id is new, so it is the address.
            Err(RepositoryError::NotUnique { .. }) => return Err(Refusal::EmailTaken.into()),
            result => result?,
        }
        Ok(uow.commit().await?)
    }

    /// Begins a session for a client at this address. An unknown e-mail address takes as long to refuse as a wrong
    /// password. An attempt is counted as failed until its password was found right, so concurrent ones don't exceed the
    /// limit.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidCredentials`]; [`AppError::TooOften`] when the account has taken too many wrong passwords;
    /// [`AppError::Overloaded`] when too many passwords are waiting to be verified.
    pub async fn log_in(&self, email: &Email, password: String, client: IpAddr) -> Result<TokensInfo, AppError> {
        let key = email.key();
        let user = self.ports.database.read().await?.users().find_by_email(&key).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let attempt = self.failed_logins.reserve(&key, hash.as_deref(), self.ports.now())?;
        let right = self.hashing.verify(password, hash, client).await?;
        let Some(user) = user.filter(|_| right) else {
            attempt.fail();
            return Err(Refusal::InvalidCredentials.into());
        };
        drop(attempt);
        self.retry(|| self.try_log_in(user.id)).await
    }

    async fn try_log_in(&self, user_id: UserId) -> Result<TokensInfo, AppError> {
        let now = self.ports.now();
        let session_id = SessionId(new_uuid(&*self.ports.randomness, now));
        let mut uow = self.ports.database.begin().await?;
        // Locked, so that an account that is being deleted doesn't keep a login that began meanwhile.
        let user = uow.users().lock(user_id).await?.ok_or(Refusal::InvalidCredentials)?;
        // Its refresh token moves the end.
        let session = Session { id: session_id, user_id, created_at: now, expires_at: now, revoked_at: None };
        uow.sessions().insert(&session).await?;
        let mut nonce = [0; 32];
        self.ports.randomness.fill(&mut nonce);
        let key = self.ports.signer.current_key();
        let tokens =
            self.issue_tokens(&mut *uow, TokenParts { user: &user, session: &session, nonce, key, at: now }).await?;
        uow.commit().await?;
        Ok(tokens)
    }

    /// Ends a login: its tokens stop working, here at once and on other instances within a second. Repeating it
    /// changes nothing.
    pub async fn log_out(&self, session_id: SessionId) -> Result<(), AppError> {
        self.retry(|| async {
            let now = self.ports.now();
            let uow = self.ports.database.begin().await?;
            self.revoke(uow, session_id, now).await
        })
        .await
    }

    /// Who a request comes from: the token is signed by this server, hasn't expired, and its login hasn't been ended.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthenticated`]; [`AppError::Unavailable`] when nothing was heard of ended logins for a second
    /// and the database doesn't answer.
    pub async fn authenticate(&self, token: &str) -> Result<AccessClaims, AppError> {
        let claims = self.ports.signer.read_access_token(token).ok_or(Refusal::Unauthenticated)?;
        let is_alive = self.ports.now() < claims.expires_at;
        if is_alive && !self.revocations.contains(&self.ports, claims.session_id).await? {
            Ok(claims)
        } else {
            Err(Refusal::Unauthenticated.into())
        }
    }

    /// Forgets failed logins that no longer count: to be called every few seconds.
    pub fn forget_failed_logins(&self) {
        self.failed_logins.remove_expired(self.ports.now());
    }

    /// Hears of logins that other instances have ended: to be called several times a second.
    ///
    /// # Errors
    ///
    /// [`AppError::Unavailable`].
    pub async fn refresh_revocations(&self) -> Result<(), AppError> {
        self.revocations.read(&self.ports).await
    }

    /// An account.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthenticated`] when it has been deleted.
    pub async fn profile(&self, user_id: UserId) -> Result<ProfileInfo, AppError> {
        let user = self.ports.database.read().await?.users().find(user_id).await?;
        Ok(user.ok_or(Refusal::Unauthenticated)?.into())
    }

    /// Gives an account another name.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthenticated`] when it has been deleted.
    pub async fn rename(&self, user_id: UserId, name: Name) -> Result<ProfileInfo, AppError> {
        self.retry(|| self.try_rename(user_id, &name)).await
    }

    async fn try_rename(&self, user_id: UserId, name: &Name) -> Result<ProfileInfo, AppError> {
        let mut uow = self.ports.database.begin().await?;
        let user = uow.users().lock(user_id).await?.ok_or(Refusal::Unauthenticated)?;
        uow.users().update_name(user_id, name).await?;
        uow.commit().await?;
        Ok(User { name: name.clone(), ..user }.into())
    }

    async fn retry<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, AppError>
    where
        F: Future<Output = Result<T, AppError>>,
    {
        retry_on_contention(&*self.ports.randomness, attempt).await
    }

    /// Ends one login and commits.
    async fn revoke(&self, mut uow: Box<dyn UnitOfWork>, id: SessionId, now: Instant) -> Result<(), AppError> {
        uow.sessions().revoke(id, now).await?;
        uow.commit().await?;
        self.revocations.insert(&[id], now);
        Ok(())
    }
}
