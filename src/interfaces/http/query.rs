//! Reads query parameters, cursors and ids in paths.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use strum::VariantNames;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    problem::{Code, FieldError, Problem},
    values::{read_choice, read_word},
};
use crate::domain::{
    clock::Instant,
    id::{BookingId, ConcertId, EventId, PaymentId, PerformanceId, SessionId, TicketId, TopUpId, UserId, WebhookId},
    page::PageRequest,
    refusal::Refusal,
};

/// The items of a page when the request names no limit.
const DEFAULT_LIMIT: u32 = 20;

/// The parameters of a page, as the OpenAPI document shows them. [`Query`] reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it stands in the document alone")]
pub struct PageParameters {
    /// The most items of the page; 20 if absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// The `nextCursor` of the previous page.
    #[param(max_length = 200, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// The parameters of a query, and the errors found in them so far.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::new(parts.uri.query().unwrap_or("")))
    }
}

impl Query {
    /// Splits a query, and records an error for each repeated parameter.
    fn new(text: &str) -> Self {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let mut repeated: Vec<&str> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        repeated.dedup();
        let errors = repeated.into_iter().map(|name| FieldError::parameter(name.to_owned(), "is sent twice")).collect();
        Self { pairs, errors }
    }

    fn is_repeated(&self, name: &str) -> bool {
        self.pairs.iter().filter(|(key, _)| key == name).nth(1).is_some()
    }

    /// The text of a parameter; `None` when it is absent.
    pub fn text(&self, name: &'static str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parsed parameter; an invalid one is recorded as an error.
    pub fn parse<T, E: Display>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        if self.is_repeated(name) {
            return None;
        }
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.errors.push(FieldError::parameter(name, error.to_string()));
                None
            }
        }
    }

    /// A parameter with the names of `T` as its values.
    pub fn choice<T: VariantNames + FromStr>(&mut self, name: &'static str) -> Option<T> {
        self.parse(name, read_choice)
    }

    /// A parameter with the names of `T` as its values. Returns the name.
    pub fn choice_of_name<T: VariantNames>(&mut self, name: &'static str) -> Option<&'static str> {
        self.parse(name, |text| read_word(text, T::VARIANTS))
    }

    /// A parameter that is `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.parse(name, |text| read_word(text, &["true", "false"])).map(|word| word == "true")
    }

    /// An id of the catalogue: a positive 63-bit number.
    pub fn catalogue_id(&mut self, name: &'static str) -> Option<u64> {
        self.parse(name, |text| catalogue_id(text).ok_or("must be a positive whole number"))
    }

    /// A UUID in canonical form.
    pub fn uuid(&mut self, name: &'static str) -> Option<Uuid> {
        self.parse(name, |text| canonical_uuid(text).ok_or("must be a UUID"))
    }

    /// The page: its limit, and the cursor of one part, from which `position` makes a key. Fails with
    /// [`Code::MALFORMED_REQUEST`] for a cursor that [`cursor`] didn't make.
    pub fn page<T: FromStr, K>(&mut self, position: impl FnOnce(T) -> K) -> Result<PageRequest<K>, Problem> {
        self.page_of_parts(|[part]| Ok(position(cursor_part(&part)?)))
    }

    /// As [`page`](Self::page), for a cursor of `N` parts.
    pub fn page_of_parts<const N: usize, K>(
        &mut self,
        position: impl FnOnce([String; N]) -> Result<K, Problem>,
    ) -> Result<PageRequest<K>, Problem> {
        Ok(PageRequest { limit: self.limit(), after: self.cursor()?.map(position).transpose()? })
    }

    /// The most items of the page, 1 to 100.
    fn limit(&mut self) -> u32 {
        self.parse("limit", |text| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>()
                .ok()
                .filter(|limit| digits && (1..=100).contains(limit))
                .ok_or("must be a whole number from 1 to 100")
        })
        .unwrap_or(DEFAULT_LIMIT)
    }

    /// The parts of the cursor that [`cursor`] made. Fails with [`Code::MALFORMED_REQUEST`] for any other text.
    fn cursor<const N: usize>(&self) -> Result<Option<[String; N]>, Problem> {
        let Some(text) = self.text("cursor").filter(|_| !self.is_repeated("cursor")) else { return Ok(None) };
        let parts = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let parts = parts.map(|text| text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        parts.and_then(|parts| parts.try_into().ok()).map(Some).ok_or_else(bad_cursor)
    }

    /// Fails with all recorded errors. Call it when every parameter is read.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::validation(&self.errors)) }
    }
}

/// Creates an opaque cursor. Its parts must not contain spaces.
pub fn cursor(parts: &[&dyn Display]) -> String {
    let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
    URL_SAFE_NO_PAD.encode(parts.join(" "))
}

/// Parses a part of a cursor. Fails with [`Code::MALFORMED_REQUEST`].
pub fn cursor_part<T: FromStr>(part: &str) -> Result<T, Problem> {
    part.parse().map_err(|_| bad_cursor())
}

/// An instant as a part of a cursor, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct CursorInstant(pub Instant);

impl Display for CursorInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.timestamp_micros().fmt(f)
    }
}

impl FromStr for CursorInstant {
    type Err = ();

    /// Accepts the instants that the database can store, up to the year 9999.
    fn from_str(text: &str) -> Result<Self, ()> {
        let micros: u64 = text.parse().map_err(|_| ())?;
        let micros = i64::try_from(micros).ok().filter(|micros| *micros < 253_402_300_800_000_000).ok_or(())?;
        Instant::from_timestamp_micros(micros).map(Self).ok_or(())
    }
}

fn bad_cursor() -> Problem {
    Problem::new(Code::MALFORMED_REQUEST, "The cursor is not one that this server issued.")
}

/// An id in a path. Text that is no id is answered like an unknown id.
pub trait PathId: Sized {
    /// Parses the id, or fails with the refusal for an unknown one.
    fn from_path(text: &str) -> Result<Self, Problem>;
}

/// Parses a UUID in canonical form: hex and hyphens, neither braces nor `urn:`.
pub(super) fn canonical_uuid(text: &str) -> Option<Uuid> {
    (text.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// Parses an id of the catalogue as the server writes it: `7` alone, neither `07` nor `+7`.
fn catalogue_id(text: &str) -> Option<u64> {
    let is_canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| is_canonical && *id <= i64::MAX.unsigned_abs())
}

impl PathId for ConcertId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        catalogue_id(text).map(Self).ok_or_else(|| Refusal::ConcertNotFound.into())
    }
}

impl PathId for PerformanceId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        catalogue_id(text).map(Self).ok_or_else(|| Refusal::PerformanceNotFound.into())
    }
}

impl PathId for BookingId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        canonical_uuid(text).map(Self).ok_or_else(|| Refusal::BookingNotFound.into())
    }
}

impl PathId for PaymentId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        canonical_uuid(text).map(Self).ok_or_else(|| Refusal::PaymentNotFound.into())
    }
}

impl PathId for TopUpId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        canonical_uuid(text).map(Self).ok_or_else(|| Refusal::TopUpNotFound.into())
    }
}

impl PathId for UserId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        canonical_uuid(text).map(Self).ok_or_else(|| Refusal::UserNotFound.into())
    }
}

impl PathId for SessionId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        canonical_uuid(text).map(Self).ok_or_else(|| Refusal::SessionNotFound.into())
    }
}

impl PathId for TicketId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        canonical_uuid(text).map(Self).ok_or_else(|| Refusal::TicketNotFound.into())
    }
}

impl PathId for EventId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        canonical_uuid(text).map(Self).ok_or_else(|| Refusal::EventNotFound.into())
    }
}

impl PathId for WebhookId {
    fn from_path(text: &str) -> Result<Self, Problem> {
        canonical_uuid(text).map(Self).ok_or_else(|| Refusal::WebhookNotFound.into())
    }
}

/// The first id of a route's path.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_id(parts, state, 0).await.map(Self)
    }
}

/// The second id of a route's path.
#[derive(Clone, Copy, Debug)]
pub struct SecondId<T>(pub T);

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for SecondId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_id(parts, state, 1).await.map(Self)
    }
}

async fn path_id<S: Send + Sync, T: PathId>(parts: &mut Parts, state: &S, index: usize) -> Result<T, Problem> {
    // A path that isn't UTF-8 holds no id.
    let params = RawPathParams::from_request_parts(parts, state).await.ok();
    T::from_path(params.as_ref().and_then(|params| params.iter().nth(index)).map_or("", |(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::new(text)
    }

    #[test]
    fn only_the_canonical_form_of_a_uuid_is_an_id() {
        let id = "0192f3c4-5b6a-7c8d-9e0f-112233445566";
        assert!(canonical_uuid(id).is_some() && canonical_uuid(&id.to_uppercase()).is_some());
        for text in [format!("{{{id}}}"), format!("urn:uuid:{id}"), id.replace('-', ""), id[1..].to_owned()] {
            assert_eq!(canonical_uuid(&text), None, "{text}");
        }
    }

    #[test]
    fn limits_outside_of_1_to_100_are_refused() {
        assert_eq!(query("").limit(), 20);
        assert_eq!(query("limit=100").limit(), 100);
        for text in ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=1.5", "limit=%2B1", "limit="] {
            let mut query = query(text);
            query.limit();
            assert!(query.finish().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cursor_returns_its_parts_and_other_text_is_refused() {
        let text = cursor(&[&1, &"a"]);
        let parts = query(&format!("cursor={text}")).cursor::<2>().unwrap().unwrap();
        assert_eq!(parts, ["1", "a"]);
        for text in ["x", "%00", "!!!!", &text[1..]] {
            assert!(query(&format!("cursor={text}")).cursor::<2>().is_err(), "{text}");
        }
    }
}
