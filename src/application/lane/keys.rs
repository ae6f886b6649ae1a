//! The idempotency keys of a lane: those in flight, and those recorded recently.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::{
    id::UserId,
    idempotency::{Answer, Fingerprint, KeyDigest},
    refusal::Refusal,
};

/// The most recorded keys that a lane remembers: some 3 megabytes.
const MAX_RECENT_KEYS: usize = 65_536;

/// Renders a result as the bytes of its answer.
pub type RenderAnswer<T> = Box<dyn Fn(Result<&T, &Refusal>) -> Answer + Send + Sync>;

/// The idempotency key of a request.
pub struct IdempotencyKey<T> {
    /// The digest that identifies the request.
    pub digest: KeyDigest,
    /// The digest of the request's body.
    pub fingerprint: Fingerprint,
    /// The user that the record belongs to.
    pub user_id: UserId,
    /// Renders the answer, which is recorded before it is sent.
    pub render: RenderAnswer<T>,
}

/// Counts the requests in flight by idempotency key, within this instance. Across instances the unique index blocks the
/// second request until the first has committed.
#[derive(Default)]
pub(super) struct KeysInFlight(Arc<Mutex<HashMap<KeyDigest, usize>>>);

impl KeysInFlight {
    /// Counts a request until the returned guard is dropped.
    pub(super) fn enter(&self, digest: KeyDigest) -> KeyInFlight {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(digest).or_default();
        *count += 1;
        let is_duplicate = *count > 1;
        KeyInFlight { keys: Arc::clone(&self.0), digest, is_duplicate }
    }
}

/// The guard of one request in flight.
pub(super) struct KeyInFlight {
    keys: Arc<Mutex<HashMap<KeyDigest, usize>>>,
    digest: KeyDigest,
    /// Whether another request with the key was in flight already.
    pub(super) is_duplicate: bool,
}

impl Drop for KeyInFlight {
    fn drop(&mut self) {
        let mut counts = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.digest);
            }
        }
    }
}

/// The latest keys that this instance recorded or found recorded. A batch that contains one of them looks up its keys
/// first. Without that, each replay would cost the whole batch a transaction that the unique index refuses.
///
/// It is only a hint. The unique index detects keys that are older, or that another instance recorded.
#[derive(Default)]
pub(super) struct RecentKeys(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    keys: HashSet<u64>,
    oldest_first: VecDeque<u64>,
}

impl RecentKeys {
    /// Remembers recorded keys.
    pub(super) fn insert(&self, digests: impl IntoIterator<Item = KeyDigest>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for short in digests.into_iter().map(shorten) {
            if recent.keys.insert(short) {
                recent.oldest_first.push_back(short);
            }
            if recent.oldest_first.len() > MAX_RECENT_KEYS
                && let Some(oldest) = recent.oldest_first.pop_front()
            {
                recent.keys.remove(&oldest);
            }
        }
    }

    /// Whether one of these keys is remembered.
    pub(super) fn contains_any(&self, digests: impl IntoIterator<Item = KeyDigest>) -> bool {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digests.into_iter().any(|digest| recent.keys.contains(&shorten(digest)))
    }
}

/// The first 64 bits of a digest. If two keys share them, a batch looks up its keys needlessly.
fn shorten(digest: KeyDigest) -> u64 {
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> KeyDigest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn the_latest_keys_are_remembered_and_older_ones_are_not() {
        let recent = RecentKeys::default();
        recent.insert((0..=MAX_RECENT_KEYS).map(digest));
        recent.insert([digest(MAX_RECENT_KEYS)]);
        assert!(!recent.contains_any([digest(0), digest(MAX_RECENT_KEYS + 1)]));
        assert!(recent.contains_any([digest(0), digest(1)]));
        assert!(recent.contains_any([digest(MAX_RECENT_KEYS)]));
        assert!(!recent.contains_any([]));
    }
}
