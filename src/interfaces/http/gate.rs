//! The gate: queue tokens are checked in front of every gated route, as tower middleware.
//!
//! The middleware reads the token's signature, its user, and for reads its state; it fails closed for every route
//! behind it. A write that may be a replay must not be refused for its token before its key was looked up (the
//! contract's order of checks), so for writes the middleware's verdict travels with the command, and is spoken under
//! the lock of the token's row.

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

/// The header that carries a queue token.
pub const QUEUE_TOKEN: &str = "queue-token";

/// Proof that the gate let a read through: its token was active. Only the gate makes one.
#[derive(Clone, Copy, Debug)]
pub struct ActiveToken {
    id: QueueTokenId,
    user_id: UserId,
}

impl ActiveToken {
    /// Which one it is.
    pub fn id(self) -> QueueTokenId {
        self.id
    }

    /// Whose it is.
    pub fn user_id(self) -> UserId {
        self.user_id
    }

    /// The concert it is for.
    pub fn concert(self) -> ConcertId {
        self.id.concert()
    }
}

/// The gate's verdict on a write's token: which one it is, if it is the caller's. Only the gate makes one.
#[derive(Clone, Debug)]
pub struct GateVerdict(Result<QueueTokenId, Refusal>);

impl GateVerdict {
    /// For the use case that speaks it.
    pub fn into_result(self) -> Result<QueueTokenId, Refusal> {
        self.0
    }
}

/// Guards a route. Without a valid access token nothing else is looked at.
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
        app.queue.require_active(claims.id, user_id).await?;
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

/// The queue token of a request, whoever sent it.
pub fn read_queue_token(app: &App, headers: &HeaderMap) -> Result<QueueClaims, Refusal> {
    app.queue.read(queue_token_header(headers)?).ok_or(Refusal::QueueTokenInvalid)
}

/// The queue token's text, as it came.
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

/// A gated handler behind no gate is a defect: nobody gets in.
fn missing_gate() -> Problem {
    Problem::new(Code::INTERNAL, "This route lacks its gate.")
}
