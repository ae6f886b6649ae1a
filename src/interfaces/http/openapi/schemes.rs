//! The names of the security schemes.

/// The security scheme of access tokens.
pub(super) const BEARER: &str = "accessToken";

/// The security scheme of queue tokens.
pub(super) const QUEUE_TOKEN: &str = "queueToken";
