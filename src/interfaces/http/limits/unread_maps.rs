//! The limit of the memory that seat maps occupy because clients don't read them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::domain::id::UserId;

/// The most bytes of seat maps that one user's clients may leave unread on this instance.
///
/// All readers of one version of a map share its bytes, so a user's clients count it once. A user who has no unread map
/// gets one of any size.
#[derive(Debug)]
pub struct UnreadMapLimit {
    /// The most bytes of one user; 0 for no limit.
    per_user: usize,
    unread: Mutex<HashMap<UserId, UnreadMaps>>,
}

/// The unread maps of a user, by the address of their bytes.
type UnreadMaps = HashMap<usize, UnreadMap>;

#[derive(Debug)]
struct UnreadMap {
    bytes: usize,
    responses: usize,
}

impl UnreadMapLimit {
    /// The name in problems and metrics.
    pub(crate) const NAME: &'static str = "unread-maps-per-user";

    /// Starts without any map. The argument is a number of bytes; 0 for no limit.
    pub fn new(per_user: usize) -> Arc<Self> {
        Arc::new(Self { per_user, unread: Mutex::default() })
    }

    /// Counts a map for its reader until the result is dropped; `None` if the user has too many bytes unread.
    pub(crate) fn count(self: &Arc<Self>, user: UserId, map: Arc<Vec<u8>>) -> Option<CountedMap> {
        let mut unread = self.lock();
        let maps = unread.entry(user).or_default();
        let unread_bytes: usize = maps.values().map(|map| map.bytes).sum();
        let is_first = maps.is_empty();
        match maps.entry(Arc::as_ptr(&map).addr()) {
            Entry::Occupied(counted) => counted.into_mut().responses += 1,
            Entry::Vacant(place) => {
                let exceeds = unread_bytes.saturating_add(map.len()) > self.per_user;
                if exceeds && !is_first && self.per_user > 0 {
                    return None;
                }
                place.insert(UnreadMap { bytes: map.len(), responses: 1 });
            }
        }
        Some(CountedMap { limit: Arc::clone(self), user, map })
    }

    fn release(&self, user: UserId, map: &Arc<Vec<u8>>) {
        let mut unread = self.lock();
        let Some(maps) = unread.get_mut(&user) else { return };
        let address = Arc::as_ptr(map).addr();
        if let Some(counted) = maps.get_mut(&address) {
            counted.responses -= 1;
            if counted.responses == 0 {
                maps.remove(&address);
            }
        }
        if maps.is_empty() {
            unread.remove(&user);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, UnreadMaps>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a map in a response. They count until the response is sent or its client is gone.
#[derive(Debug)]
pub(crate) struct CountedMap {
    limit: Arc<UnreadMapLimit>,
    user: UserId,
    map: Arc<Vec<u8>>,
}

impl AsRef<[u8]> for CountedMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for CountedMap {
    fn drop(&mut self) {
        self.limit.release(self.user, &self.map);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn map(bytes: usize) -> Arc<Vec<u8>> {
        Arc::new(vec![0; bytes])
    }

    #[test]
    fn a_version_of_a_map_counts_once_per_user() {
        let limit = UnreadMapLimit::new(100);
        let (first, second) = (map(50), map(50));
        let many: Vec<_> = (0..10).map(|_| limit.count(user(1), Arc::clone(&first)).unwrap()).collect();
        let last = limit.count(user(1), Arc::clone(&second)).unwrap();
        assert!(limit.count(user(1), map(1)).is_none());
        assert!(limit.count(user(1), second).is_some());
        assert!(limit.count(user(2), map(100)).is_some());
        drop(last);
        assert!(limit.count(user(1), map(50)).is_some());
        drop(many);
        assert!(limit.lock().is_empty());
    }

    #[test]
    fn one_map_may_be_larger_than_the_limit() {
        let limit = UnreadMapLimit::new(100);
        let large = limit.count(user(1), map(101)).unwrap();
        assert!(limit.count(user(1), map(1)).is_none());
        drop(large);
        assert!(limit.count(user(1), map(1)).is_some());
        let unlimited = UnreadMapLimit::new(0);
        let maps: Vec<_> = (0..3).map(|_| unlimited.count(user(1), map(100)).unwrap()).collect();
        assert_eq!(maps.len(), 3);
    }
}
