//! The tokens of a login.

use sha2::{Digest, Sha256};

use super::settings::SessionSettings;
use crate::{
    application::error::AppError,
    domain::{
        clock::{Instant, seconds_left},
        id::UserId,
        refusal::Refusal,
        token::{AccessClaims, RefreshClaims, TokenSigner},
        unit_of_work::UnitOfWork,
        user::{RefreshToken, Session, User},
    },
};

/// The tokens of a login. It isn't `Debug`, so that tokens don't get into the log.
pub struct TokensInfo {
    /// The user who logged in.
    pub user_id: UserId,
    /// The text that authenticates a request.
    pub access_token: String,
    /// The remaining lifetime of the access token, in seconds.
    pub expires_in_seconds: i64,
    /// The text that is exchanged for new tokens, once.
    pub refresh_token: String,
    /// The remaining lifetime of the refresh token, in seconds.
    pub refresh_expires_in_seconds: i64,
}

/// The parts from which tokens are made. Equal parts make equal tokens.
#[derive(Clone, Copy)]
pub(super) struct TokenParts<'a> {
    pub(super) user: &'a User,
    pub(super) session: &'a Session,
    pub(super) nonce: [u8; 32],
    pub(super) key: u32,
    pub(super) at: Instant,
}

/// Makes tokens and stores the refresh token's hash.
pub(super) async fn issue_tokens(
    uow: &mut dyn UnitOfWork,
    signer: &dyn TokenSigner,
    settings: SessionSettings,
    parts: TokenParts<'_>,
) -> Result<TokensInfo, AppError> {
    let (tokens, refresh_token) = make_tokens(signer, settings, parts)?;
    uow.sessions().insert_refresh_token(&refresh_token).await?;
    Ok(tokens)
}

/// Makes tokens, none of which outlives its session. [`Refusal::InvalidRefreshToken`] if the key was withdrawn.
pub(super) fn make_tokens(
    signer: &dyn TokenSigner,
    settings: SessionSettings,
    parts: TokenParts<'_>,
) -> Result<(TokensInfo, RefreshToken), Refusal> {
    let TokenParts { user, session, nonce, key, at } = parts;
    let claims = RefreshClaims { session_id: session.id, nonce };
    let text = signer.refresh_token(&claims, key).ok_or(Refusal::InvalidRefreshToken)?;
    let session_end = settings.session_end(session);
    let refresh_expires_at = session_end.min(at + settings.refresh_lifetime());
    let expires_at = session_end.min(at + settings.access_lifetime());
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
        access_token: signer.access_token(&claims),
        expires_in_seconds: seconds_left(at, expires_at),
        refresh_token: text,
        refresh_expires_in_seconds: seconds_left(at, refresh_expires_at),
    };
    Ok((tokens, stored))
}
