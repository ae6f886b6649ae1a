//! The use cases of accounts and logins.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::{
    failed_logins::FailedLoginLimiter,
    hashing::Hashing,
    sessions::RevocationCache,
    settings::{CodeDelivery, SessionSettings},
    tokens::{TokenParts, TokensInfo, issue_tokens},
};
use crate::{
    application::{Ports, error::AppError},
    domain::{
        clock::Instant,
        id::{SessionId, UserId},
        language::Language,
        randomness::new_uuid,
        refusal::Refusal,
        repository_error::RepositoryError,
        text::{Email, Name},
        token::AccessClaims,
        unit_of_work::{Database, UnitOfWork},
        user::{CodePurpose, HashingFailed, Password, PasswordHasher, Role, Session, User},
    },
};

/// The account of a user, without the password hash.
#[derive(Clone, Debug)]
pub struct ProfileInfo {
    /// The user's id.
    pub id: UserId,
    /// The e-mail address as the user typed it, trimmed and normalized.
    pub email: Email,
    /// The displayed name.
    pub name: Name,
    /// The permissions of the account.
    pub role: Role,
    /// The instant of the sign-up.
    pub created_at: Instant,
    /// Whether the address was verified.
    pub email_verified: bool,
}

impl From<User> for ProfileInfo {
    fn from(user: User) -> Self {
        let email_verified = user.email_verified_at.is_some();
        let User { id, email, name, role, created_at, .. } = user;
        Self { id, email, name, role, created_at, email_verified }
    }
}

/// The use cases of accounts and logins.
pub struct UserFacade {
    pub(super) ports: Ports,
    pub(super) hashing: Hashing,
    failed_logins: FailedLoginLimiter,
    /// The limit of wrong codes for an account, which works like that of wrong passwords.
    pub(super) failed_codes: FailedLoginLimiter,
    pub(super) code_delivery: CodeDelivery,
    pub(super) settings: SessionSettings,
    pub(super) revocations: RevocationCache,
}

impl UserFacade {
    /// Creates a facade without delivery of codes. It reads revoked logins through `authentication`, which no other
    /// work uses. It hashes passwords on at most `hashing_threads` threads, usually the number of cores.
    ///
    /// # Errors
    ///
    /// [`HashingFailed`] if the dummy password can't be hashed.
    pub fn new(
        ports: Ports,
        authentication: Arc<dyn Database>,
        hasher: Arc<dyn PasswordHasher>,
        hashing_threads: usize,
        settings: SessionSettings,
    ) -> Result<Self, HashingFailed> {
        let hashing = Hashing::new(hasher, hashing_threads)?;
        let revocations = RevocationCache::new(authentication);
        let [failed_logins, failed_codes] =
            [(); 2].map(|()| FailedLoginLimiter::new(settings.failed_logins_per_account));
        let code_delivery = CodeDelivery::Disabled;
        Ok(Self { ports, hashing, failed_logins, failed_codes, code_delivery, settings, revocations })
    }

    /// The same facade with another delivery of codes.
    #[must_use]
    pub fn delivering_codes(self, code_delivery: CodeDelivery) -> Self {
        Self { code_delivery, ..self }
    }

    /// Creates an account, and mails a code that verifies its e-mail address. `client` is the client's address.
    ///
    /// # Errors
    ///
    /// [`Refusal::EmailTaken`]; [`AppError::Overloaded`] if too many passwords wait to be hashed.
    pub async fn sign_up(
        &self,
        email: Email,
        password: Password,
        name: Name,
        client: IpAddr,
        language: Language,
    ) -> Result<ProfileInfo, AppError> {
        let password_hash = self.hashing.hash(password.as_str().to_owned(), client).await?;
        self.create(email, password_hash, name, Role::User, Some(language)).await
    }

    /// Creates an administrator's account. The command line and the demonstration data use it; there is no endpoint.
    ///
    /// # Errors
    ///
    /// [`Refusal::EmailTaken`].
    pub async fn create_admin(&self, email: Email, password: Password, name: Name) -> Result<ProfileInfo, AppError> {
        let password_hash = self.hashing.hash(password.as_str().to_owned(), Ipv4Addr::LOCALHOST.into()).await?;
        self.create(email, password_hash, name, Role::Admin, None).await
    }

    async fn create(
        &self,
        email: Email,
        password_hash: String,
        name: Name,
        role: Role,
        language: Option<Language>,
    ) -> Result<ProfileInfo, AppError> {
        let now = self.ports.now();
        let id = UserId(new_uuid(&*self.ports.randomness, now));
        let (email_verified_at, blocked_at) = (None, None);
        let user = User { id, email, name, role, password_hash, created_at: now, email_verified_at, blocked_at };
        self.ports.retry_on_contention(|| self.try_create(&user, language)).await?;
        Ok(user.into())
    }

    async fn try_create(&self, user: &User, language: Option<Language>) -> Result<(), AppError> {
        let mut uow = self.ports.database.begin().await?;
        match uow.users().insert(user).await {
            // The id is new, so the address isn't unique.
            Err(RepositoryError::NotUnique { .. }) => return Err(Refusal::EmailTaken.into()),
            result => result?,
        }
        if let Some(language) = language {
            let purpose = CodePurpose::VerifyEmail;
            self.issue_code(&mut *uow, Some(user.id), purpose, language, user.created_at).await?;
        }
        Ok(uow.commit().await?)
    }

    /// Starts a session. `client` is the client's address. Refusing an unknown e-mail address takes as long as refusing
    /// a wrong password. An attempt counts as failed until its password is verified, so concurrent attempts don't
    /// exceed the limit.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidCredentials`]; [`Refusal::UserBlocked`]; [`AppError::TooOften`] after too many wrong passwords
    /// for the account; [`AppError::Overloaded`] if too many passwords wait to be verified.
    ///
    /// # Concurrency
    ///
    /// Locks the account.
    pub async fn log_in(
        &self,
        email: &Email,
        password: String,
        client: IpAddr,
        user_agent: Option<&str>,
    ) -> Result<TokensInfo, AppError> {
        let key = email.key();
        let user = self.ports.database.read().await?.users().find_by_email(&key).await?;
        self.verify_password(&key, user.as_ref(), password, client).await?;
        let user = user.ok_or(Refusal::InvalidCredentials)?;
        self.ports.retry_on_contention(|| self.try_log_in(&user, user_agent)).await
    }

    /// Verifies the password of an account, or refuses that of an unknown address. The attempt counts as failed until
    /// then.
    pub(super) async fn verify_password(
        &self,
        email_key: &str,
        user: Option<&User>,
        password: String,
        client: IpAddr,
    ) -> Result<(), AppError> {
        let hash = user.map(|user| user.password_hash.clone());
        let attempt = self.failed_logins.reserve(email_key, hash.as_deref(), self.ports.now())?;
        if self.hashing.verify(password, hash, client).await? {
            return Ok(());
        }
        attempt.fail();
        Err(Refusal::InvalidCredentials.into())
    }

    async fn try_log_in(&self, verified: &User, user_agent: Option<&str>) -> Result<TokensInfo, AppError> {
        let now = self.ports.now();
        let session_id = SessionId(new_uuid(&*self.ports.randomness, now));
        let mut uow = self.ports.database.begin().await?;
        // Locked, so that a concurrent deletion, block or change of the password revokes this session or prevents it.
        let user = uow.users().lock(verified.id).await?.ok_or(Refusal::InvalidCredentials)?;
        if user.password_hash != verified.password_hash {
            return Err(Refusal::InvalidCredentials.into());
        }
        if user.blocked_at.is_some() {
            return Err(Refusal::UserBlocked.into());
        }
        // Storing the refresh token moves this deadline.
        let session = Session { id: session_id, user_id: user.id, created_at: now, expires_at: now, revoked_at: None };
        uow.sessions().insert(&session, user_agent).await?;
        let mut nonce = [0; 32];
        self.ports.randomness.fill(&mut nonce);
        let key = self.ports.signer.current_key();
        let parts = TokenParts { user: &user, session: &session, nonce, key, at: now };
        let tokens = issue_tokens(&mut *uow, &*self.ports.signer, self.settings, parts).await?;
        uow.commit().await?;
        Ok(tokens)
    }

    /// Revokes a login: its tokens become invalid, on this instance at once and on other instances within a second.
    /// Repeating it has no effect.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    ///
    /// # Concurrency
    ///
    /// Locks the session.
    pub async fn log_out(&self, session_id: SessionId) -> Result<(), AppError> {
        self.ports
            .retry_on_contention(|| async {
                let now = self.ports.now();
                let uow = self.ports.database.begin().await?;
                self.revoke(uow, session_id, now).await
            })
            .await
    }

    /// Authenticates an access token: this server signed it, it hasn't expired, and its login isn't revoked.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthenticated`]; [`AppError::Unavailable`] if the last read of revoked logins is too old and the
    /// database doesn't answer.
    pub async fn authenticate(&self, token: &str) -> Result<AccessClaims, AppError> {
        let claims = self.ports.signer.read_access_token(token).ok_or(Refusal::Unauthenticated)?;
        let is_alive = self.ports.now() < claims.expires_at;
        if is_alive && !self.revocations.contains(&self.ports, claims.session_id).await? {
            Ok(claims)
        } else {
            Err(Refusal::Unauthenticated.into())
        }
    }

    /// Removes failed logins and codes that no longer count, to free memory. A job calls it every few seconds.
    pub fn forget_failed_logins(&self) {
        self.failed_logins.remove_expired(self.ports.now());
        self.failed_codes.remove_expired(self.ports.now());
    }

    /// Reads the logins that other instances have revoked. A job calls it several times per second.
    ///
    /// # Errors
    ///
    /// [`AppError::Unavailable`] for any failure of the read.
    pub async fn refresh_revocations(&self) -> Result<(), AppError> {
        self.revocations.read(&self.ports).await
    }

    /// The account of a user.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthenticated`] if the account is deleted.
    pub async fn profile(&self, user_id: UserId) -> Result<ProfileInfo, AppError> {
        let user = self.ports.database.read().await?.users().find(user_id).await?;
        Ok(user.ok_or(Refusal::Unauthenticated)?.into())
    }

    /// Changes the display name of an account.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthenticated`] if the account is deleted.
    ///
    /// # Concurrency
    ///
    /// Locks the account.
    pub async fn rename(&self, user_id: UserId, name: Name) -> Result<ProfileInfo, AppError> {
        self.ports.retry_on_contention(|| self.try_rename(user_id, &name)).await
    }

    async fn try_rename(&self, user_id: UserId, name: &Name) -> Result<ProfileInfo, AppError> {
        let mut uow = self.ports.database.begin().await?;
        let user = uow.users().lock(user_id).await?.ok_or(Refusal::Unauthenticated)?;
        uow.users().update_name(user_id, name).await?;
        uow.commit().await?;
        Ok(User { name: name.clone(), ..user }.into())
    }

    /// Requires the role ADMIN in the database, because the role in an access token may be out of date.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for any other role; [`Refusal::Unauthenticated`] if the account is deleted or blocked.
    pub async fn require_admin(&self, user_id: UserId) -> Result<(), AppError> {
        match self.ports.back_office.read().await?.users().find_role(user_id).await? {
            Some(Role::Admin) => Ok(()),
            Some(Role::User) => Err(Refusal::Forbidden.into()),
            None => Err(Refusal::Unauthenticated.into()),
        }
    }

    /// Refuses these sessions on this instance at once, after their revocation was committed.
    pub(in crate::application) fn refuse_sessions(&self, revoked: &[SessionId], now: Instant) {
        self.revocations.insert(revoked, now);
    }

    /// Revokes one login and commits.
    pub(super) async fn revoke(
        &self,
        mut uow: Box<dyn UnitOfWork>,
        id: SessionId,
        now: Instant,
    ) -> Result<(), AppError> {
        uow.sessions().revoke(id, now).await?;
        uow.commit().await?;
        self.revocations.insert(&[id], now);
        Ok(())
    }
}
