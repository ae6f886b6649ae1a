//! Exchanging refresh tokens.
//!
//! A refresh token is a signed text that names its session. The database keeps a hash of the newest one, and of those
//! used lately. A signed text without a record was used before, so any copy is found out however old it is, and a session
//! takes a few rows however often it is refreshed.
//!
//! The token after a given one follows from its text, so the answer of its exchange can be given again without storing it.

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use super::{TokensInfo, UserFacade};
use crate::{
    application::error::AppError,
    domain::{
        clock::{Instant, seconds_left},
        refusal::Refusal,
        token::{AccessClaims, RefreshClaims},
        unit_of_work::UnitOfWork,
        user::{RefreshToken, Session, User},
    },
};

/// How much longer a used token is kept than it may be used again: longer than clocks of instances differ and
/// transactions wait.
const CLOCK_SKEW_MARGIN: TimeDelta = TimeDelta::minutes(1);

/// What the presentation of a refresh token is.
enum TokenUse {
    First,
    /// Of a token that was used at this instant and exchanged for one that this key signed.
    Repeated(Instant, u32),
    /// By two clients, of which one has copied it.
    Copied,
}

/// What new tokens are made of: the same tokens whenever it is the same.
#[derive(Clone, Copy)]
pub(super) struct TokenParts<'a> {
    pub(super) user: &'a User,
    pub(super) session: &'a Session,
    pub(super) nonce: [u8; 32],
    pub(super) key: u32,
    pub(super) at: Instant,
}

impl UserFacade {
    /// Exchanges a refresh token for new tokens. A token used again within seconds of its first use gets the first
    /// answer again; later use ends its session, because somebody has copied it.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidRefreshToken`] for one that is unknown, expired, copied or of an ended session.
    ///
    /// # Concurrency
    ///
    /// Locks the session: of two concurrent exchanges, one is the first and the other repeats it.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokensInfo, AppError> {
        self.retry(|| self.try_refresh(refresh_token)).await
    }

    async fn try_refresh(&self, text: &str) -> Result<TokensInfo, AppError> {
        const INVALID: Refusal = Refusal::InvalidRefreshToken;
        let digest = Sha256::digest(text).into();
        let mut uow = self.ports.database.begin().await?;
        let session_id = match self.ports.signer.read_refresh_token(text) {
            Some(claims) => claims.session_id,
            // A random text of a former version, or the key was withdrawn.
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
                let user = uow.users().find(session.user_id).await?.ok_or(INVALID)?;
                let (nonce, key) = (successor(text), self.ports.signer.current_key());
                let parts = TokenParts { user: &user, session: &session, nonce, key, at: now };
                uow.sessions().mark_used(&digest, now, key).await?;
                uow.sessions().delete_used(session.id, now - self.settings.refresh_reuse() - CLOCK_SKEW_MARGIN).await?;
                let tokens = self.issue_tokens(&mut *uow, parts).await?;
                uow.commit().await?;
                Ok(tokens)
            }
            TokenUse::Repeated(at, key) => {
                let user = uow.users().find(session.user_id).await?.ok_or(INVALID)?;
                let (tokens, _) =
                    self.make_tokens(TokenParts { user: &user, session: &session, nonce: successor(text), key, at })?;
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

    /// Makes tokens and stores the refresh token.
    pub(super) async fn issue_tokens(
        &self,
        uow: &mut dyn UnitOfWork,
        parts: TokenParts<'_>,
    ) -> Result<TokensInfo, AppError> {
        let (tokens, refresh_token) = self.make_tokens(parts)?;
        uow.sessions().insert_refresh_token(&refresh_token).await?;
        Ok(tokens)
    }

    /// Makes tokens: none works longer than their session. [`Refusal::InvalidRefreshToken`] if the key was withdrawn.
    fn make_tokens(&self, parts: TokenParts<'_>) -> Result<(TokensInfo, RefreshToken), Refusal> {
        let TokenParts { user, session, nonce, key, at } = parts;
        let claims = RefreshClaims { session_id: session.id, nonce };
        let text = self.ports.signer.refresh_token(&claims, key).ok_or(Refusal::InvalidRefreshToken)?;
        let session_end = self.settings.session_end(session);
        let refresh_expires_at = session_end.min(at + self.settings.refresh_lifetime());
        let expires_at = session_end.min(at + self.settings.access_lifetime());
        let stored = RefreshToken {
            digest: Sha256::digest(&text).into(),
            session_id: session.id,
            issued_at: at,
            expires_at: refresh_expires_at,
            used_at: None,
            successor_key: None,
        };
        let claims = AccessClaims { user_id: user.id, session_id: session.id, role: user.role, expires_at };
        let tokens = TokensInfo {
            user_id: user.id,
            access_token: self.ports.signer.access_token(&claims),
            expires_in_seconds: seconds_left(at, expires_at),
            refresh_token: text,
            refresh_expires_in_seconds: seconds_left(at, refresh_expires_at),
        };
        Ok((tokens, stored))
    }
}

/// The nonce of the token that the one of this text is exchanged for.
fn successor(text: &str) -> [u8; 32] {
    Sha256::new().chain_update("the token after ").chain_update(text).finalize().into()
}
