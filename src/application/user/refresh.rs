//! The exchange of refresh tokens.
//!
//! A refresh token is a signed text that contains its session's id. The database stores the hash of the newest one and
//! of recently used ones. A signed text without a record was used before, so a copied token is detected at any age. A
//! session needs only a few rows, however often it is refreshed.
//!
//! A token's text determines its successor, so the answer of an exchange can be repeated without being stored.

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use super::{
    facade::UserFacade,
    tokens::{TokenParts, TokensInfo, issue_tokens, make_tokens},
};
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        refusal::Refusal,
        unit_of_work::UnitOfWork,
        user::{RefreshToken, Session, User},
    },
};

/// The time for which a used token is kept after its reuse time. It exceeds the clock difference of instances and the
/// lock wait of a transaction.
const CLOCK_SKEW_MARGIN: TimeDelta = TimeDelta::minutes(1);

/// The kind of one use of a refresh token.
enum TokenUse {
    First,
    /// The token was first used at this instant, and its successor is signed with this key.
    Repeated(Instant, u32),
    /// Two clients use the token, so one of them has copied it.
    Copied,
}

impl UserFacade {
    /// Exchanges a refresh token for new tokens. A second use within
    /// [`refresh_reuse_seconds`](super::SessionSettings::refresh_reuse_seconds) gets the first answer again. A later
    /// use revokes the session, because the token was copied.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidRefreshToken`] for a token that is unknown, expired or copied, or whose session has ended.
    ///
    /// # Concurrency
    ///
    /// Locks the session: of two concurrent exchanges, one is the first and the other repeats it.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokensInfo, AppError> {
        self.ports.retry_on_contention(|| self.try_refresh(refresh_token)).await
    }

    async fn try_refresh(&self, text: &str) -> Result<TokensInfo, AppError> {
        const INVALID: Refusal = Refusal::InvalidRefreshToken;
        let digest = Sha256::digest(text).into();
        let mut uow = self.ports.database.begin().await?;
        let session_id = match self.ports.signer.read_refresh_token(text) {
            Some(claims) => claims.session_id,
            // This is a random text of an older version, or a text signed with a withdrawn key.
            None => uow.sessions().find_session_of(&digest).await?.ok_or(INVALID)?,
        };
        let (session, token) = uow.sessions().lock_with_token(session_id, &digest).await?.ok_or(INVALID)?;
        let now = self.ports.now();
        if session.revoked_at.is_some() || self.settings.session_end(&session) <= now {
            return Err(INVALID.into());
        }
        match self.classify(token.as_ref(), now) {
            TokenUse::First if token.is_some_and(|token| token.expires_at <= now) => Err(INVALID.into()),
            TokenUse::First => {
                let user = find_owner(&mut *uow, &session).await?;
                let (nonce, key) = (successor(text), self.ports.signer.current_key());
                let parts = TokenParts { user: &user, session: &session, nonce, key, at: now };
                uow.sessions().mark_used(&digest, now, key).await?;
                uow.sessions().delete_used(session.id, now - self.settings.refresh_reuse() - CLOCK_SKEW_MARGIN).await?;
                let tokens = issue_tokens(&mut *uow, &*self.ports.signer, self.settings, parts).await?;
                uow.commit().await?;
                Ok(tokens)
            }
            TokenUse::Repeated(at, key) => {
                let user = find_owner(&mut *uow, &session).await?;
                let parts = TokenParts { user: &user, session: &session, nonce: successor(text), key, at };
                let (tokens, _) = make_tokens(&*self.ports.signer, self.settings, parts)?;
                Ok(tokens)
            }
            TokenUse::Copied => {
                self.revoke(uow, session.id, now).await?;
                tracing::warn!(user = %session.user_id, session = %session.id, "a refresh token was used twice");
                Err(INVALID.into())
            }
        }
    }

    fn classify(&self, token: Option<&RefreshToken>, now: Instant) -> TokenUse {
        match token {
            None => TokenUse::Copied,
            Some(RefreshToken { used_at: None, .. }) => TokenUse::First,
            Some(RefreshToken { used_at: Some(used_at), successor_key, .. }) => match successor_key {
                Some(key) if now < *used_at + self.settings.refresh_reuse() => TokenUse::Repeated(*used_at, *key),
                _ => TokenUse::Copied,
            },
        }
    }
}

/// The user of a session, unless the account is blocked or deleted. A block at another node of a cluster may have
/// missed a session that began at the same time.
async fn find_owner(uow: &mut dyn UnitOfWork, session: &Session) -> Result<User, AppError> {
    let user = uow.users().find(session.user_id).await?.filter(|user| user.blocked_at.is_none());
    Ok(user.ok_or(Refusal::InvalidRefreshToken)?)
}

/// The nonce of the token that replaces the token with this text.
fn successor(text: &str) -> [u8; 32] {
    Sha256::new().chain_update("the token after ").chain_update(text).finalize().into()
}
