//! Reading JSON bodies: every bad field is named, not just the first.
//!
//! serde stops at the first error, so request types are read field by field instead, straight into the domain's
//! types (`docs/decisions/0005-reading-bodies.md`).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    ops::RangeInclusive,
    pin::pin,
};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
};
use chrono::{DateTime, SubsecRound, Utc};
use futures::FutureExt;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    middleware::Slot,
    problem::{Code, FieldError, Problem},
};
use crate::domain::{clock::Instant, points::Points};

/// The most bytes of a body, 64 KiB.
pub const MAX_BYTES: usize = 64 * 1024;

/// The most bytes of an administrator's body, 1 MiB.
pub const ADMIN_MAX_BYTES: usize = 1024 * 1024;

/// A request's type: reads itself from an object's fields.
pub trait FromBody: Sized {
    /// Reads each field it knows, noting what is wrong; `None` when anything is.
    fn read(object: &Object<'_>) -> Option<Self>;
}

/// A body that was read, and its bytes as they came.
#[derive(Debug)]
pub struct Body<T, const MAX: usize = MAX_BYTES> {
    /// What it says.
    pub value: T,
    /// As it came: what an idempotency key is tied to.
    pub bytes: Bytes,
}

/// An administrator's body.
pub type AdminBody<T> = Body<T, ADMIN_MAX_BYTES>;

/// Nothing to say: no body, or an empty object.
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
    /// As it came.
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

/// JSON, and not encoded: the server decompresses nothing, so no small body becomes a large one here.
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

/// Reads the whole body. While it hasn't arrived, the request has no slot among those under way.
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
            Problem::new(Code::MALFORMED_REQUEST, "The body broke off.")
        }
    })
}

fn parse<T: FromBody>(bytes: &[u8]) -> Result<T, Problem> {
    let raw: &RawValue = serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Code::MALFORMED_REQUEST, format!("The body is not JSON: {error}.")))?;
    let errors = RefCell::default();
    let root = Field { pointer: String::new(), raw, errors: &errors };
    let value = root.object(T::read);
    let errors = errors.into_inner();
    match value {
        Some(value) if errors.is_empty() => Ok(value),
        _ => Err(Problem::validation(&errors)),
    }
}

/// An object of a body. Its fields are read one by one; those that nobody reads are refused.
#[derive(Debug)]
pub struct Object<'a> {
    pointer: &'a str,
    unread: RefCell<BTreeMap<String, &'a RawValue>>,
    errors: &'a RefCell<Vec<FieldError>>,
}

impl<'a> Object<'a> {
    /// A field that must be there.
    pub fn required(&self, name: &str) -> Option<Field<'a>> {
        let field = self.optional(name);
        if field.is_none() { self.fail_at(name, "is required") } else { field }
    }

    /// A field that may be missing or null.
    pub fn optional(&self, name: &str) -> Option<Field<'a>> {
        self.if_present(name).filter(|field| field.raw.get() != "null")
    }

    /// A field that may be missing; a null is there, and is no value of any kind.
    pub fn if_present(&self, name: &str) -> Option<Field<'a>> {
        let raw = self.unread.borrow_mut().remove(name)?;
        Some(Field { pointer: self.pointer_of(name), raw, errors: self.errors })
    }

    /// Notes that the object as a whole is wrong.
    pub fn fail<T>(&self, message: impl Into<String>) -> Option<T> {
        self.errors.borrow_mut().push(FieldError::pointer(self.pointer, message));
        None
    }

    /// Notes what is wrong with a field, which may be missing.
    pub fn fail_at<T>(&self, name: &str, message: impl Into<String>) -> Option<T> {
        self.errors.borrow_mut().push(FieldError::pointer(self.pointer_of(name), message));
        None
    }

    fn pointer_of(&self, name: &str) -> String {
        // RFC 6901's two escapes.
        format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"))
    }
}

/// Reads an optional field: `Some(None)` when it is absent, `None` when it is wrong.
pub fn read_optional<'a, T>(field: Option<Field<'a>>, read: impl FnOnce(Field<'a>) -> Option<T>) -> Option<Option<T>> {
    match field {
        None => Some(None),
        Some(field) => read(field).map(Some),
    }
}

/// One value of a body, and where it stands.
#[derive(Debug)]
pub struct Field<'a> {
    pointer: String,
    raw: &'a RawValue,
    errors: &'a RefCell<Vec<FieldError>>,
}

impl<'a> Field<'a> {
    /// Notes what is wrong with it.
    pub fn fail<T>(&self, message: impl Into<String>) -> Option<T> {
        self.errors.borrow_mut().push(FieldError::pointer(self.pointer.clone(), message));
        None
    }

    /// Notes what is wrong with something within it, by its pointer from here.
    pub fn fail_at<T>(&self, within: &str, message: impl Into<String>) -> Option<T> {
        self.errors.borrow_mut().push(FieldError::pointer(format!("{}{within}", self.pointer), message));
        None
    }

    /// A string.
    pub fn text(&self) -> Option<String> {
        serde_json::from_str(self.raw.get()).ok().or_else(|| self.fail("must be a string"))
    }

    /// A string with a meaning.
    pub fn parse<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        parse(&text).map_or_else(|error| self.fail(error.to_string()), Some)
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let text = self.text()?;
        let choice = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        choice.or_else(|| self.fail(format!("must be one of {}", names())))
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        serde_json::from_str(self.raw.get()).ok().or_else(|| self.fail("must be true or false"))
    }

    /// A whole number within bounds.
    pub fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (range.start(), range.end());
        let text = self.raw.get();
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|number| digits && range.contains(number))
            .or_else(|| self.fail(format!("must be a whole number from {low} to {high}")))
    }

    /// A whole number within bounds that fits 32 bits.
    pub fn integer32(&self, range: RangeInclusive<u32>) -> Option<u32> {
        self.integer(u64::from(*range.start())..=u64::from(*range.end())).and_then(|number| number.try_into().ok())
    }

    /// The id of something in the catalogue.
    pub fn catalogue_id(&self) -> Option<u64> {
        self.integer(1..=i64::MAX.unsigned_abs())
    }

    /// An amount: a decimal string, or a number written as such a decimal.
    pub fn points(&self) -> Option<Points> {
        let literal = self.raw.get();
        if literal.starts_with('"') {
            self.parse(str::parse)
        } else {
            literal.parse::<Points>().map_or_else(|error| self.fail(error.to_string()), Some)
        }
    }

    /// A UUID.
    pub fn uuid(&self) -> Option<Uuid> {
        self.parse(|text| Uuid::try_parse(text).map_err(|_| "must be a UUID"))
    }

    /// An instant of the years 1970 to 9998.
    pub fn instant(&self) -> Option<Instant> {
        self.parse(parse_instant)
    }

    /// A list of bounded length; each item is read by `read`.
    pub fn list<T>(&self, len: RangeInclusive<usize>, read: impl Fn(Field<'a>) -> Option<T>) -> Option<Vec<T>> {
        let Ok(items) = serde_json::from_str::<Vec<&'a RawValue>>(self.raw.get()) else {
            return self.fail("must be a list");
        };
        if !len.contains(&items.len()) {
            return self.fail(format!("must have {} to {} items", len.start(), len.end()));
        }
        let items: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(index, raw)| read(Field { pointer: format!("{}/{index}", self.pointer), raw, errors: self.errors }))
            .collect();
        // Only now: every item has been looked at.
        items.into_iter().collect()
    }

    /// An object, all of whose fields `read` must know.
    pub fn object<T>(&self, read: impl FnOnce(&Object<'_>) -> Option<T>) -> Option<T> {
        let Ok(JsonObject(entries)) = serde_json::from_str::<JsonObject<'_>>(self.raw.get()) else {
            return self.fail("must be an object");
        };
        let mut unread = BTreeMap::new();
        let mut repeated = BTreeSet::new();
        for (name, raw) in entries {
            if unread.insert(name.clone(), raw).is_some() {
                repeated.insert(name);
            }
        }
        let object = Object { pointer: &self.pointer, unread: RefCell::new(unread), errors: self.errors };
        let value = read(&object).filter(|_| repeated.is_empty());
        let repeated = repeated.iter().map(|name| FieldError::pointer(object.pointer_of(name), "is named twice"));
        self.errors.borrow_mut().extend(repeated);
        let unknown: Vec<_> = object.unread.borrow().keys().map(|name| object.pointer_of(name)).collect();
        self.errors.borrow_mut().extend(unknown.into_iter().map(|pointer| FieldError::pointer(pointer, "is unknown")));
        value
    }
}

/// Reads an RFC 3339 instant, cut to microseconds, in UTC.
pub(crate) fn parse_instant(text: &str) -> Result<Instant, &'static str> {
    let message = "must be an RFC 3339 date and time such as \"2026-11-20T08:00:00Z\"";
    let instant = DateTime::parse_from_rfc3339(text).map_err(|_| message)?.with_timezone(&Utc).trunc_subsecs(6);
    let last = DateTime::<Utc>::from_timestamp(253_370_764_800, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    if instant >= DateTime::UNIX_EPOCH && instant < last { Ok(instant) } else { Err(message) }
}

/// The fields of an object in their order, repeated ones included.
struct JsonObject<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Visitor).map(JsonObject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::text::Name, interfaces::http::context::RequestContext};

    #[derive(Debug)]
    struct Sample;

    impl FromBody for Sample {
        fn read(object: &Object<'_>) -> Option<Self> {
            let name = object.required("name").and_then(|field| field.parse(Name::new));
            let price = object.required("price").and_then(|field| field.points());
            let ids = object.required("ids").and_then(|field| field.list(1..=2, |item| item.catalogue_id()));
            (name.is_some() && price.is_some() && ids.is_some()).then_some(Self)
        }
    }

    fn errors(body: &str) -> Vec<String> {
        let context = RequestContext::default();
        let problem = parse::<Sample>(body.as_bytes()).unwrap_err();
        let body: serde_json::Value = serde_json::from_slice(&problem.body(&context)).unwrap();
        match body["errors"].as_array() {
            Some(errors) => errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect(),
            None => vec![body["code"].as_str().unwrap().to_owned()],
        }
    }

    #[test]
    fn a_good_body_is_read() {
        for price in [r#""50000.50""#, "50000.50", "0"] {
            parse::<Sample>(format!(r#"{{"name":"x","price":{price},"ids":[1]}}"#).as_bytes()).unwrap();
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        assert_eq!(errors(r#"{"name":"","price":1e3,"ids":[1,"a"],"more":1}"#), ["/name", "/price", "/ids/1", "/more"]);
        assert_eq!(errors("{}"), ["/name", "/price", "/ids"]);
        assert_eq!(errors(r#"{"name":1,"price":-1,"ids":[]}"#), ["/name", "/price", "/ids"]);
        assert_eq!(errors(r#"{"name":"a","name":"b","price":1,"ids":[1]}"#), ["/name"]);
        assert_eq!(errors(r#"{"a/b":1,"a/b":2,"price":1,"ids":[]}"#), ["/name", "/ids", "/a~1b", "/a~1b"]);
        assert_eq!(errors("[]"), [""]);
        assert_eq!(errors("{"), ["MALFORMED_REQUEST"]);
        assert_eq!(errors(""), ["MALFORMED_REQUEST"]);
    }

    #[test]
    fn instants_are_read_in_any_zone_and_kept_in_utc() {
        let instant = parse_instant("2026-11-20T17:00:00.123+09:00").unwrap();
        assert_eq!(instant.to_rfc3339(), "2026-11-20T08:00:00.123+00:00");
        for text in ["", "2026-11-20", "2026-11-20T17:00:00", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z"] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
    }
}
