//! The gate: middleware that checks queue tokens in front of every gated route.
//!
//! It verifies the token's signature and user, and for reads also its state. It fails closed for every route behind it.
//! A write may be a replay, which must not be refused for its token before its key is looked up. So for writes the gate
//! records a verdict, and the use case applies it under the lock of the token's row
//! (`docs/decisions/0011-gate-verdict.md`).

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    auth::Caller,
    problem::{Code, Problem},
    state::App,
};
use crate::domain::{
    id::{ConcertId, QueueTokenId, UserId},
    refusal::Refusal,
    token::QueueClaims,
};

/// The header of a queue token.
pub const QUEUE_TOKEN: &str = "queue-token";

/// Proof that the token of a read was active. Only the gate creates it.
#[derive(Clone, Copy, Debug)]
pub struct ActiveToken {
    id: QueueTokenId,
    user_id: UserId,
}

impl ActiveToken {
    /// The token.
    pub fn id(self) -> QueueTokenId {
        self.id
    }

    /// The token's user.
    pub fn user_id(self) -> UserId {
        self.user_id
    }

    /// The token's concert.
    pub fn concert(self) -> ConcertId {
        self.id.concert()
    }
}

/// The gate's verdict on a write's token: the caller's token, or a refusal. Only the gate creates it.
#[derive(Clone, Debug)]
pub struct GateVerdict(Result<QueueTokenId, Refusal>);

impl GateVerdict {
    /// The id of the caller's token, or the refusal, for the use case that applies it.
    pub fn into_result(self) -> Result<QueueTokenId, Refusal> {
        self.0
    }
}

/// Guards a route. The access token is checked before the queue token.
pub async fn require_queue_token(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let admitted = match Caller::from_request_parts(&mut parts, &app).await {
        Ok(caller) => admit(&app, &mut parts, caller.user_id).await,
        Err(problem) => Err(problem),
    };
    match admitted {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

async fn admit(app: &App, parts: &mut Parts, user_id: UserId) -> Result<(), Problem> {
    let verdict = verify_presented(app, &parts.headers, user_id);
    // A route that answers GET answers HEAD by the same handler.
    if parts.method.is_safe() {
        let claims = verdict?;
        app.queue.gate.require_active(claims.id, user_id).await?;
        parts.extensions.insert(ActiveToken { id: claims.id, user_id });
    } else {
        parts.extensions.insert(GateVerdict(verdict.map(|claims| claims.id)));
    }
    Ok(())
}

fn verify_presented(app: &App, headers: &HeaderMap, user_id: UserId) -> Result<QueueClaims, Refusal> {
    let claims = read_queue_token(app, headers)?;
    if claims.user_id == user_id { Ok(claims) } else { Err(Refusal::QueueTokenNotYours) }
}

/// Reads the queue token of a request, of any user. Fails for a missing token, and for one that no secret signed.
pub fn read_queue_token(app: &App, headers: &HeaderMap) -> Result<QueueClaims, Refusal> {
    app.queue.tokens.read_claims(queue_token_header(headers)?).ok_or(Refusal::QueueTokenInvalid)
}

/// The text of the queue token. Fails if the header is missing, empty or not visible ASCII.
pub fn queue_token_header(headers: &HeaderMap) -> Result<&str, Refusal> {
    let text = headers.get(QUEUE_TOKEN).ok_or(Refusal::QueueTokenRequired)?;
    let text = text.to_str().map_err(|_| Refusal::QueueTokenInvalid)?.trim();
    if text.is_empty() { Err(Refusal::QueueTokenRequired) } else { Ok(text) }
}

impl<S: Send + Sync> FromRequestParts<S> for ActiveToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(missing_gate)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for GateVerdict {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(missing_gate)
    }
}

/// A gated handler without a gate is a defect, and refuses every request.
fn missing_gate() -> Problem {
    Problem::new(Code::INTERNAL, "This route has no gate.")
}
