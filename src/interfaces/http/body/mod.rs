//! Reads JSON bodies, and reports every invalid field.
//!
//! serde stops at the first error. So [`fields`] reads request types field by field, straight into the domain's types
//! (`docs/decisions/0005-reading-bodies.md`). This file has the extractors.

mod fields;
mod instant;

use std::pin::pin;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
};
use futures::FutureExt;

use self::fields::parse;
pub use self::fields::{Field, FromBody, Object, read_optional};
pub(crate) use self::instant::parse_instant;
use super::{
    limits::concurrency::Slot,
    problem::{Code, Problem},
};

/// The most bytes of a body, 64 KiB.
pub const MAX_BYTES: usize = 64 * 1024;

/// The most bytes of an administrator's body, 1 MiB.
pub const ADMIN_MAX_BYTES: usize = 1024 * 1024;

/// A parsed body, and its bytes as received.
#[derive(Debug)]
pub struct Body<T, const MAX: usize = MAX_BYTES> {
    /// The parsed value.
    pub value: T,
    /// The bytes as received, from which the fingerprint of an idempotency key is computed.
    pub bytes: Bytes,
}

/// A body of the administration.
pub type AdminBody<T> = Body<T, ADMIN_MAX_BYTES>;

/// No body, or an empty object.
#[derive(Clone, Copy, Debug)]
pub struct NoBody;

impl FromBody for NoBody {
    fn read(_: &Object<'_>) -> Option<Self> {
        Some(Self)
    }
}

impl<S: Send + Sync, T: FromBody, const MAX: usize> FromRequest<S> for Body<T, MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_plain_json(request.headers())?;
        let bytes = read_bytes(request, MAX).await?;
        Ok(Self { value: parse(&bytes)?, bytes })
    }
}

/// A body that may be missing: see [`NoBody`].
#[derive(Debug)]
pub struct EmptyBody<const MAX: usize = MAX_BYTES> {
    /// The bytes as received.
    pub bytes: Bytes,
}

impl<S: Send + Sync, const MAX: usize> FromRequest<S> for EmptyBody<MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let typed = require_plain_json(request.headers());
        let bytes = read_bytes(request, MAX).await?;
        if !bytes.is_empty() {
            typed?;
            parse::<NoBody>(&bytes)?;
        }
        Ok(Self { bytes })
    }
}

/// The bytes of a JSON body that an adapter reads, as received.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_plain_json(request.headers())?;
        Ok(Self(read_bytes(request, MAX_BYTES).await?))
    }
}

/// Reads the fields of a form that a browser sends.
pub(crate) async fn read_form(request: Request) -> Result<Vec<(String, String)>, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !content_type.trim().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        let detail = "The body must be sent as application/x-www-form-urlencoded.";
        return Err(Problem::new(Code::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let bytes = read_bytes(request, MAX_BYTES).await?;
    Ok(form_urlencoded::parse(&bytes).into_owned().collect())
}

/// Requires JSON without a content encoding. The server decompresses nothing, so a small body can't become a large one.
fn require_plain_json(headers: &HeaderMap) -> Result<(), Problem> {
    let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_identity) {
        let detail = "The body must be sent without a Content-Encoding.";
        return Err(Problem::new(Code::UNSUPPORTED_MEDIA_TYPE, detail)
            .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        Ok(())
    } else {
        Err(Problem::new(Code::UNSUPPORTED_MEDIA_TYPE, "The body must be sent as application/json."))
    }
}

/// Reads the whole body. A request that waits for its body has no slot.
async fn read_bytes(request: Request, max: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::PAYLOAD_TOO_LARGE, format!("The body must be at most {max} bytes."));
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let slot = request.extensions().get::<Slot>().cloned();
    let mut reading = pin!(axum::body::to_bytes(request.into_body(), max));
    let read = match (reading.as_mut().now_or_never(), slot) {
        (Some(read), _) => read,
        (None, None) => reading.await,
        (None, Some(slot)) => slot.wait_for_body(reading).await?,
    };
    read.map_err(|error| {
        if std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>)
        {
            too_large()
        } else {
            Problem::new(Code::MALFORMED_REQUEST, "The body is incomplete.")
        }
    })
}
