//! Keys that are derived from the server's secrets.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The key of a secret for one purpose: HMAC-SHA-256 over the purpose's text. No use of it reveals the secret, or the
/// key of another purpose.
pub(super) fn derived_key(secret: &str, purpose: &str) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.chain_update(purpose).finalize().into_bytes().into()
}
