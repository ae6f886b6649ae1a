//! Where chance comes from.

use uuid::Uuid;

use super::clock::Instant;

/// Gives unpredictable bytes: ids, tokens, seeds and jitter are made of them.
pub trait Randomness: Send + Sync {
    /// Fills `bytes` from a cryptographically secure source.
    fn fill(&self, bytes: &mut [u8]);
}

/// A new `UUIDv7`: the time, then chance, so that ids made later sort later.
pub fn new_uuid(randomness: &dyn Randomness, now: Instant) -> Uuid {
    let mut bytes = [0; 10];
    randomness.fill(&mut bytes);
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

/// A whole number below `bound`, evenly enough for jitter and not for a draw.
pub fn below(randomness: &dyn Randomness, bound: u64) -> u64 {
    let mut bytes = [0; 8];
    randomness.fill(&mut bytes);
    u64::from_le_bytes(bytes) % bound.max(1)
}
