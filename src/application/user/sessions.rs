//! Revoked logins: every instance reads them within a second, and each request looks them up in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;

use super::settings::MAX_ACCESS_TOKEN_SECONDS;
use crate::{
    application::{
        Ports,
        database_loss::{self, or_unavailable_within},
        error::AppError,
    },
    domain::{clock::Instant, id::SessionId, repository_error::RepositoryError, unit_of_work::Database},
};

/// The time limit of a read on the dedicated connection, after which the read is repeated on another one.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The age from which the last read is too old. It leaves half a second for event streams, which check their login less
/// often than requests, and must end within a second of its revocation.
const MAX_AGE: TimeDelta = TimeDelta::milliseconds(500);

/// The time by which a read overlaps the previous one. A revocation has the time at which its transaction started, by
/// the clock of its instance. That clock may be some seconds behind, and the transaction may have waited for locks.
const CLOCK_SKEW_MARGIN: TimeDelta = TimeDelta::seconds(30);

/// The interval at which expired entries are removed.
const CLEANUP_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// The revoked logins whose access tokens haven't expired.
pub(super) struct RevocationCache {
    revoked: RevokedLogins,
    /// A pool of its own, so that no other work delays authentication.
    database: Arc<dyn Database>,
    /// Serializes the reads.
    reading: tokio::sync::Mutex<SharedReadState>,
    /// The number of the latest read that has started.
    started: AtomicU64,
}

/// The outcome of the last read.
struct SharedReadState {
    number: u64,
    outcome: Result<(), AppError>,
}

impl RevocationCache {
    /// An empty cache.
    pub(super) fn new(database: Arc<dyn Database>) -> Self {
        Self {
            revoked: RevokedLogins::default(),
            database,
            reading: tokio::sync::Mutex::new(SharedReadState { number: 0, outcome: Ok(()) }),
            started: AtomicU64::new(0),
        }
    }

    /// Adds logins that this instance has revoked.
    pub(super) fn insert(&self, ids: &[SessionId], now: Instant) {
        self.revoked.insert(ids, now);
    }

    /// Whether a login was revoked, as of half a second ago at most. [`AppError::Unavailable`] if that can't be read.
    pub(super) async fn contains(&self, ports: &Ports, id: SessionId) -> Result<bool, AppError> {
        if !self.revoked.is_fresh(ports.now()) {
            self.read(ports).await?;
        }
        Ok(self.revoked.contains(id))
    }

    /// Reads the latest revocations (single-flight).
    ///
    /// Requests that arrive during a read wait for the next one, which serves all of them. They share its failure too,
    /// so an unavailable database is tried once and not once for each request.
    ///
    /// `docs/decisions/0008-access-tokens.md` explains why it isn't a [`Loader`](crate::application::loader::Loader).
    pub(super) async fn read(&self, ports: &Ports) -> Result<(), AppError> {
        let started_before = self.started.load(Ordering::SeqCst);
        let mut reading = self.reading.lock().await;
        if reading.number > started_before {
            return reading.outcome.clone();
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = self.read_now(ports).await.map_err(|error| AppError::Unavailable(Arc::new(error)));
        *reading = SharedReadState { number, outcome: outcome.clone() };
        outcome
    }

    async fn read_now(&self, ports: &Ports) -> Result<(), RepositoryError> {
        let now = ports.now();
        let since = self.revoked.since(now);
        let ids = match list(&self.database, READ_TIMEOUT, since).await {
            // The dedicated connection hangs or is lost, while others may work.
            Err(RepositoryError::Unavailable(_)) => list(&ports.database, database_loss::READ_TIMEOUT, since).await,
            ids => ids,
        };
        self.revoked.merge(&ids?, now);
        Ok(())
    }
}

async fn list(
    database: &Arc<dyn Database>,
    limit: Duration,
    since: Instant,
) -> Result<Vec<SessionId>, RepositoryError> {
    let reading = async { database.read().await?.sessions().list_revoked(since).await };
    or_unavailable_within(&**database, limit, reading).await?
}

/// The time for which a revoked login is remembered: the longest lifetime of an access token.
fn lifetime() -> TimeDelta {
    TimeDelta::seconds(i64::from(MAX_ACCESS_TOKEN_SECONDS))
}

/// The set of revoked logins, with the times of its upkeep.
#[derive(Default)]
struct RevokedLogins {
    /// Each with the instant at which this instance added it.
    revoked: RwLock<HashMap<SessionId, Instant>>,
    times: Mutex<Times>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    read_at: Option<Instant>,
    cleaned_at: Option<Instant>,
}

impl RevokedLogins {
    fn times(&self) -> Times {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last read is less than [`MAX_AGE`] old. The age counts in both directions, because the clock may be
    /// set back.
    fn is_fresh(&self, now: Instant) -> bool {
        self.times().read_at.is_some_and(|read_at| (now - read_at).abs() < MAX_AGE)
    }

    /// The instant from which revocations have to be read at `now`.
    fn since(&self, now: Instant) -> Instant {
        match self.times().read_at {
            None => now - lifetime() - CLOCK_SKEW_MARGIN,
            Some(read_at) => read_at.min(now) - CLOCK_SKEW_MARGIN,
        }
    }

    fn contains(&self, id: SessionId) -> bool {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    fn insert(&self, ids: &[SessionId], now: Instant) {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            revoked.entry(*id).or_insert(now);
        }
    }

    /// Adds the logins that were read at `now`. Removes, once a minute, logins whose last access token has expired.
    fn merge(&self, ids: &[SessionId], now: Instant) {
        if !ids.is_empty() {
            self.insert(ids, now);
        }
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.read_at = Some(now);
        if times.cleaned_at.is_none_or(|cleaned_at| (now - cleaned_at).abs() >= CLEANUP_INTERVAL) {
            times.cleaned_at = Some(now);
            let horizon = now - lifetime() - CLOCK_SKEW_MARGIN;
            let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
            revoked.retain(|_, learned_at| *learned_at >= horizon);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> SessionId {
        SessionId(Uuid::from_u128(number))
    }

    #[test]
    fn the_first_reading_goes_back_a_tokens_life_and_later_ones_a_little() {
        let revoked = RevokedLogins::default();
        let now = Instant::default();
        assert_eq!(revoked.since(now), now - lifetime() - CLOCK_SKEW_MARGIN);
        revoked.merge(&[], now);
        assert_eq!(revoked.since(now + lifetime()), now - CLOCK_SKEW_MARGIN);
        assert_eq!(revoked.since(now - lifetime()), now - lifetime() - CLOCK_SKEW_MARGIN);
    }

    #[test]
    fn a_reading_is_fresh_for_half_a_second_either_way() {
        let revoked = RevokedLogins::default();
        let now = Instant::default();
        assert!(!revoked.is_fresh(now));
        revoked.merge(&[], now);
        for (offset, fresh) in [(0, true), (499, true), (500, false), (-499, true), (-500, false)] {
            assert_eq!(revoked.is_fresh(now + TimeDelta::milliseconds(offset)), fresh, "{offset}");
        }
    }

    /// A login is removed once none of its access tokens can be valid, whichever way the instance learned of it.
    #[test]
    fn revoked_logins_are_kept_as_long_as_a_token_lives() {
        let revoked = RevokedLogins::default();
        let now = Instant::default();
        revoked.insert(&[id(1)], now);
        revoked.merge(&[id(1), id(2)], now + TimeDelta::seconds(1));
        revoked.merge(&[], now + lifetime() + CLOCK_SKEW_MARGIN);
        assert!(revoked.contains(id(1)) && revoked.contains(id(2)) && !revoked.contains(id(3)));
        revoked.merge(&[], now + lifetime() + CLOCK_SKEW_MARGIN + CLEANUP_INTERVAL);
        assert!(!revoked.contains(id(1)) && !revoked.contains(id(2)));
    }
}
