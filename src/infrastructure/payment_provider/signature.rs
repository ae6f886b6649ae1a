//! Signatures of notifications in Stripe's form: `t=<unix seconds>,v1=<hex of HMAC-SHA-256 over "t.body">`, see
//! <https://docs.stripe.com/webhooks?verify=verify-manually>. The sandbox signs the same way.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::clock::Instant;

/// The most seconds between a signature's time and the clock. An intercepted notification can't be replayed later.
const TOLERANCE_SECONDS: u64 = 300;

/// The most signatures of a header that are compared. During the rotation of a secret a header has two.
const MAX_SIGNATURES: usize = 8;

fn mac(secret: &[u8], timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.chain_update(timestamp).chain_update(".").chain_update(body)
}

/// The header's value for a body signed at `now`.
pub(super) fn sign(secret: &[u8], now: Instant, body: &[u8]) -> String {
    let timestamp = now.timestamp().to_string();
    let tag = mac(secret, &timestamp, body).finalize().into_bytes();
    format!("t={timestamp},v1={}", hex::encode(tag))
}

/// Whether a header's value signs the body with the secret, at most [`TOLERANCE_SECONDS`] from `now`.
pub(super) fn verifies(header: &str, secret: &[u8], now: Instant, body: &[u8]) -> bool {
    let mut timestamp = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) if timestamp.is_none() => timestamp = Some(value),
            Some(("v1", value)) if signatures.len() < MAX_SIGNATURES => signatures.extend(hex::decode(value)),
            _ => {}
        }
    }
    let Some(timestamp) = timestamp else { return false };
    let Ok(seconds) = timestamp.parse::<i64>() else { return false };
    now.timestamp().abs_diff(seconds) <= TOLERANCE_SECONDS
        && signatures.iter().any(|signature| mac(secret, timestamp, body).verify_slice(signature).is_ok())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn now() -> Instant {
        "2026-11-20T08:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_signature_verifies_its_body_secret_and_time_alone() {
        let header = sign(b"secret", now(), b"{}");
        assert!(verifies(&header, b"secret", now(), b"{}"));
        assert!(!verifies(&header, b"other", now(), b"{}"));
        assert!(!verifies(&header, b"secret", now(), b"{ }"));
        for (seconds, is_valid) in [(300, true), (301, false), (-300, true), (-301, false)] {
            let at = now() + TimeDelta::seconds(seconds);
            assert_eq!(verifies(&header, b"secret", at, b"{}"), is_valid, "{seconds}");
        }
        let later = header.replacen("t=", "t=1", 1);
        assert!(!verifies(&later, b"secret", now(), b"{}"));
    }

    /// Computed with OpenSSL: `printf '1492774577.{}' | openssl dgst -sha256 -hmac whsec_test`.
    #[test]
    fn a_signature_has_the_documented_form() {
        let at = Instant::from_timestamp(1_492_774_577, 0).unwrap();
        let expected = "t=1492774577,v1=0d0602f6611bd2252dd4b74b58a4528355a7380639a15e6cc21e3059d56d5b8b";
        assert_eq!(sign(b"whsec_test", at, b"{}"), expected);
        let rotated = format!("t=1492774577,v1={},v0=00,{}", "0".repeat(64), &expected["t=1492774577,".len()..]);
        assert!(verifies(&rotated, b"whsec_test", at, b"{}"));
    }

    #[test]
    fn malformed_headers_verify_nothing() {
        let good = sign(b"secret", now(), b"{}");
        let hex = good.split("v1=").nth(1).unwrap();
        for header in ["", "t=", "v1=", "t=x,v1=y", &format!("v1={hex}"), &format!("t=1,t=2,v1={hex}"), "é=,é=é"] {
            assert!(!verifies(header, b"secret", now(), b"{}"), "{header}");
        }
    }
}
