//! The limits of open event streams.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::id::{QueueTokenId, UserId};

/// The most event streams that one queue token and one user may have open on this instance.
#[derive(Debug)]
pub struct StreamLimits {
    /// The most streams of one token; 0 for no limit.
    per_token: usize,
    /// The most streams of one user; 0 for no limit.
    per_user: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_token: HashMap<QueueTokenId, usize>,
    by_user: HashMap<UserId, usize>,
}

impl StreamLimits {
    /// Starts with no stream open. The arguments are numbers of streams; 0 for no limit.
    pub fn new(per_token: usize, per_user: usize) -> Self {
        Self { per_token, per_user, open: Mutex::default() }
    }

    /// Counts a stream of a token and its user until [`release`](Self::release); fails with the name of a limit that is
    /// reached.
    pub(crate) fn count(&self, token: QueueTokenId, user: UserId) -> Result<(), &'static str> {
        let mut open = self.lock();
        for (name, limit, count) in [
            ("streams-per-token", self.per_token, open.by_token.get(&token)),
            ("streams-per-user", self.per_user, open.by_user.get(&user)),
        ] {
            if limit > 0 && count.is_some_and(|count| *count >= limit) {
                return Err(name);
            }
        }
        *open.by_token.entry(token).or_default() += 1;
        *open.by_user.entry(user).or_default() += 1;
        Ok(())
    }

    /// Stops counting a stream of a token and its user.
    pub(crate) fn release(&self, token: QueueTokenId, user: UserId) {
        let mut open = self.lock();
        subtract(&mut open.by_token, &token);
        subtract(&mut open.by_user, &user);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subtract<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
