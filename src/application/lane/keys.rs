//! Idempotency keys in a lane: which are under way, and which were recorded a moment ago.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::{
    id::UserId,
    idempotency::{Answer, Fingerprint, KeyDigest},
    refusal::Refusal,
};

/// How many keys of the recent past an instance recognises.
const RECENT: usize = 65_536;

/// Writes a result as the answer that goes out; `None` for one that isn't the request's.
pub type RenderAnswer<T> = Box<dyn Fn(Result<&T, &Refusal>) -> Option<Answer> + Send + Sync>;

/// An idempotency key, and how the answer that it keeps is written.
pub struct IdempotencyKey<T> {
    /// What the request is recognised by.
    pub digest: KeyDigest,
    /// Of the request's body.
    pub fingerprint: Fingerprint,
    /// Whose request.
    pub user_id: UserId,
    /// Writes the answer as it goes out: it is stored before it is sent.
    pub render: RenderAnswer<T>,
}

impl<T: 'static> IdempotencyKey<T> {
    /// The same key for a lane whose output holds a `T` among others.
    pub(crate) fn widen<U: 'static>(self, part: fn(&U) -> Option<&T>) -> IdempotencyKey<U> {
        let Self { digest, fingerprint, user_id, render } = self;
        let render = Box::new(move |result: Result<&U, &Refusal>| match result {
            Ok(output) => render(Ok(part(output)?)),
            Err(refusal) => render(Err(refusal)),
        });
        IdempotencyKey { digest, fingerprint, user_id, render }
    }
}

/// Counts the requests that carry a key while they are under way in this instance. Across instances the database's
/// unique key makes the second wait.
#[derive(Default)]
pub(super) struct KeysInFlight(Arc<Mutex<HashMap<KeyDigest, usize>>>);

impl KeysInFlight {
    /// Counts one more, until what it gives is dropped.
    pub(super) fn enter(&self, digest: KeyDigest) -> KeyInFlight {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(digest).or_default();
        *count += 1;
        let is_duplicate = *count > 1;
        KeyInFlight { keys: Arc::clone(&self.0), digest, is_duplicate }
    }
}

/// One of them.
pub(super) struct KeyInFlight {
    keys: Arc<Mutex<HashMap<KeyDigest, usize>>>,
    digest: KeyDigest,
    /// Whether another request with the key was under way before.
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

/// The keys that this instance recorded or found recorded, the latest ones. A batch with one of them looks its keys up
/// first. Without that each replay would cost the whole batch an attempt: its keys are taken for new, and the primary key
/// refuses the one that isn't.
///
/// Only a hint: what another instance recorded, or what is older, is found by the primary key.
#[derive(Default)]
pub(super) struct RecentKeys(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    known: HashSet<u64>,
    in_order: VecDeque<u64>,
}

impl RecentKeys {
    /// Takes note that these are recorded.
    pub(super) fn note(&self, digests: impl IntoIterator<Item = KeyDigest>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for short in digests.into_iter().map(shorten) {
            if recent.known.insert(short) {
                recent.in_order.push_back(short);
            }
            if recent.in_order.len() > RECENT
                && let Some(oldest) = recent.in_order.pop_front()
            {
                recent.known.remove(&oldest);
            }
        }
    }

    /// Whether one of these is known.
    pub(super) fn knows_any(&self, digests: impl IntoIterator<Item = KeyDigest>) -> bool {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digests.into_iter().any(|digest| recent.known.contains(&shorten(digest)))
    }
}

/// The first bits of a digest: should two keys share them, one batch looks its keys up in vain.
fn shorten(digest: KeyDigest) -> u64 {
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn digest(number: usize) -> KeyDigest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn the_latest_keys_are_recognised_and_older_ones_forgotten() {
        let recent = RecentKeys::default();
        recent.note((0..=RECENT).map(digest));
        recent.note([digest(RECENT)]);
        assert!(!recent.knows_any([digest(0), digest(RECENT + 1)]));
        assert!(recent.knows_any([digest(0), digest(1)]));
        assert!(recent.knows_any([digest(RECENT)]));
        assert!(!recent.knows_any([]));
    }

    #[test]
    fn the_output_of_another_command_is_no_answer() {
        let answer = Answer { status: 201, body: Vec::new() };
        let render = Box::new(move |_: Result<&u8, &Refusal>| Some(answer.clone()));
        let key = IdempotencyKey { digest: digest(1), fingerprint: [0; 32], user_id: UserId(Uuid::nil()), render };
        let key: IdempotencyKey<Option<u8>> = key.widen(Option::as_ref);
        assert!((key.render)(Ok(&Some(1))).is_some());
        assert!((key.render)(Ok(&None)).is_none());
        assert!((key.render)(Err(&Refusal::HoldExpired)).is_some());
    }
}
