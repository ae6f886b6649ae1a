//! The language that a client prefers for mail.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use crate::domain::language::Language;

/// The preferred language of `Accept-Language`; English without one that mail is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLanguage(pub Language);

impl ClientLanguage {
    fn of(headers: &HeaderMap) -> Self {
        // A list may be divided among several headers.
        let values = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
        Self(Language::accepted(&values.collect::<Vec<_>>().join(",")).unwrap_or_default())
    }
}

impl<S: Sync> FromRequestParts<S> for ClientLanguage {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}
