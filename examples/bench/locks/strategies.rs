//! Locking strategies for the same contended work, with one transaction per request.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, MySqlPool, Row};

use crate::redis_store::lock::{RedisLockKind, RedisLocks};

/// How a transaction reacts to a row that another one has locked or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Strategy {
    /// Waits for the lock.
    ForUpdate,
    /// Fails at once.
    NoWait,
    /// Treats the row as missing.
    SkipLocked,
    /// Reads without a lock; fails if the version has changed at the write.
    Optimistic,
    /// The same, with repeated attempts.
    OptimisticRetry,
    /// A lock in Redis around the transaction, which itself neither locks nor compares.
    Redis(RedisLockKind),
}

impl Strategy {
    pub(crate) const ALL: [Self; 8] = [
        Self::ForUpdate,
        Self::NoWait,
        Self::SkipLocked,
        Self::Optimistic,
        Self::OptimisticRetry,
        Self::Redis(RedisLockKind::SetNx),
        Self::Redis(RedisLockKind::Spinning),
        Self::Redis(RedisLockKind::PubSub),
    ];

    /// Its name in the report and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ForUpdate => "FOR UPDATE",
            Self::NoWait => "FOR UPDATE NOWAIT",
            Self::SkipLocked => "FOR UPDATE SKIP LOCKED",
            Self::Optimistic => "version, no retry",
            Self::OptimisticRetry => "version, retry",
            Self::Redis(RedisLockKind::SetNx) => "Redis SET NX",
            Self::Redis(RedisLockKind::Spinning) => "Redis, spinning",
            Self::Redis(RedisLockKind::PubSub) => "Redis, pub/sub",
        }
    }

    /// The lock in Redis that it uses.
    pub(crate) fn redis_lock(self) -> Option<RedisLockKind> {
        if let Self::Redis(kind) = self { Some(kind) } else { None }
    }

    /// Whether a write fails if the row has changed since it was read. A server that trusts its lock doesn't compare.
    fn compares_versions(self) -> bool {
        self.redis_lock().is_none()
    }

    /// The end of a write's condition.
    fn comparison(self) -> &'static str {
        if self.compares_versions() { " AND version = ?" } else { "" }
    }

    /// The most attempts per request. `ForUpdate` repeats after a deadlock. A lock in Redis waits by itself.
    fn attempts(self) -> u32 {
        match self {
            Self::ForUpdate | Self::OptimisticRetry => 100,
            Self::NoWait | Self::SkipLocked | Self::Optimistic | Self::Redis(_) => 1,
        }
    }
}

/// A user's request.
pub(crate) enum Operation {
    /// Holds all of these seats or none; in ascending order.
    Hold(Vec<u32>),
    /// Adds to the user's wallet.
    Charge,
}

/// The result of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    Done,
    /// Another user holds a seat.
    AlreadyTaken,
    /// Lost to a concurrent transaction.
    Conflict,
}

/// The tables: seats with an optional holder, wallets with a ledger.
pub(crate) const TABLES: [&str; 4] = [
    "CREATE TABLE lock_seats (id INT UNSIGNED PRIMARY KEY, holder INT UNSIGNED NULL, version INT UNSIGNED NOT NULL)",
    "CREATE TABLE lock_bookings (id BIGINT AUTO_INCREMENT PRIMARY KEY, user INT UNSIGNED NOT NULL, \
     seat INT UNSIGNED NOT NULL)",
    "CREATE TABLE lock_wallets (user INT UNSIGNED PRIMARY KEY, balance BIGINT NOT NULL, \
     version INT UNSIGNED NOT NULL)",
    "CREATE TABLE lock_ledger (user INT UNSIGNED NOT NULL, version INT UNSIGNED NOT NULL, balance_after BIGINT NOT NULL, \
     PRIMARY KEY (user, version))",
];

/// The longest pause before another attempt, in microseconds.
const MAX_PAUSE_MICROS: u64 = 5_000;

/// Executes operations with one strategy.
pub(crate) struct LockServer {
    pub(crate) pool: MySqlPool,
    pub(crate) strategy: Strategy,
    /// For the strategies with a lock in Redis.
    pub(crate) locks: Option<RedisLocks>,
    /// The time that a hold takes between its reads and its writes.
    pub(crate) work: Duration,
    /// Transactions that failed because of another one.
    pub(crate) conflicts: AtomicUsize,
}

impl LockServer {
    /// Executes an operation, in one transaction per attempt.
    pub(crate) async fn execute(&self, user: u32, operation: Operation) -> anyhow::Result<AttemptOutcome> {
        for number in 1..=self.strategy.attempts() {
            let outcome = match &self.locks {
                Some(locks) => self.attempt_under_lock(locks, user, &operation).await?,
                None => self.attempt(user, &operation).await?,
            };
            if outcome != AttemptOutcome::Conflict {
                return Ok(outcome);
            }
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            if number < self.strategy.attempts() {
                // Differs between users, without a random number generator.
                let pause = u64::from(user.wrapping_mul(2_654_435_761).rotate_left(number)) % MAX_PAUSE_MICROS;
                tokio::time::sleep(Duration::from_micros(pause)).await;
            }
        }
        Ok(AttemptOutcome::Conflict)
    }

    /// The lock is taken before a connection is, so that a waiting request keeps none.
    async fn attempt_under_lock(
        &self,
        locks: &RedisLocks,
        user: u32,
        operation: &Operation,
    ) -> anyhow::Result<AttemptOutcome> {
        let names = match operation {
            Operation::Hold(seats) => seats.iter().map(|seat| format!("seat:{seat}")).collect(),
            Operation::Charge => vec![format!("wallet:{user}")],
        };
        let Some(held) = locks.acquire(names).await? else { return Ok(AttemptOutcome::Conflict) };
        let outcome = self.attempt(user, operation).await;
        // If Redis fails, the lock lapses.
        let _ = locks.release(held).await;
        Ok(outcome?)
    }

    async fn attempt(&self, user: u32, operation: &Operation) -> Result<AttemptOutcome, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let attempt = match operation {
            Operation::Hold(seats) => hold(&mut connection, self, user, seats).await,
            Operation::Charge => charge(&mut connection, self.strategy, user).await,
        };
        match attempt {
            Err(sqlx::Error::Database(error)) if is_conflict(&*error) => Ok(AttemptOutcome::Conflict),
            outcome => outcome,
        }
    }
}

/// Whether the error is a lock wait timeout, a deadlock, or a `NOWAIT` refusal.
fn is_conflict(error: &dyn sqlx::error::DatabaseError) -> bool {
    error
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .is_some_and(|error| matches!(error.number(), 1205 | 1213 | 3572))
}

async fn hold(
    connection: &mut MySqlConnection,
    server: &LockServer,
    user: u32,
    seats: &[u32],
) -> Result<AttemptOutcome, sqlx::Error> {
    let select = match server.strategy {
        Strategy::ForUpdate => "SELECT version, holder FROM lock_seats WHERE id = ? FOR UPDATE",
        Strategy::NoWait => "SELECT version, holder FROM lock_seats WHERE id = ? FOR UPDATE NOWAIT",
        Strategy::SkipLocked => "SELECT version, holder FROM lock_seats WHERE id = ? FOR UPDATE SKIP LOCKED",
        Strategy::Optimistic | Strategy::OptimisticRetry | Strategy::Redis(_) => {
            "SELECT version, holder FROM lock_seats WHERE id = ?"
        }
    };
    let mut transaction = connection.begin().await?;
    let mut versions = Vec::new();
    for seat in seats {
        let Some(row) = sqlx::query(select).bind(seat).fetch_optional(&mut *transaction).await? else {
            transaction.rollback().await?;
            return Ok(AttemptOutcome::Conflict);
        };
        if row.try_get::<Option<u32>, _>("holder")?.is_some() {
            transaction.rollback().await?;
            return Ok(AttemptOutcome::AlreadyTaken);
        }
        versions.push(row.try_get::<u32, _>("version")?);
    }
    if !server.work.is_zero() {
        tokio::time::sleep(server.work).await;
    }
    let comparison = server.strategy.comparison();
    for (seat, version) in seats.iter().zip(versions) {
        let update = format!("UPDATE lock_seats SET holder = ?, version = version + 1 WHERE id = ?{comparison}");
        let mut update = sqlx::query(AssertSqlSafe(update)).bind(user).bind(seat);
        if server.strategy.compares_versions() {
            update = update.bind(version);
        }
        if update.execute(&mut *transaction).await?.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(AttemptOutcome::Conflict);
        }
        let insert = sqlx::query("INSERT INTO lock_bookings (user, seat) VALUES (?, ?)").bind(user).bind(seat);
        insert.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(AttemptOutcome::Done)
}

async fn charge(
    connection: &mut MySqlConnection,
    strategy: Strategy,
    user: u32,
) -> Result<AttemptOutcome, sqlx::Error> {
    let select = match strategy {
        Strategy::ForUpdate => "SELECT version, balance FROM lock_wallets WHERE user = ? FOR UPDATE",
        Strategy::NoWait => "SELECT version, balance FROM lock_wallets WHERE user = ? FOR UPDATE NOWAIT",
        Strategy::SkipLocked => "SELECT version, balance FROM lock_wallets WHERE user = ? FOR UPDATE SKIP LOCKED",
        Strategy::Optimistic | Strategy::OptimisticRetry | Strategy::Redis(_) => {
            "SELECT version, balance FROM lock_wallets WHERE user = ?"
        }
    };
    let mut transaction = connection.begin().await?;
    let Some(row) = sqlx::query(select).bind(user).fetch_optional(&mut *transaction).await? else {
        transaction.rollback().await?;
        return Ok(AttemptOutcome::Conflict);
    };
    let (version, balance) = (row.try_get::<u32, _>("version")?, row.try_get::<i64, _>("balance")? + 100_000);
    let comparison = strategy.comparison();
    let update = format!("UPDATE lock_wallets SET balance = ?, version = version + 1 WHERE user = ?{comparison}");
    let mut update = sqlx::query(AssertSqlSafe(update)).bind(balance).bind(user);
    if strategy.compares_versions() {
        update = update.bind(version);
    }
    if update.execute(&mut *transaction).await?.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(AttemptOutcome::Conflict);
    }
    let insert = sqlx::query("INSERT INTO lock_ledger VALUES (?, ?, ?)").bind(user).bind(version + 1).bind(balance);
    insert.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(AttemptOutcome::Done)
}
