//! Every 4xx and 5xx: `application/problem+json` (RFC 9457) with a code for machines.

use std::borrow::Cow;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::context::RequestContext;
use crate::{application::error::AppError, domain::refusal::Refusal};

/// The content type of every problem.
pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// After how long a client that was turned away for load may come back.
const RETRY_AFTER_SECONDS: u32 = 1;

/// One meaning: its HTTP status and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    status: u16,
    name: &'static str,
}

macro_rules! codes {
    ($($status:literal: $($name:ident)+;)+) => {
        impl Code {
            $($(#[doc = concat!("`", stringify!($name), "`, status ", stringify!($status), ".")]
            pub const $name: Self = Self { status: $status, name: stringify!($name) };)+)+

            /// All of them, by status.
            pub const ALL: &[Self] = &[$($(Self::$name,)+)+];
        }
    };
}

codes! {
    400: MALFORMED_REQUEST IDEMPOTENCY_KEY_REQUIRED;
    401: UNAUTHENTICATED INVALID_CREDENTIALS INVALID_REFRESH_TOKEN QUEUE_TOKEN_REQUIRED QUEUE_TOKEN_INVALID;
    402: INSUFFICIENT_POINTS;
    403: FORBIDDEN QUEUE_TOKEN_NOT_YOURS QUEUE_TOKEN_WRONG_CONCERT QUEUE_TOKEN_NOT_ACTIVE QUEUE_TOKEN_EXPIRED USER_BLOCKED;
    404: NOT_FOUND CONCERT_NOT_FOUND PERFORMANCE_NOT_FOUND SEAT_NOT_FOUND BOOKING_NOT_FOUND PAYMENT_NOT_FOUND
         VENUE_NOT_FOUND EVENT_NOT_FOUND WEBHOOK_NOT_FOUND DRAW_NOT_FOUND SESSION_NOT_FOUND USER_NOT_FOUND;
    405: METHOD_NOT_ALLOWED;
    406: NOT_ACCEPTABLE;
    409: EMAIL_TAKEN SEATS_UNAVAILABLE SEAT_LIMIT_EXCEEDED HOLD_ALREADY_EXTENDED BOOKING_NOT_PAYABLE
         BOOKING_NOT_CANCELLABLE BALANCE_LIMIT_EXCEEDED REFUND_WINDOW_CLOSED CONCERT_HAS_BOOKINGS
         USER_HAS_LIVE_BOOKINGS SALES_CLOSED SALES_ALREADY_OPEN LAST_ADMIN IDEMPOTENCY_IN_PROGRESS;
    410: HOLD_EXPIRED;
    412: PRECONDITION_FAILED;
    413: PAYLOAD_TOO_LARGE;
    414: URI_TOO_LONG;
    415: UNSUPPORTED_MEDIA_TYPE;
    422: VALIDATION_FAILED IDEMPOTENCY_KEY_REUSED;
    429: RATE_LIMITED;
    431: HEADERS_TOO_LARGE;
    500: INTERNAL;
    503: OVERLOADED DATABASE_UNAVAILABLE DRAINING CLOCK_SKEWED;
    504: TIMEOUT;
}

impl Code {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The name, in upper snake case.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The code that a problem's body names.
    pub(crate) fn of_body(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        Self::ALL.iter().find(|code| body["code"] == code.name).copied()
    }

    /// The page that explains it: the name in lower kebab case.
    pub fn page(self) -> String {
        format!("/problems/{}", self.name.to_lowercase().replace('_', "-"))
    }

    /// The name as people write.
    pub fn title(self) -> String {
        let words = self.name.to_lowercase().replace('_', " ");
        let mut letters = words.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}

impl Serialize for Code {
    /// As its name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// An answer that says no, before it knows which request it answers.
#[derive(Clone, Debug)]
pub struct Problem(Box<ProblemParts>);

/// Boxed: results that are mostly good stay small.
#[derive(Clone, Debug)]
struct ProblemParts {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    headers: HeaderMap,
    /// For the log alone.
    cause: Option<String>,
}

/// What a handler fails with.
pub type HandlerResult<T> = Result<T, Problem>;

impl Problem {
    /// A problem with a sentence for people.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        if matches!(code.status, 429 | 503) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if code.status == 401 && code == Code::UNAUTHENTICATED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Self(Box::new(ProblemParts { code, detail: detail.into(), members: Map::new(), headers, cause: None }))
    }

    /// Bad fields or parameters, all of them.
    pub fn validation(errors: &[FieldError]) -> Self {
        let fields = if errors.len() == 1 { "field" } else { "fields" };
        let errors: Vec<_> = errors.iter().map(FieldError::to_json).collect();
        Self::new(Code::VALIDATION_FAILED, format!("{} {fields} of the request can't be accepted.", errors.len()))
            .with_member("errors", errors.into())
    }

    /// This instance's clock is wrong: another one, or this one later, can do what was asked.
    pub fn clock_skewed() -> Self {
        Self::new(Code::CLOCK_SKEWED, "This server's clock is more than 5 s from the database's: try again shortly.")
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

    /// Its code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What caused it, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The body that answers this request.
    pub fn body(&self, context: &RequestContext) -> Vec<u8> {
        let mut body = Map::new();
        body.insert("type".to_owned(), self.0.code.page().into());
        body.insert("title".to_owned(), self.0.code.title().into());
        body.insert("status".to_owned(), self.0.code.status.into());
        body.insert("detail".to_owned(), self.0.detail.clone().into());
        body.insert("instance".to_owned(), context.uri.path().into());
        body.insert("code".to_owned(), self.0.code.name.into());
        body.insert("requestId".to_owned(), (*context.request_id).into());
        body.extend(self.0.members.clone());
        Value::Object(body).to_string().into_bytes()
    }

    /// The whole answer to this request.
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
    /// Leaves the body to [`convert_failures`](super::middleware::convert_failures), which knows the request.
    fn into_response(self) -> Response {
        let mut response = self.code().status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A bad field of a body, or a bad parameter of a query or header.
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

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Refused(refusal) => Self::from(refusal),
            AppError::NotYourTurn { position, poll_after_seconds } => {
                Self::new(Code::QUEUE_TOKEN_NOT_ACTIVE, "It is not your turn yet.")
                    .with_member("position", position.into())
                    .with_member("pollAfterSeconds", poll_after_seconds.into())
            }
            AppError::Overloaded | AppError::Contention | AppError::TimedOut => {
                Self::new(Code::OVERLOADED, "The server has more to do than it can take on: try again shortly.")
            }
            AppError::ClockSkewed => Self::clock_skewed(),
            AppError::TooOften { retry_after_seconds } => Self::rate_limited(retry_after_seconds),
            AppError::Unavailable(cause) => {
                let mut problem =
                    Self::new(Code::DATABASE_UNAVAILABLE, "The database can't be reached: try again shortly.");
                problem.0.cause = Some(describe(&*cause));
                problem
            }
            AppError::Internal(cause) => {
                let mut problem = Self::new(Code::INTERNAL, "Something went wrong here. The request id names it.");
                problem.0.cause = Some(describe(&*cause));
                problem
            }
        }
    }
}

/// An error with all its causes, in one line.
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

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = Self::new(code_of(&refusal), refusal.to_string());
        match refusal {
            Refusal::SeatsUnavailable { conflicts, .. } => {
                let conflict = |conflict: &crate::domain::refusal::SeatConflict| json!({"seatId": conflict.seat_id.0, "reason": conflict.reason.name()});
                problem.with_member("conflicts", conflicts.iter().map(conflict).collect())
            }
            Refusal::TooFewSeats { .. } => problem.with_member("conflicts", json!([])),
            Refusal::InsufficientPoints { balance, required } => problem
                .with_member("balance", balance.to_string().into())
                .with_member("required", required.to_string().into()),
            Refusal::SeatLimitExceeded { limit, live } => {
                problem.with_member("limit", limit.into()).with_member("live", live.into())
            }
            Refusal::IdempotencyInProgress => problem.with_header(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into()),
            _ => problem,
        }
    }
}

/// The one table from the rules' words to the wire's.
#[deny(clippy::wildcard_enum_match_arm)]
fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Unauthenticated => Code::UNAUTHENTICATED,
        Refusal::InvalidCredentials => Code::INVALID_CREDENTIALS,
        Refusal::InvalidRefreshToken => Code::INVALID_REFRESH_TOKEN,
        Refusal::Forbidden => Code::FORBIDDEN,
        Refusal::EmailTaken => Code::EMAIL_TAKEN,
        Refusal::UserHasLiveBookings => Code::USER_HAS_LIVE_BOOKINGS,
        Refusal::QueueTokenRequired => Code::QUEUE_TOKEN_REQUIRED,
        Refusal::QueueTokenInvalid => Code::QUEUE_TOKEN_INVALID,
        Refusal::QueueTokenNotYours => Code::QUEUE_TOKEN_NOT_YOURS,
        Refusal::QueueTokenWrongConcert => Code::QUEUE_TOKEN_WRONG_CONCERT,
        Refusal::QueueTokenNotActive { .. } => Code::QUEUE_TOKEN_NOT_ACTIVE,
        Refusal::QueueTokenExpired => Code::QUEUE_TOKEN_EXPIRED,
        Refusal::ConcertNotFound => Code::CONCERT_NOT_FOUND,
        Refusal::DrawNotFound | Refusal::DrawNotMade => Code::DRAW_NOT_FOUND,
        Refusal::PerformanceNotFound => Code::PERFORMANCE_NOT_FOUND,
        Refusal::SeatNotFound => Code::SEAT_NOT_FOUND,
        Refusal::BookingNotFound => Code::BOOKING_NOT_FOUND,
        Refusal::PaymentNotFound => Code::PAYMENT_NOT_FOUND,
        Refusal::VenueNotFound => Code::VENUE_NOT_FOUND,
        Refusal::EventNotFound => Code::EVENT_NOT_FOUND,
        Refusal::UserNotFound => Code::USER_NOT_FOUND,
        Refusal::UserBlocked => Code::USER_BLOCKED,
        Refusal::LastAdmin => Code::LAST_ADMIN,
        Refusal::SessionNotFound => Code::SESSION_NOT_FOUND,
        Refusal::WebhookNotFound => Code::WEBHOOK_NOT_FOUND,
        Refusal::SeatsUnavailable { .. } | Refusal::TooFewSeats { .. } => Code::SEATS_UNAVAILABLE,
        Refusal::SeatLimitExceeded { .. } => Code::SEAT_LIMIT_EXCEEDED,
        Refusal::SalesClosed => Code::SALES_CLOSED,
        Refusal::SalesAlreadyOpen => Code::SALES_ALREADY_OPEN,
        Refusal::HoldAlreadyExtended => Code::HOLD_ALREADY_EXTENDED,
        Refusal::HoldExpired => Code::HOLD_EXPIRED,
        Refusal::BookingNotPayable { .. } => Code::BOOKING_NOT_PAYABLE,
        Refusal::BookingNotCancellable => Code::BOOKING_NOT_CANCELLABLE,
        Refusal::RefundWindowClosed { .. } => Code::REFUND_WINDOW_CLOSED,
        Refusal::ConcertHasBookings => Code::CONCERT_HAS_BOOKINGS,
        Refusal::InsufficientPoints { .. } => Code::INSUFFICIENT_POINTS,
        Refusal::BalanceLimitExceeded => Code::BALANCE_LIMIT_EXCEEDED,
        Refusal::PreconditionFailed { .. } => Code::PRECONDITION_FAILED,
        Refusal::IdempotencyKeyReused => Code::IDEMPOTENCY_KEY_REUSED,
        Refusal::IdempotencyInProgress => Code::IDEMPOTENCY_IN_PROGRESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_the_contract_asks_for() {
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
                "detail": "0 of 3 seats are held or sold.", "instance": "/api/v1/bookings",
                "code": "SEATS_UNAVAILABLE", "requestId": "r1", "conflicts": [],
            })
        );
    }
}
