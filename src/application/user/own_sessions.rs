//! A user's own sessions: listing and ending them, and changing the password.

use std::net::IpAddr;

use super::facade::UserFacade;
use crate::{
    application::error::AppError,
    domain::{
        id::{SessionId, UserId},
        page::{Page, PageRequest},
        refusal::Refusal,
        user::{CodePurpose, Password, SessionSummary},
    },
};

impl UserFacade {
    /// A page of the user's live sessions, newest first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn sessions(
        &self,
        user_id: UserId,
        page: PageRequest<SessionId>,
    ) -> Result<Page<SessionSummary>, AppError> {
        let now = self.ports.now();
        Ok(self.ports.database.read().await?.sessions().list_live(user_id, page, now).await?)
    }

    /// Ends one of the user's sessions: on this instance at once, and on other instances within a second.
    ///
    /// # Errors
    ///
    /// [`Refusal::SessionNotFound`] if the user has no such live session.
    ///
    /// # Concurrency
    ///
    /// Locks the session.
    pub async fn end_session(&self, user_id: UserId, id: SessionId) -> Result<(), AppError> {
        self.ports
            .retry_on_contention(|| async {
                let now = self.ports.now();
                let mut uow = self.ports.database.begin().await?;
                if !uow.sessions().revoke_own(user_id, id, now).await? {
                    return Err(Refusal::SessionNotFound.into());
                }
                uow.commit().await?;
                self.revocations.insert(&[id], now);
                Ok(())
            })
            .await
    }

    /// Ends every session of the user, including the caller's: on this instance at once, and on other instances within
    /// a second.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    ///
    /// # Concurrency
    ///
    /// Locks the sessions.
    pub async fn end_all_sessions(&self, user_id: UserId) -> Result<(), AppError> {
        self.ports
            .retry_on_contention(|| async {
                let now = self.ports.now();
                let mut uow = self.ports.database.begin().await?;
                let ended = uow.sessions().revoke_all(user_id, None, now).await?;
                uow.commit().await?;
                self.revocations.insert(&ended, now);
                Ok(())
            })
            .await
    }

    /// Changes the password and ends every session of the user except `current`. Mailed codes that set a new password
    /// become void. A wrong current password counts as a failed login, so a stolen access token can't be used to guess
    /// it. `client` is the client's address.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidCredentials`] for a wrong current password, also if another request has changed it meanwhile;
    /// [`Refusal::Unauthenticated`] if the account is deleted; [`AppError::TooOften`] after too many wrong passwords;
    /// [`AppError::Overloaded`] if too many passwords wait to be hashed.
    ///
    /// # Concurrency
    ///
    /// Locks the account, then its sessions. A login verifies the password first, and then reads the hash again under
    /// the account's lock. So no session of the old password outlives the change.
    pub async fn change_password(
        &self,
        user_id: UserId,
        current: SessionId,
        current_password: String,
        new_password: Password,
        client: IpAddr,
    ) -> Result<(), AppError> {
        let user = self.ports.database.read().await?.users().find(user_id).await?.ok_or(Refusal::Unauthenticated)?;
        self.verify_password(&user.email.key(), Some(&user), current_password, client).await?;
        let new_hash = self.hashing.hash(new_password.as_str().to_owned(), client).await?;
        self.ports
            .retry_on_contention(|| self.try_replace_password(user_id, current, &user.password_hash, &new_hash))
            .await
    }

    async fn try_replace_password(
        &self,
        user_id: UserId,
        current: SessionId,
        old_hash: &str,
        new_hash: &str,
    ) -> Result<(), AppError> {
        let mut uow = self.ports.database.begin().await?;
        let user = uow.users().lock(user_id).await?.ok_or(Refusal::Unauthenticated)?;
        if user.password_hash != old_hash {
            return Err(Refusal::InvalidCredentials.into());
        }
        let now = self.ports.now();
        uow.users().update_password(user_id, new_hash).await?;
        uow.codes().void(user_id, CodePurpose::ResetPassword, now).await?;
        let ended = uow.sessions().revoke_all(user_id, Some(current), now).await?;
        uow.commit().await?;
        self.revocations.insert(&ended, now);
        Ok(())
    }
}
