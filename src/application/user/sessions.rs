//! Which logins were ended: known to every instance within a second, and asked of memory at each request.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use tokio::time::timeout;

use crate::{
    application::{Ports, error::AppError, user::MAX_ACCESS_TOKEN_SECONDS},
    domain::{clock::Instant, id::SessionId, repository_error::RepositoryError, unit_of_work::Database},
};

/// How long a reading may take on the connection that is its own. Then it is tried on another one.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// From which age on the last reading is too old. Event streams end within a second of a login, and find out a little
/// later than requests do.
const MAX_AGE: TimeDelta = TimeDelta::milliseconds(500);

/// How far a reading goes back behind the one before. A login's end carries the time of the instance that ended it,
/// taken before its transaction began: that instance's clock may be some seconds behind, and the transaction may have
/// waited for locks.
const CLOCK_SKEW_MARGIN: TimeDelta = TimeDelta::seconds(30);

/// How often what has become useless is forgotten.
const CLEANUP_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// The ended logins whose access tokens haven't expired by themselves.
pub(super) struct RevocationCache {
    revoked: RevokedLogins,
    /// For this alone, so that no other work keeps requests from being authenticated.
    database: Arc<dyn Database>,
    /// One reading at a time.
    reading: tokio::sync::Mutex<SharedReadState>,
    begun: AtomicU64,
}

/// How the last reading ended.
struct SharedReadState {
    number: u64,
    outcome: Result<(), AppError>,
}

impl RevocationCache {
    /// Nothing is known yet.
    pub(super) fn new(database: Arc<dyn Database>) -> Self {
        Self {
            revoked: RevokedLogins::default(),
            database,
            reading: tokio::sync::Mutex::new(SharedReadState { number: 0, outcome: Ok(()) }),
            begun: AtomicU64::new(0),
        }
    }

    /// Notes logins that this instance has ended.
    pub(super) fn insert(&self, ids: &[SessionId], now: Instant) {
        self.revoked.insert(ids, now);
    }

    /// Whether a login was ended, as of a second ago at most. [`AppError::Unavailable`] when that can't be told.
    pub(super) async fn contains(&self, ports: &Ports, id: SessionId) -> Result<bool, AppError> {
        if !self.revoked.is_fresh(ports.now()) {
            self.read(ports).await?;
        }
        Ok(self.revoked.contains(id))
    }

    /// Reads what was ended lately.
    ///
    /// Whoever asks during a reading waits for the next one, which then serves all of them, and so does its failure:
    /// while the database is away nobody stands in line to find out once more.
    pub(super) async fn read(&self, ports: &Ports) -> Result<(), AppError> {
        let begun_before = self.begun.load(Ordering::SeqCst);
        let mut reading = self.reading.lock().await;
        if reading.number > begun_before {
            return reading.outcome.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = self.read_now(ports).await.map_err(|error| AppError::Unavailable(Arc::new(error)));
        *reading = SharedReadState { number, outcome: outcome.clone() };
        outcome
    }

    async fn read_now(&self, ports: &Ports) -> Result<(), RepositoryError> {
        let now = ports.now();
        let since = self.revoked.since(now);
        let ids = match timeout(READ_TIMEOUT, list(&self.database, since)).await {
            Ok(ids) => ids?,
            // That connection hangs, while others may work.
            Err(_) => list(&ports.database, since).await?,
        };
        self.revoked.merge(&ids, now);
        Ok(())
    }
}

async fn list(database: &Arc<dyn Database>, since: Instant) -> Result<Vec<SessionId>, RepositoryError> {
    database.read().await?.sessions().list_revoked(since).await
}

/// How long an ended session must be known: as long as any access token can live that was ever issued for it.
fn lifetime() -> TimeDelta {
    TimeDelta::seconds(i64::from(MAX_ACCESS_TOKEN_SECONDS))
}

/// What is known, and since when.
#[derive(Default)]
struct RevokedLogins {
    /// With the time each was first heard of here.
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

    /// A clock that was set back counts like one that went on.
    fn is_fresh(&self, now: Instant) -> bool {
        self.times().read_at.is_some_and(|read_at| (now - read_at).abs() < MAX_AGE)
    }

    /// From when on to read.
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

    /// Takes in what was read at `now`; forgets, once a minute, logins whose last access token has expired.
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

    /// Logins are forgotten once no access token of theirs can be alive, whichever way they were heard of.
    #[test]
    fn ended_logins_are_kept_as_long_as_a_token_lives() {
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
