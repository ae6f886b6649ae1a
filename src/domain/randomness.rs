//! The port of random bytes, and the values made from them.

use uuid::Uuid;

use super::clock::Instant;

/// The port of unpredictable bytes, for ids, tokens, seeds and jitter.
pub trait Randomness: Send + Sync {
    /// Fills `bytes` from a cryptographically secure source.
    fn fill(&self, bytes: &mut [u8]);
}

/// A new `UUIDv7`: milliseconds first, then random bits, so that ids of later milliseconds sort later.
pub fn new_uuid(randomness: &dyn Randomness, now: Instant) -> Uuid {
    let mut bytes = [0; 10];
    randomness.fill(&mut bytes);
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

/// A whole number from 0 to `bound - 1`. Its modulo bias is fine for jitter, and too large for a draw.
pub fn below(randomness: &dyn Randomness, bound: u64) -> u64 {
    let mut bytes = [0; 8];
    randomness.fill(&mut bytes);
    u64::from_le_bytes(bytes) % bound.max(1)
}
