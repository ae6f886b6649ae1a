//! Authentication: a handler states in its signature that it needs a user or an administrator.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use super::{context::RequestContext, problem::Problem, state::App};
use crate::domain::{
    id::{SessionId, UserId},
    refusal::Refusal,
    token::AccessClaims,
    user::Role,
};

/// The authenticated user of a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The id in the access token.
    pub user_id: UserId,
    /// The login that the access token belongs to.
    pub session_id: SessionId,
    /// The role in the access token.
    pub role: Role,
}

impl From<AccessClaims> for Caller {
    fn from(claims: AccessClaims) -> Self {
        Self { user_id: claims.user_id, session_id: claims.session_id, role: claims.role }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(*caller);
        }
        let token = bearer(&parts.headers).ok_or(Refusal::Unauthenticated)?;
        let caller = Self::from(app.users.authenticate(token).await?);
        parts.extensions.insert(caller);
        if let Some(context) = parts.extensions.get::<RequestContext>() {
            let _ = context.user.set(caller.user_id);
        }
        Ok(caller)
    }
}

/// An authenticated administrator. The extractor reads the account's stored role, so a new role applies at once.
#[derive(Clone, Copy, Debug)]
pub struct Administrator(pub Caller);

impl FromRequestParts<App> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        app.users.require_admin(caller.user_id).await?;
        Ok(Self(caller))
    }
}

/// The token of `Authorization: Bearer <token>`. The scheme is case-insensitive (RFC 9110, 11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
