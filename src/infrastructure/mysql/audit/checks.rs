//! The audit's run: it counts the violations of each invariant within a time limit.

use std::{
    collections::VecDeque,
    time::{Duration, Instant as Stopwatch},
};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, FromRow};

use super::{
    super::{error::corrupt, rows_by_id::BindAll, sql::datetime, unit_of_work::Session},
    invariants::{
        ADMISSION_INVARIANT, ADMISSIONS, CHECKS, Check, LATEST_INSTANT, ONCE, SEAT_LIMIT, SEATS_BEYOND_LIMIT,
    },
};
use crate::domain::{
    audit::{AuditRepository, Invariant},
    clock::Instant,
    concert::PERFORMANCE_LENGTH,
    queue::QueueMode,
    repository_error::RepositoryError,
};

/// The time limit of all statements of an audit together.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    pub(super) started: Stopwatch,
    pub(super) limit: Option<Duration>,
}

impl Budget {
    /// Limits a statement to the remaining time. For MariaDB it is a clause that is a comment to MySQL; for MySQL a
    /// hint that is a comment to MariaDB. The text differs from call to call, so the statement must not be kept
    /// prepared.
    pub(super) fn bounded(self, text: &str) -> String {
        let Some((limit, rest)) = self.limit.zip(text.strip_prefix("SELECT ")) else { return text.to_owned() };
        let left = limit.saturating_sub(self.started.elapsed()).as_millis().max(1);
        let seconds = format!("{}.{:03}", left / 1_000, left % 1_000);
        format!(
            "/*M! SET STATEMENT max_statement_time={seconds} FOR */ SELECT /*+ MAX_EXECUTION_TIME({left}) */ {rest}"
        )
    }
}

#[derive(FromRow)]
pub(super) struct AdmissionRow {
    pub(super) concert_id: u64,
    pub(super) admitted_at: Instant,
    pub(super) admitted: u32,
    pub(super) mode: String,
    pub(super) admit_count: u32,
    pub(super) admit_interval_seconds: u32,
}

/// The latest admissions of one concert.
#[derive(Default)]
pub(super) struct Window {
    pub(super) concert_id: u64,
    admissions: VecDeque<(Instant, u32)>,
}

impl Window {
    /// The longest configurable interval.
    const MAX_WINDOW: TimeDelta = TimeDelta::hours(1);

    /// Adds the next admission. Returns whether the interval that ends with it has more admissions than the limit in
    /// force allows.
    pub(super) fn is_overfull(&mut self, row: &AdmissionRow) -> bool {
        if self.concert_id != row.concert_id {
            *self = Self { concert_id: row.concert_id, admissions: VecDeque::new() };
        }
        self.admissions.push_back((row.admitted_at, row.admitted));
        while self.admissions.front().is_some_and(|(at, _)| *at <= row.admitted_at - Self::MAX_WINDOW) {
            self.admissions.pop_front();
        }
        let start = row.admitted_at - TimeDelta::seconds(i64::from(row.admit_interval_seconds));
        let within = self.admissions.iter().rev().take_while(|(at, _)| *at > start);
        let admitted: u64 = within.map(|(_, admitted)| u64::from(*admitted)).sum();
        row.mode == QueueMode::Queue.name() && admitted > u64::from(row.admit_count)
    }
}

impl Session {
    async fn count_overfull_windows(&mut self, budget: Budget) -> Result<u64, RepositoryError> {
        let query = sqlx::query_as::<_, AdmissionRow>(AssertSqlSafe(budget.bounded(ADMISSIONS)));
        let mut rows = query.persistent(budget.limit.is_none()).fetch(self.connection());
        let mut window = Window::default();
        let mut violations = 0;
        while let Some(row) = rows.try_next().await? {
            violations += u64::from(window.is_overfull(&row));
        }
        Ok(violations)
    }

    async fn count_violations(
        &mut self,
        check: &Check,
        now: Instant,
        budget: Budget,
    ) -> Result<Invariant, RepositoryError> {
        let mut violations =
            if check.number == ADMISSION_INVARIANT { self.count_overfull_windows(budget).await? } else { 0 };
        for text in check.counts {
            let instants = text.matches('?').count();
            let query = sqlx::query_scalar(AssertSqlSafe(budget.bounded(text))).persistent(budget.limit.is_none());
            let query = query.bind_all(std::iter::repeat_n(now, instants));
            let found: i64 = query.fetch_one(self.connection()).await?;
            violations += u64::try_from(found).map_err(|_| corrupt("a count of violations", found))?;
        }
        Ok(Invariant { number: check.number, name: check.name, violations })
    }

    async fn count_beyond_limit(
        &mut self,
        now: Instant,
        seat_limit: u32,
        budget: Budget,
    ) -> Result<u64, RepositoryError> {
        let query = sqlx::query_scalar(AssertSqlSafe(budget.bounded(SEATS_BEYOND_LIMIT))).persistent(false);
        let query = query.bind(datetime(now - PERFORMANCE_LENGTH)).bind(now).bind(seat_limit);
        let found: i64 = query.fetch_one(self.connection()).await?;
        u64::try_from(found).map_err(|_| corrupt("a count of violations", found))
    }
}

#[async_trait]
impl AuditRepository for Session {
    async fn check(
        &mut self,
        now: Instant,
        seat_limit: u32,
        limit: Option<Duration>,
    ) -> Result<Vec<Invariant>, RepositoryError> {
        let budget = Budget { started: Stopwatch::now(), limit };
        let latest: Option<Instant> = sqlx::query_scalar(LATEST_INSTANT).fetch_one(self.connection()).await?;
        let now = latest.map_or(now, |latest| latest.max(now));
        let mut invariants = Vec::with_capacity(CHECKS.len());
        for check in CHECKS {
            invariants.push(self.count_violations(&check, now, budget).await?);
        }
        let violations = self.count_beyond_limit(now, seat_limit, budget).await?;
        invariants.push(Invariant { number: SEAT_LIMIT.0, name: SEAT_LIMIT.1, violations });
        invariants.push(self.count_violations(&ONCE, now, budget).await?);
        Ok(invariants)
    }
}
