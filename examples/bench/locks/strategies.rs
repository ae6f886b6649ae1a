//! The same contended work, one transaction for each request, under different ways of not getting in each other's way.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sqlx::{Connection, MySqlConnection, MySqlPool, Row};

/// How two requests for the same rows are kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Strategy {
    /// The second waits for the first.
    ForUpdate,
    /// The second is turned away at once.
    NoWait,
    /// The second takes the row for missing.
    SkipLocked,
    /// The second finds another version when it writes, and is turned away.
    Optimistic,
    /// The same, but it begins again.
    OptimisticRetry,
}

impl Strategy {
    pub(crate) const ALL: [Self; 5] =
        [Self::ForUpdate, Self::NoWait, Self::SkipLocked, Self::Optimistic, Self::OptimisticRetry];

    /// As it is called in the report and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ForUpdate => "FOR UPDATE",
            Self::NoWait => "FOR UPDATE NOWAIT",
            Self::SkipLocked => "FOR UPDATE SKIP LOCKED",
            Self::Optimistic => "version, no retry",
            Self::OptimisticRetry => "version, retry",
        }
    }

    /// How often a request is tried. A deadlock's victim begins again too, where somebody waited at all.
    fn attempts(self) -> u32 {
        match self {
            Self::ForUpdate | Self::OptimisticRetry => 100,
            Self::NoWait | Self::SkipLocked | Self::Optimistic => 1,
        }
    }
}

/// What a user wants.
pub(crate) enum Wish {
    /// These seats, in ascending order, all or none.
    Hold(Vec<u32>),
    /// More in the wallet.
    Charge,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// Somebody has it.
    Taken,
    /// Somebody was at it, too.
    Conflict,
}

/// The tables: seats that have a holder or not, wallets with a ledger.
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
const LONGEST_PAUSE: u64 = 5_000;

/// What a process of one strategy does.
pub(crate) struct Locker {
    pub(crate) pool: MySqlPool,
    pub(crate) strategy: Strategy,
    /// How many transactions were in vain because of another.
    pub(crate) conflicts: AtomicUsize,
}

impl Locker {
    /// Does what a user wants, in one transaction, or in several if it begins again.
    pub(crate) async fn fulfil(&self, user: u32, wish: Wish) -> Result<Verdict, sqlx::Error> {
        for number in 1..=self.strategy.attempts() {
            let mut connection = self.pool.acquire().await?;
            let attempt = match &wish {
                Wish::Hold(seats) => hold(&mut connection, self.strategy, user, seats).await,
                Wish::Charge => charge(&mut connection, self.strategy, user).await,
            };
            let verdict = match attempt {
                Err(sqlx::Error::Database(error)) if is_conflict(&*error) => Verdict::Conflict,
                verdict => verdict?,
            };
            drop(connection);
            if verdict != Verdict::Conflict {
                return Ok(verdict);
            }
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            if number < self.strategy.attempts() {
                // Different for each user, without asking chance.
                let pause = u64::from(user.wrapping_mul(2_654_435_761).rotate_left(number)) % LONGEST_PAUSE;
                tokio::time::sleep(Duration::from_micros(pause)).await;
            }
        }
        Ok(Verdict::Conflict)
    }
}

/// A deadlock, a lock that wasn't waited for, a lock that was waited for too long.
fn is_conflict(error: &dyn sqlx::error::DatabaseError) -> bool {
    error
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .is_some_and(|error| matches!(error.number(), 1205 | 1213 | 3572))
}

async fn hold(
    connection: &mut MySqlConnection,
    strategy: Strategy,
    user: u32,
    seats: &[u32],
) -> Result<Verdict, sqlx::Error> {
    let select = match strategy {
        Strategy::ForUpdate => "SELECT version, holder FROM lock_seats WHERE id = ? FOR UPDATE",
        Strategy::NoWait => "SELECT version, holder FROM lock_seats WHERE id = ? FOR UPDATE NOWAIT",
        Strategy::SkipLocked => "SELECT version, holder FROM lock_seats WHERE id = ? FOR UPDATE SKIP LOCKED",
        Strategy::Optimistic | Strategy::OptimisticRetry => "SELECT version, holder FROM lock_seats WHERE id = ?",
    };
    let mut transaction = connection.begin().await?;
    let mut versions = Vec::new();
    for seat in seats {
        let Some(row) = sqlx::query(select).bind(seat).fetch_optional(&mut *transaction).await? else {
            transaction.rollback().await?;
            return Ok(Verdict::Conflict);
        };
        if row.try_get::<Option<u32>, _>("holder")?.is_some() {
            transaction.rollback().await?;
            return Ok(Verdict::Taken);
        }
        versions.push(row.try_get::<u32, _>("version")?);
    }
    for (seat, version) in seats.iter().zip(versions) {
        let update = "UPDATE lock_seats SET holder = ?, version = version + 1 WHERE id = ? AND version = ?";
        let update = sqlx::query(update).bind(user).bind(seat).bind(version);
        if update.execute(&mut *transaction).await?.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(Verdict::Conflict);
        }
        let insert = sqlx::query("INSERT INTO lock_bookings (user, seat) VALUES (?, ?)").bind(user).bind(seat);
        insert.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(Verdict::Done)
}

async fn charge(connection: &mut MySqlConnection, strategy: Strategy, user: u32) -> Result<Verdict, sqlx::Error> {
    let select = match strategy {
        Strategy::ForUpdate => "SELECT version, balance FROM lock_wallets WHERE user = ? FOR UPDATE",
        Strategy::NoWait => "SELECT version, balance FROM lock_wallets WHERE user = ? FOR UPDATE NOWAIT",
        Strategy::SkipLocked => "SELECT version, balance FROM lock_wallets WHERE user = ? FOR UPDATE SKIP LOCKED",
        Strategy::Optimistic | Strategy::OptimisticRetry => "SELECT version, balance FROM lock_wallets WHERE user = ?",
    };
    let mut transaction = connection.begin().await?;
    let Some(row) = sqlx::query(select).bind(user).fetch_optional(&mut *transaction).await? else {
        transaction.rollback().await?;
        return Ok(Verdict::Conflict);
    };
    let (version, balance) = (row.try_get::<u32, _>("version")?, row.try_get::<i64, _>("balance")? + 100_000);
    let update = "UPDATE lock_wallets SET balance = ?, version = version + 1 WHERE user = ? AND version = ?";
    let update = sqlx::query(update).bind(balance).bind(user).bind(version);
    if update.execute(&mut *transaction).await?.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(Verdict::Conflict);
    }
    let insert = sqlx::query("INSERT INTO lock_ledger VALUES (?, ?, ?)").bind(user).bind(version + 1).bind(balance);
    insert.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Verdict::Done)
}
