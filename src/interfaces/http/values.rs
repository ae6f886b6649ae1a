//! Values as the wire has them.

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, header},
    response::IntoResponse,
};
use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

use crate::domain::{clock::Instant, points::Points};

/// An instant: RFC 3339, UTC, milliseconds.
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

/// An amount of points: a decimal string; one that was taken has a sign.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// How many.
    pub points: Points,
    /// Whether they were taken.
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

/// JSON bytes.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Maps with string keys and plain values always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

/// An answer for one user's eyes: no cache keeps it.
pub fn private<T: Serialize>(value: T) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(value))
}

/// An answer that any cache may keep for a second.
pub fn public<T: Serialize>(value: T) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=1"))], Json(value))
}

/// A strong entity tag.
pub fn strong_etag(version: &dyn std::fmt::Display) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether `If-None-Match` lists this tag (RFC 9110, 13.1.2: compared weakly; `*` is any).
pub fn none_match_lists(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == etag)
}
