//! Idempotency keys: reads them, and replays the recorded answers.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    context::RequestContext,
    paths::BASE_PATH,
    problem::{self, Code, HandlerResult, Problem},
};
use crate::{
    application::lane::{IdempotencyKey, Reply},
    domain::{id::UserId, idempotency::Answer, refusal::Refusal},
};

/// The header of an idempotency key.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Marks a replay.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A request that may have a key.
pub struct IdempotencyRequest {
    method: Method,
    context: RequestContext,
    /// `None` without the header; `Err` for an invalid key.
    key: Option<Result<String, ()>>,
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let context = RequestContext::from_request_parts(parts, state).await?;
        let key = parts.headers.get(IDEMPOTENCY_KEY).map(|value| {
            let bytes = value.as_bytes();
            let is_valid = (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
            value.to_str().ok().filter(|_| is_valid).map(str::to_owned).ok_or(())
        });
        Ok(Self { method: parts.method.clone(), context, key })
    }
}

/// Renders a result as JSON.
pub type Render<T> = Arc<dyn Fn(&T) -> Vec<u8> + Send + Sync>;

/// How the result of a lane becomes a response, with or without a key.
pub struct IdempotentResponse<T> {
    context: RequestContext,
    success: StatusCode,
    render: Render<T>,
    /// The collection and the member of the body that form the header `Location`.
    location: Option<(&'static str, &'static str)>,
}

impl IdempotencyRequest {
    /// Fails without a valid key, for routes that require one.
    pub fn require_key(&self) -> HandlerResult<()> {
        match self.key {
            Some(Ok(_)) => Ok(()),
            Some(Err(())) | None => Err(key_required()),
        }
    }

    /// As [`prepare`](Self::prepare), for a route that requires a key. Fails without one, too.
    pub fn prepare_required<T: 'static>(
        self,
        user_id: UserId,
        body: &Bytes,
        success: StatusCode,
        render: impl Fn(&T) -> Vec<u8> + Send + Sync + 'static,
    ) -> HandlerResult<(IdempotencyKey<T>, IdempotentResponse<T>)> {
        let (key, response) = self.prepare(user_id, body, success, render)?;
        Ok((key.ok_or_else(key_required)?, response))
    }

    /// Returns the key for the lane, if the request has one, and the conversion of its result into a response.
    ///
    /// Fails for an invalid key.
    pub fn prepare<T: 'static>(
        self,
        user_id: UserId,
        body: &Bytes,
        success: StatusCode,
        render: impl Fn(&T) -> Vec<u8> + Send + Sync + 'static,
    ) -> HandlerResult<(Option<IdempotencyKey<T>>, IdempotentResponse<T>)> {
        let response = IdempotentResponse { context: self.context, success, render: Arc::new(render), location: None };
        let Some(key) = self.key else { return Ok((None, response)) };
        let key = key.map_err(|()| key_required())?;
        let digest = Sha256::new()
            .chain_update(user_id.0.as_bytes())
            .chain_update(self.method.as_str())
            .chain_update([0])
            .chain_update(response.context.uri.path())
            .chain_update([0])
            .chain_update(&key)
            .finalize();
        let key = IdempotencyKey {
            digest: digest.into(),
            fingerprint: Sha256::digest(body).into(),
            user_id,
            render: Box::new(response.renderer()),
        };
        Ok((Some(key), response))
    }
}

impl<T: 'static> IdempotentResponse<T> {
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

    /// Adds the header `Location`: the path `collection`, and the id in this member of the body.
    #[must_use]
    pub fn located(self, collection: &'static str, member: &'static str) -> Self {
        Self { location: Some((collection, member)), ..self }
    }

    /// Converts the reply of a lane. Fails with its refusal, unless the refusal is recorded under a key.
    pub fn respond(&self, reply: Reply<T>) -> HandlerResult<Response> {
        let (answer, replayed) = match reply {
            Reply::Unrecorded(Ok(value)) => {
                (Answer { status: self.success.as_u16(), body: (self.render)(&value) }, false)
            }
            Reply::Unrecorded(Err(refusal)) => return Err(refusal.into()),
            Reply::Recorded { answer, replayed } => (answer, replayed),
        };
        let is_success = answer.status == self.success.as_u16();
        let location = self.location.filter(|_| is_success).and_then(|(collection, member)| {
            HeaderValue::try_from(format!("{BASE_PATH}{collection}/{}", id_in(&answer.body, member)?)).ok()
        });
        let mut response = replayed_response(answer, replayed);
        if let Some(location) = location {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }
}

/// The id in a member of the body. Of a replayed answer only the bytes are known.
fn id_in(body: &[u8], member: &str) -> Option<Uuid> {
    let members: BTreeMap<&str, &RawValue> = serde_json::from_slice(body).ok()?;
    serde_json::from_str(members.get(member)?.get()).ok()
}

fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body).into_response()
}

fn replayed_response(answer: Answer, replayed: bool) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let code = if status.is_success() { None } else { Code::of_body(&answer.body) };
    let mut response = json_response(status, answer.body);
    if !status.is_success() {
        response.headers_mut().insert(header::CONTENT_TYPE, problem::CONTENT_TYPE);
        if let Some(problem) = code.map(|code| Problem::new(code, "")) {
            // Only for the log: the body is the recorded one.
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
        "Send the header Idempotency-Key: 1 to 255 visible ASCII characters, a new one for each new operation.",
    )
}
