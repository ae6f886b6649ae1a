//! The codes of problems. Clients depend on them: a code never changes its name or status.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A kind of failure, with its HTTP status and name.
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

            /// All codes, by status.
            pub const ALL: &[Self] = &[$($(Self::$name,)+)+];
        }
    };
}

codes! {
    400: MALFORMED_REQUEST IDEMPOTENCY_KEY_REQUIRED;
    401: UNAUTHENTICATED INVALID_CREDENTIALS INVALID_REFRESH_TOKEN INVALID_CODE QUEUE_TOKEN_REQUIRED
         QUEUE_TOKEN_INVALID INVALID_SIGNATURE;
    402: INSUFFICIENT_POINTS;
    403: FORBIDDEN QUEUE_TOKEN_NOT_YOURS QUEUE_TOKEN_WRONG_CONCERT QUEUE_TOKEN_NOT_ACTIVE QUEUE_TOKEN_EXPIRED USER_BLOCKED
         EMAIL_NOT_VERIFIED;
    404: NOT_FOUND CONCERT_NOT_FOUND PERFORMANCE_NOT_FOUND SEAT_NOT_FOUND BOOKING_NOT_FOUND PAYMENT_NOT_FOUND
         VENUE_NOT_FOUND EVENT_NOT_FOUND WEBHOOK_NOT_FOUND DRAW_NOT_FOUND SESSION_NOT_FOUND USER_NOT_FOUND
         TICKET_NOT_FOUND TOP_UP_NOT_FOUND PAYMENT_PROVIDER_NOT_FOUND;
    405: METHOD_NOT_ALLOWED;
    406: NOT_ACCEPTABLE;
    409: EMAIL_TAKEN SEATS_UNAVAILABLE SEAT_LIMIT_EXCEEDED HOLD_ALREADY_EXTENDED BOOKING_NOT_PAYABLE
         BOOKING_NOT_CANCELLABLE BALANCE_LIMIT_EXCEEDED REFUND_WINDOW_CLOSED CONCERT_HAS_BOOKINGS
         USER_HAS_LIVE_BOOKINGS BALANCE_NOT_ZERO SALES_CLOSED SALES_ALREADY_OPEN LAST_ADMIN BOOKING_NOT_CONFIRMED
         TICKET_ALREADY_USED TICKET_NOT_VALID TOP_UP_REQUIRED TOP_UP_NOT_REFUNDABLE
         NO_PAYMENT_PROVIDER IDEMPOTENCY_IN_PROGRESS;
    410: HOLD_EXPIRED;
    412: PRECONDITION_FAILED;
    413: PAYLOAD_TOO_LARGE;
    414: URI_TOO_LONG;
    415: UNSUPPORTED_MEDIA_TYPE;
    422: VALIDATION_FAILED IDEMPOTENCY_KEY_REUSED;
    429: RATE_LIMITED;
    431: HEADERS_TOO_LARGE;
    500: INTERNAL;
    503: OVERLOADED DATABASE_UNAVAILABLE DRAINING CLOCK_SKEWED PAYMENT_PROVIDER_UNAVAILABLE;
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

    /// The code in a problem's body.
    pub(crate) fn of_body(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        Self::ALL.iter().find(|code| body["code"] == code.name).copied()
    }

    /// The path of the page that explains the code: its name in kebab case.
    pub fn page(self) -> String {
        format!("/problems/{}", self.name.to_lowercase().replace('_', "-"))
    }

    /// The name in words.
    pub fn title(self) -> String {
        let words = self.name.to_lowercase().replace('_', " ");
        let mut letters = words.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}

impl Serialize for Code {
    /// Writes the name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// The codes of requests that reach no operation.
pub const CODES_OUTSIDE_OPERATIONS: [Code; 5] =
    [Code::NOT_FOUND, Code::METHOD_NOT_ALLOWED, Code::NOT_ACCEPTABLE, Code::URI_TOO_LONG, Code::HEADERS_TOO_LARGE];

/// The codes that reading a body can fail with.
pub const BODY_CODES: [Code; 4] =
    [Code::MALFORMED_REQUEST, Code::PAYLOAD_TOO_LARGE, Code::UNSUPPORTED_MEDIA_TYPE, Code::VALIDATION_FAILED];
