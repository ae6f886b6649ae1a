//! Who asks: permission is an extractor, so a handler states what it needs in its signature.

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

/// The user who sent a valid access token.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Who.
    pub user_id: UserId,
    /// By which login.
    pub session_id: SessionId,
    /// As what.
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

/// An administrator who sent a valid access token.
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

/// The token of `Authorization: Bearer <token>`; the scheme's case doesn't matter.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
