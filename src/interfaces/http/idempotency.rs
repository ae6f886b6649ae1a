//! Idempotency keys: reading them, and sending the answers that are kept under them.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::{
    context::RequestContext,
    problem::{self, Code, HandlerResult, Problem},
};
use crate::{
    application::lane::{Key, Reply},
    domain::{id::UserId, idempotency::Answer, refusal::Refusal},
};

/// The header that carries a key.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A request that may carry a key, and whose answer may be kept.
pub struct Keyed {
    method: Method,
    context: RequestContext,
    /// `None` without the header; `Err` for one that is no key.
    key: Option<Result<String, ()>>,
}

impl<S: Send + Sync> FromRequestParts<S> for Keyed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let context = RequestContext::from_request_parts(parts, state).await?;
        let key = parts.headers.get(IDEMPOTENCY_KEY).map(|value| {
            let bytes = value.as_bytes();
            let good = (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
            value.to_str().ok().filter(|_| good).map(str::to_owned).ok_or(())
        });
        Ok(Self { method: parts.method.clone(), context, key })
    }
}

/// Writes a result as JSON bytes.
pub type Render<T> = Arc<dyn Fn(&T) -> Vec<u8> + Send + Sync>;

/// What a request with or without a key needs on its way through a lane, and back.
pub struct Exchange<T> {
    context: RequestContext,
    success: StatusCode,
    render: Render<T>,
}

impl Keyed {
    /// For a route that can't do without a key.
    pub fn require(&self) -> HandlerResult<()> {
        match self.key {
            Some(Ok(_)) => Ok(()),
            Some(Err(())) | None => Err(key_required()),
        }
    }

    /// Prepares the way: the key for the lane, if there is one, and how its result becomes an answer.
    pub fn exchange<T: 'static>(
        self,
        user_id: UserId,
        body: &Bytes,
        success: StatusCode,
        render: impl Fn(&T) -> Vec<u8> + Send + Sync + 'static,
    ) -> HandlerResult<(Option<Key<T>>, Exchange<T>)> {
        let exchange = Exchange { context: self.context, success, render: Arc::new(render) };
        let Some(key) = self.key else { return Ok((None, exchange)) };
        let key = key.map_err(|()| key_required())?;
        let digest = Sha256::new()
            .chain_update(user_id.0.as_bytes())
            .chain_update(self.method.as_str())
            .chain_update([0])
            .chain_update(exchange.context.uri.path())
            .chain_update([0])
            .chain_update(&key)
            .finalize();
        let key = Key {
            digest: digest.into(),
            fingerprint: Sha256::digest(body).into(),
            user_id,
            render: {
                let render = exchange.renderer();
                Box::new(move |result| Some(render(result)))
            },
        };
        Ok((Some(key), exchange))
    }
}

impl<T: 'static> Exchange<T> {
    fn renderer(&self) -> impl Fn(Result<&T, &Refusal>) -> Answer + Send + Sync + use<T> {
        let (context, success, render) = (self.context.clone(), self.success, Arc::clone(&self.render));
        move |result| match result {
            Ok(value) => Answer { status: success.as_u16(), body: render(value) },
            Err(refusal) => {
                let problem = Problem::from(refusal.clone());
                Answer { status: problem.code().status().as_u16(), body: problem.body(&context) }
            }
        }
    }

    /// The response to what a lane answered.
    pub fn respond(&self, reply: Reply<T>) -> HandlerResult<Response> {
        match reply {
            Reply::Fresh(Ok(value)) => Ok(json(self.success, (self.render)(&value))),
            Reply::Fresh(Err(refusal)) => Err(refusal.into()),
            Reply::Kept { answer, replayed } => Ok(kept(answer, replayed)),
        }
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body).into_response()
}

fn kept(answer: Answer, replayed: bool) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let code = if status.is_success() { None } else { Code::of_body(&answer.body) };
    let mut response = json(status, answer.body);
    if !status.is_success() {
        response.headers_mut().insert(header::CONTENT_TYPE, problem::CONTENT_TYPE);
        if let Some(problem) = code.map(|code| Problem::new(code, "")) {
            // For the log alone: the body is what was kept.
            response.extensions_mut().insert(problem);
        }
    }
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn key_required() -> Problem {
    Problem::new(
        Code::IDEMPOTENCY_KEY_REQUIRED,
        "Send the header Idempotency-Key: 1 to 255 visible ASCII characters, a new one for each new intention.",
    )
}
