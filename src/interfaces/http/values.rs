//! Values and responses in the format of the API.

use std::{borrow::Cow, str::FromStr, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use strum::VariantNames;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, Type},
};

use super::problem::HandlerResult;
use crate::{
    application::concert::CatalogueAnswer,
    domain::{clock::Instant, points::Points},
};

/// An instant, written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(pub Instant);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2026-11-20T08:02:11.123Z"])
            .into()
    }
}

impl ToSchema for Timestamp {
    fn name() -> Cow<'static, str> {
        "Timestamp".into()
    }
}

/// An amount of points, written as a decimal string; a debit has a minus sign.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// The amount without its sign.
    pub points: Points,
    /// Whether it is a debit.
    pub negative: bool,
}

impl From<Points> for Amount {
    fn from(points: Points) -> Self {
        Self { points, negative: false }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sign = if self.negative && self.points != Points::ZERO { "-" } else { "" };
        serializer.collect_str(&format_args!("{sign}{}", self.points))
    }
}

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,2})?$"))
            .examples(["50000"])
            .into()
    }
}

impl ToSchema for Amount {
    fn name() -> Cow<'static, str> {
        "Amount".into()
    }
}

/// Types of the OpenAPI document for amounts in requests: a decimal string, or a number written as such a decimal.
macro_rules! amounts {
    ($($(#[doc = $doc:literal])+ $name:ident = $example:literal: $pattern:literal, $minimum:ident = 0, maximum = $maximum:literal;)+) => {
        $($(#[doc = $doc])+
        #[derive(Debug)]
        pub enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern));
                let number = ObjectBuilder::new().schema_type(Type::Number);
                let number = number.$minimum(Some(0)).maximum(Some($maximum)).multiple_of(Some(0.01));
                let description = concat!($($doc),+).trim();
                OneOfBuilder::new().description(Some(description)).examples([$example]).item(text).item(number).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        })+
    };
}

amounts! {
    /// Points: a decimal string, or a number without an exponent, with at most two decimals.
    AmountRequest = "150000": r"^(0|[1-9][0-9]{0,12})(\.[0-9]{1,2})?$", minimum = 0, maximum = 9_999_999_999_999.99;
    /// Points, more than 0 and at most 10,000,000: a decimal string, or a number without an exponent.
    ChargeAmountRequest = "50000":
        r"^(0\.(0[1-9]|[1-9][0-9]?)|[1-9][0-9]{0,6}(\.[0-9]{1,2})?|10000000(\.00?)?)$",
        exclusive_minimum = 0, maximum = 10_000_000.0;
    /// A seat's price, at most 9,999,999,999.99: a decimal string, or a number without an exponent.
    PriceRequest = "150000": r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,2})?$", minimum = 0, maximum = 9_999_999_999.99;
}

/// Points to add, or to take if negative, other than 0: a decimal string, or a number without an exponent.
#[derive(Debug)]
pub enum SignedAmountRequest {}

impl PartialSchema for SignedAmountRequest {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.pattern(Some(r"^-?(0\.(0[1-9]|[1-9][0-9]?)|[1-9][0-9]{0,12}(\.[0-9]{1,2})?)$"));
        let number = || ObjectBuilder::new().schema_type(Type::Number).multiple_of(Some(0.01));
        let added = number().exclusive_minimum(Some(0)).maximum(Some(9_999_999_999_999.99));
        let taken = number().minimum(Some(-9_999_999_999_999.99)).exclusive_maximum(Some(0));
        let description = "Points to add, or to take if negative, other than 0: a decimal string, or a number without \
                           an exponent.";
        let one_of = OneOfBuilder::new().description(Some(description)).examples(["-500"]);
        one_of.item(text).item(added).item(taken).into()
    }
}

impl ToSchema for SignedAmountRequest {
    fn name() -> Cow<'static, str> {
        "SignedAmountRequest".into()
    }
}

/// JSON bytes.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Maps with string keys and plain values always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

/// A response for one user, which no cache stores.
pub fn private_response<T: Serialize>(value: T) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(value))
}

/// Any cache may store the response for one second.
pub const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=1");

/// A response that any cache may store for one second.
pub fn public_response<T: Serialize>(value: T) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, PUBLIC)], Json(value))
}

/// A response of the catalogue, with bytes that all clients share.
///
/// A client that has it already gets 304. A cached answer carries `Age: 1`, so that no cache stores it for another
/// second. Fails with the refusal or failure of the read.
pub fn cached_response<T>(
    headers: &HeaderMap,
    answer: &CatalogueAnswer<T>,
    present: impl FnOnce(&T) -> Vec<u8>,
) -> HandlerResult<Response> {
    let rendered = answer.rendered(present)?;
    // Weak, because the response may be compressed.
    let etag = HeaderValue::try_from(format!("W/\"{:016x}\"", rendered.digest));
    let etag = etag.unwrap_or(HeaderValue::from_static("W/\"\""));
    let known = matches_if_none_match(headers, &etag);
    let age = answer.is_cached().then_some([(header::AGE, HeaderValue::from_static("1"))]);
    let headers = [(header::ETAG, etag), (header::CACHE_CONTROL, PUBLIC)];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers, age, ()).into_response());
    }
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((headers, age, content_type, shared_bytes(rendered.bytes)).into_response())
}

/// Bytes that several responses send without a copy.
pub fn shared_bytes(bytes: Arc<Vec<u8>>) -> Bytes {
    struct SharedBytes(Arc<Vec<u8>>);

    impl AsRef<[u8]> for SharedBytes {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    Bytes::from_owner(SharedBytes(bytes))
}

/// A strong entity tag.
pub fn strong_etag(version: &dyn std::fmt::Display) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether `If-None-Match` lists this tag (RFC 9110, 13.1.2: compared weakly; `*` is any).
pub fn matches_if_none_match(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    let etag = etag.trim_start_matches("W/");
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == etag)
}

/// Returns the one of `words` that equals `text`.
///
/// # Errors
///
/// The rule that the text breaks, with the words.
pub fn read_word(text: &str, words: &[&'static str]) -> Result<&'static str, String> {
    words.iter().find(|word| **word == text).copied().ok_or_else(|| format!("must be one of {}", words.join(", ")))
}

/// Returns the value whose name is `text`.
///
/// # Errors
///
/// The rule that the text breaks, with the names.
pub fn read_choice<T: VariantNames + FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("must be one of {}", T::VARIANTS.join(", ")))
}
