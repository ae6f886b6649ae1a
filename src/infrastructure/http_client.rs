//! HTTP clients of the adapters.

use std::error::Error;

use reqwest::{Client, ClientBuilder};

use super::error_source::innermost;

/// Builds a client. On a machine without root certificates it can connect over plain HTTP only; `what` is the log
/// message in that case.
///
/// # Errors
///
/// When TLS can't be set up.
pub(super) fn build(what: &str, builder: impl Fn() -> ClientBuilder) -> Result<Client, reqwest::Error> {
    // The call fails only if a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder().build().or_else(|error| {
        tracing::warn!(error = &error as &dyn Error, "{what}");
        builder().tls_certs_only([]).build()
    })
}

/// Describes an error without the URL, which may contain a secret.
pub(super) fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() { "no connection in time" } else { "no answer in time" }.to_owned();
    }
    let what = if error.is_connect() { "no connection" } else { "no answer" };
    format!("{what}: {}", innermost(error))
}
