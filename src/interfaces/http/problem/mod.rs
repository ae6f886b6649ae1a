//! Problems: every response with a 4xx or 5xx status is `application/problem+json` (RFC 9457) with a code.
//!
//! [`code`] lists the codes; [`refusal`] converts refusals and errors into problems.

mod code;
mod refusal;

use std::borrow::Cow;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

pub use self::code::{BODY_CODES, CODES_OUTSIDE_OPERATIONS, Code};
use super::context::RequestContext;

/// The content type of every problem.
pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The seconds after which a client may repeat a request that was refused for load.
pub(super) const RETRY_AFTER_SECONDS: u32 = 1;

/// A failure that becomes a response once the request is known.
#[derive(Clone, Debug)]
pub struct Problem(Box<ProblemParts>);

/// Boxed, so that a `Result` stays small.
#[derive(Clone, Debug)]
struct ProblemParts {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    headers: HeaderMap,
    /// Logged, and never sent.
    cause: Option<String>,
}

/// The result of a handler.
pub type HandlerResult<T> = Result<T, Problem>;

impl Problem {
    /// Creates a problem; `detail` is a human-readable sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        if matches!(code.status().as_u16(), 429 | 503) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if code == Code::UNAUTHENTICATED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Self(Box::new(ProblemParts { code, detail: detail.into(), members: Map::new(), headers, cause: None }))
    }

    /// Lists every invalid field or parameter.
    pub fn validation(errors: &[FieldError]) -> Self {
        let fields = if errors.len() == 1 { "field" } else { "fields" };
        let errors: Vec<_> = errors.iter().map(FieldError::to_json).collect();
        Self::new(Code::VALIDATION_FAILED, format!("{} {fields} of the request can't be accepted.", errors.len()))
            .with_member("errors", errors.into())
    }

    /// This instance's clock is wrong. Another instance, or this one later, may accept the request.
    pub fn clock_skewed() -> Self {
        Self::new(Code::CLOCK_SKEWED, "This server's clock is more than 5 s from the database's: try again shortly.")
    }

    /// A rate limit is exceeded; a repetition is permitted after `seconds`.
    pub fn rate_limited(seconds: u32) -> Self {
        let detail = format!("Too many requests: try again in {seconds} s.");
        Self::new(Code::RATE_LIMITED, detail).with_header(header::RETRY_AFTER, seconds.into())
    }

    /// Adds an error, with its sources, as the cause for the log.
    pub(super) fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        self.0.cause = Some(describe(error));
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: Value) -> Self {
        self.0.members.insert(name.to_owned(), value);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The cause, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The JSON body for this request.
    pub fn body(&self, context: &RequestContext) -> Vec<u8> {
        let mut body = Map::new();
        body.insert("type".to_owned(), self.0.code.page().into());
        body.insert("title".to_owned(), self.0.code.title().into());
        body.insert("status".to_owned(), self.0.code.status().as_u16().into());
        body.insert("detail".to_owned(), self.0.detail.clone().into());
        body.insert("instance".to_owned(), context.uri.path().into());
        body.insert("code".to_owned(), self.0.code.name().into());
        body.insert("requestId".to_owned(), (*context.request_id).into());
        body.extend(self.0.members.clone());
        Value::Object(body).to_string().into_bytes()
    }

    /// The complete response to this request.
    pub(crate) fn into_response_for(self, context: &RequestContext) -> Response {
        let mut headers = self.0.headers.clone();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut response = (self.0.code.status(), headers, self.body(context)).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    /// An empty response that carries the problem: [`convert_failures`](super::middleware::convert_failures) has the
    /// request and adds the body.
    fn into_response(self) -> Response {
        let mut response = self.code().status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An invalid field of a body, or an invalid parameter of a query or header.
#[derive(Clone, Debug)]
pub struct FieldError {
    location: ErrorLocation,
    message: String,
}

#[derive(Clone, Debug)]
enum ErrorLocation {
    Pointer(String),
    Parameter(Cow<'static, str>),
}

impl FieldError {
    /// A field of a body, by its JSON pointer.
    pub fn pointer(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { location: ErrorLocation::Pointer(pointer.into()), message: message.into() }
    }

    /// A parameter of a query or a header.
    pub fn parameter(name: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { location: ErrorLocation::Parameter(name.into()), message: message.into() }
    }

    fn to_json(&self) -> Value {
        match &self.location {
            ErrorLocation::Pointer(pointer) => json!({"pointer": pointer, "message": self.message}),
            ErrorLocation::Parameter(name) => json!({"parameter": name, "message": self.message}),
        }
    }
}

/// An error and its sources, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusal::Refusal;

    #[test]
    fn the_body_of_a_problem_has_all_members_of_the_contract() {
        let context = RequestContext {
            request_id: "r1".into(),
            uri: "/api/v1/bookings".parse().unwrap(),
            ..RequestContext::default()
        };
        let problem = Problem::from(Refusal::SeatsUnavailable { requested: 3, conflicts: vec![] });
        let body: Value = serde_json::from_slice(&problem.body(&context)).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "/problems/seats-unavailable", "title": "Seats unavailable", "status": 409,
                "detail": "0 of 3 seats are held, sold or blocked.", "instance": "/api/v1/bookings",
                "code": "SEATS_UNAVAILABLE", "requestId": "r1", "conflicts": [],
            })
        );
    }
}
