//! Mailed codes: the verification of an address, and new passwords.
//!
//! A code is made in the transaction of the request, and the event relay mails it after the commit. Its text is derived
//! from its id, so neither the database nor the event contains it
//! ([`TokenSigner::mailed_code`](crate::domain::token::TokenSigner::mailed_code)).

use std::net::IpAddr;

use chrono::TimeDelta;
use uuid::Uuid;

use super::{facade::UserFacade, settings::CodeDelivery};
use crate::{
    application::{error::AppError, event},
    domain::{
        clock::Instant,
        event::Fact,
        id::{CodeId, UserId},
        language::Language,
        randomness::new_uuid,
        refusal::Refusal,
        repository_error::RepositoryError,
        text::Email,
        unit_of_work::UnitOfWork,
        user::{CodePurpose, CodeText, MailedCode, Password},
    },
};

/// The most codes for one purpose that are mailed to an account within [`SENDING_WINDOW`], so that no mailbox is
/// flooded.
const MAX_SENT: u32 = 5;
const SENDING_WINDOW: TimeDelta = TimeDelta::hours(1);

/// The id of no account.
const NO_ACCOUNT: UserId = UserId(Uuid::nil());

impl UserFacade {
    /// Makes a code and its event. Without an account, or for one with too many recent codes, the same statements run,
    /// and the code has no recipient. The caller has locked the account, if there is one.
    pub(super) async fn issue_code(
        &self,
        uow: &mut dyn UnitOfWork,
        user_id: Option<UserId>,
        purpose: CodePurpose,
        language: Language,
        now: Instant,
    ) -> Result<(), RepositoryError> {
        if self.code_delivery == CodeDelivery::Disabled {
            return Ok(());
        }
        let account = user_id.unwrap_or(NO_ACCOUNT);
        let sent = uow.codes().count_since(account, purpose, now - SENDING_WINDOW).await?;
        let user_id = user_id.filter(|_| sent < MAX_SENT);
        let id = CodeId(new_uuid(&*self.ports.randomness, now));
        let key = self.ports.signer.current_key();
        let text = self.ports.signer.mailed_code(id, key).ok_or_else(|| RepositoryError::stale("a signing key"))?;
        let (digest, expires_at) = (text.digest(), now + purpose.lifetime());
        let code =
            MailedCode { id, user_id, purpose, digest, key, language, created_at: now, expires_at, used_at: None };
        uow.codes().insert(&code).await?;
        match (self.code_delivery, user_id) {
            (CodeDelivery::Mailed, _) => {
                event::record(&self.ports, uow, now, vec![Fact::CodeIssued(id)], Vec::new()).await?;
            }
            (CodeDelivery::Logged, Some(user_id)) => uow.after_commit(Box::new(move || {
                let purpose = purpose.name();
                tracing::info!(user = %user_id, purpose, code = %text, "a code is logged instead of mailed");
            })),
            _ => {}
        }
        Ok(())
    }

    /// Mails a code that verifies the account's address, unless the address is verified already.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthenticated`] if the account is deleted. Too many recent codes are no error: then no code is
    /// mailed.
    ///
    /// # Concurrency
    ///
    /// Locks the account.
    pub async fn request_verification(&self, user_id: UserId, language: Language) -> Result<(), AppError> {
        self.ports
            .retry_on_contention(|| async {
                let mut uow = self.ports.database.begin().await?;
                let user = uow.users().lock(user_id).await?.ok_or(Refusal::Unauthenticated)?;
                let now = self.ports.now();
                if user.email_verified_at.is_none() {
                    self.issue_code(&mut *uow, Some(user_id), CodePurpose::VerifyEmail, language, now).await?;
                }
                Ok(uow.commit().await?)
            })
            .await
    }

    /// Verifies the account's address by a mailed code. The account's other codes for this purpose become void.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidCode`]; [`Refusal::Unauthenticated`] if the account is deleted; [`AppError::TooOften`] after
    /// too many wrong codes for the account.
    ///
    /// # Concurrency
    ///
    /// Locks the account: of two requests with one code, one succeeds.
    pub async fn verify_email(&self, user_id: UserId, code: &str) -> Result<(), AppError> {
        // Each wrong code counts for the account's limit, even if several are tried concurrently.
        let attempt = self.failed_codes.reserve(&user_id.to_string(), None, self.ports.now())?;
        let verified = self.ports.retry_on_contention(|| self.try_verify_email(user_id, code)).await;
        if matches!(verified, Err(AppError::Refused(Refusal::InvalidCode))) {
            attempt.fail();
        }
        verified
    }

    async fn try_verify_email(&self, user_id: UserId, code: &str) -> Result<(), AppError> {
        const PURPOSE: CodePurpose = CodePurpose::VerifyEmail;
        let digest = CodeText::read(code).ok_or(Refusal::InvalidCode)?.digest();
        let mut uow = self.ports.database.begin().await?;
        uow.users().lock(user_id).await?.ok_or(Refusal::Unauthenticated)?;
        let code = uow.codes().find(&digest).await?.ok_or(Refusal::InvalidCode)?;
        let now = self.ports.now();
        if code.user_id != Some(user_id) || code.purpose != PURPOSE || !code.is_alive(now) {
            return Err(Refusal::InvalidCode.into());
        }
        uow.codes().void(user_id, PURPOSE, now).await?;
        uow.users().verify_email(user_id, now).await?;
        Ok(uow.commit().await?)
    }

    /// Mails a code that sets a new password to the account with this address, if there is one that isn't blocked.
    /// Otherwise the same statements run.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone: the answer doesn't reveal whether there is an account.
    ///
    /// # Concurrency
    ///
    /// Locks the account.
    pub async fn request_password_reset(&self, email: &Email, language: Language) -> Result<(), AppError> {
        self.ports
            .retry_on_contention(|| async {
                let found = self.ports.database.read().await?.users().find_by_email(&email.key()).await?;
                let mut uow = self.ports.database.begin().await?;
                let id = found.map_or(NO_ACCOUNT, |user| user.id);
                let user = uow.users().lock(id).await?.filter(|user| user.blocked_at.is_none());
                let (user_id, now) = (user.map(|user| user.id), self.ports.now());
                self.issue_code(&mut *uow, user_id, CodePurpose::ResetPassword, language, now).await?;
                Ok(uow.commit().await?)
            })
            .await
    }

    /// Sets a new password by a mailed code, and ends every session of the user. They end on this instance at once, and
    /// on other instances within a second. The account's other codes for this purpose become void. Failed logins with
    /// the former password no longer count. `client` is the client's address.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidCode`], also if the account is deleted or blocked; [`AppError::Overloaded`] if too many
    /// passwords wait to be hashed.
    ///
    /// # Concurrency
    ///
    /// Locks the account, then its sessions, and reads the code again under the account's lock: of two requests with
    /// codes of one account, one succeeds.
    pub async fn reset_password(&self, code: &str, new_password: Password, client: IpAddr) -> Result<(), AppError> {
        let digest = CodeText::read(code).ok_or(Refusal::InvalidCode)?.digest();
        // Hashing is slow, so it is done only for a valid code.
        let found = self.ports.database.read().await?.codes().find(&digest).await?;
        resettable(found, self.ports.now())?;
        let password_hash = self.hashing.hash(new_password.as_str().to_owned(), client).await?;
        self.ports.retry_on_contention(|| self.try_reset_password(&digest, &password_hash)).await
    }

    async fn try_reset_password(&self, digest: &[u8; 32], password_hash: &str) -> Result<(), AppError> {
        let mut uow = self.ports.database.begin().await?;
        let found = uow.codes().find(digest).await?;
        let user_id = resettable(found, self.ports.now())?;
        let user = uow.users().lock(user_id).await?.filter(|user| user.blocked_at.is_none());
        user.ok_or(Refusal::InvalidCode)?;
        let found = uow.codes().find(digest).await?;
        let now = self.ports.now();
        resettable(found, now)?;
        uow.users().update_password(user_id, password_hash).await?;
        uow.codes().void(user_id, CodePurpose::ResetPassword, now).await?;
        let ended = uow.sessions().revoke_all(user_id, None, now).await?;
        uow.commit().await?;
        self.revocations.insert(&ended, now);
        Ok(())
    }
}

/// The account whose password this code sets at `now`. [`Refusal::InvalidCode`] for a code that doesn't work.
fn resettable(code: Option<MailedCode>, now: Instant) -> Result<UserId, Refusal> {
    let code = code.filter(|code| code.purpose == CodePurpose::ResetPassword && code.is_alive(now));
    code.and_then(|code| code.user_id).ok_or(Refusal::InvalidCode)
}
