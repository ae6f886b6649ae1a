//! SQL of the audit: each statement counts the rows that break an invariant.

use std::{
    collections::VecDeque,
    time::{Duration, Instant as Stopwatch},
};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, FromRow};

use super::{error::corrupt, sql::datetime, unit_of_work::Session};
use crate::domain::{
    audit::{AuditRepository, Invariant},
    clock::Instant,
    queue::QueueMode,
    repository_error::RepositoryError,
};

/// An invariant of the contract and what tells of its violations.
struct Check {
    number: u8,
    name: &'static str,
    /// Each counts rows. Every `?` is the instant of the audit.
    counts: &'static [&'static str],
}

/// The invariant of the seat limit, which an operator sets: its number and name.
const SEAT_LIMIT: (u8, &str) = (9, "A user has no more seats of a performance in live bookings than the limit allows");

/// The invariant of which one part takes more than counting.
const ADMISSION_INVARIANT: u8 = 6;

const CHECKS: [Check; 8] = [
    Check {
        number: 1,
        name: "A seat belongs to at most one live booking",
        counts: &[TWO_LIVE_BOOKINGS, LIVE_WITHOUT_CLAIM],
    },
    Check {
        number: 2,
        name: "A balance equals the sum of its ledger, whose chain has no gap",
        counts: &[BALANCE_AND_LEDGER, LEDGER_WITHOUT_WALLET, BROKEN_CHAIN],
    },
    Check {
        number: 3,
        name: "A booking is confirmed if it is paid exactly, and refunded if the points are back",
        counts: &[CONFIRMED_UNPAID, REFUNDED_UNPAID, PAYMENT_AND_BOOKING, PAYMENT_WITHOUT_ENTRY, ENTRY_AND_PAYMENT],
    },
    Check {
        number: 4,
        name: "A seat is sold if and only if a confirmed booking holds it",
        counts: &[SOLD_UNCONFIRMED, CONFIRMED_UNSOLD],
    },
    Check {
        number: 5,
        name: "Every change of a booking or payment has exactly one event of its kind",
        counts: &[
            CHANGE_WITHOUT_EVENT,
            EVENT_WITHOUT_CHANGE,
            REPEATED_EVENT,
            CHARGE_WITHOUT_EVENT,
            EVENT_WITHOUT_CHARGE,
            REPEATED_CHARGE,
        ],
    },
    Check {
        number: ADMISSION_INVARIANT,
        name: "Nobody is admitted beyond the limits, and a user has one live token per concert",
        counts: &[
            TOO_MANY_ACTIVE,
            MORE_ACTIVE_THAN_ADMITTED,
            ADMISSIONS_AND_TOKENS,
            TOKEN_WITHOUT_ADMISSION,
            TWO_LIVE_TOKENS,
        ],
    },
    // That a key has one effect shows in no row: its record is written in the transaction of the effect, its digest is
    // the primary key, and nothing links an effect to a key. What can be seen is that every answer is one to repeat.
    Check { number: 7, name: "An idempotency key keeps an answer that can be repeated", counts: &[UNFIT_ANSWER] },
    // What is available is counted from seats and claims whenever it is asked for, so it can be wrong only if those
    // do not fit together.
    Check {
        number: 8,
        name: "Available seats are the seats of the performance without a claim",
        counts: &[TOTAL_AND_SEATS, MISPLACED_CLAIM, BOOKING_AND_SEATS, MISPLACED_SEAT],
    },
];

/// The limit may be lowered between seasons: what has ended (6 hours after it began) isn't counted any more.
const SEATS_BEYOND_LIMIT: &str = "SELECT COUNT(*) FROM (SELECT b.user_id FROM bookings b \
     JOIN performances p ON p.id = b.performance_id \
     WHERE (b.status = 'CONFIRMED' AND p.starts_at > ?) OR (b.status = 'PENDING' AND b.held_until > ?) \
     GROUP BY b.user_id, b.performance_id HAVING SUM(b.seat_count) > ?) users";

/// How long after its beginning a performance has ended.
const PERFORMANCE_LENGTH: TimeDelta = TimeDelta::hours(6);

/// The latest instant that anything was decided at: an audit whose clock is behind those of the servers would take a
/// hold for live whose seat another instance has rightly given on.
const LATEST_INSTANT: &str = "SELECT MAX(latest.at) FROM (SELECT MAX(created_at) AS at FROM bookings UNION ALL \
     SELECT MAX(changed_at) FROM seat_claims UNION ALL SELECT MAX(decided_at) FROM queues) latest";

const TWO_LIVE_BOOKINGS: &str = "SELECT COUNT(*) FROM (SELECT bs.seat_id FROM bookings b \
     JOIN booking_seats bs ON bs.booking_id = b.id \
     WHERE b.status = 'CONFIRMED' OR (b.status = 'PENDING' AND b.held_until > ?) \
     GROUP BY bs.seat_id HAVING COUNT(*) > 1) seats";

const LIVE_WITHOUT_CLAIM: &str = "SELECT COUNT(*) FROM bookings b JOIN booking_seats bs ON bs.booking_id = b.id \
     LEFT JOIN seat_claims c ON c.seat_id = bs.seat_id AND c.booking_id = b.id \
     WHERE (b.status = 'CONFIRMED' AND c.seat_id IS NULL) \
     OR (b.status = 'PENDING' AND b.held_until > ? AND (c.held_until IS NULL OR c.held_until <> b.held_until))";

const BALANCE_AND_LEDGER: &str = "SELECT COUNT(*) FROM point_wallets w \
     LEFT JOIN (SELECT user_id, SUM(amount) AS total, MAX(version) AS version, COUNT(*) AS entries \
     FROM point_transactions GROUP BY user_id) t ON t.user_id = w.user_id \
     WHERE w.balance < 0 OR w.balance <> COALESCE(t.total, 0) OR w.version <> COALESCE(t.version, 0) \
     OR w.version <> COALESCE(t.entries, 0)";

const LEDGER_WITHOUT_WALLET: &str = "SELECT COUNT(*) FROM point_transactions t \
     LEFT JOIN point_wallets w ON w.user_id = t.user_id WHERE w.user_id IS NULL";

const BROKEN_CHAIN: &str = "SELECT COUNT(*) FROM (SELECT version, amount, balance_after, \
     LAG(version) OVER (PARTITION BY user_id ORDER BY version) AS version_before, \
     LAG(balance_after) OVER (PARTITION BY user_id ORDER BY version) AS balance_before \
     FROM point_transactions) chain WHERE balance_after < 0 OR version <> COALESCE(version_before, 0) + 1 \
     OR balance_after <> COALESCE(balance_before, 0) + amount";

const CONFIRMED_UNPAID: &str = "SELECT COUNT(*) FROM bookings b LEFT JOIN payments p ON p.id = b.payment_id \
     AND p.booking_id = b.id AND p.user_id = b.user_id AND p.amount = b.total_price AND p.status = 'COMPLETED' \
     WHERE b.status = 'CONFIRMED' AND p.id IS NULL";

const REFUNDED_UNPAID: &str = "SELECT COUNT(*) FROM bookings b LEFT JOIN payments p ON p.id = b.payment_id \
     AND p.booking_id = b.id AND p.user_id = b.user_id AND p.amount = b.total_price AND p.status = 'REFUNDED' \
     LEFT JOIN point_transactions t ON t.payment_id = p.id AND t.type = 'REFUND' AND t.booking_id = b.id \
     AND t.user_id = b.user_id AND t.amount = p.amount WHERE b.status = 'REFUNDED' AND t.id IS NULL";

const PAYMENT_AND_BOOKING: &str = "SELECT COUNT(*) FROM payments p LEFT JOIN bookings b ON b.id = p.booking_id \
     AND b.payment_id = p.id AND b.status = IF(p.status = 'COMPLETED', 'CONFIRMED', 'REFUNDED') WHERE b.id IS NULL";

const PAYMENT_WITHOUT_ENTRY: &str = "SELECT COUNT(*) FROM payments p LEFT JOIN point_transactions t \
     ON t.payment_id = p.id AND t.type = 'PAYMENT' AND t.booking_id = p.booking_id AND t.user_id = p.user_id \
     AND t.amount = -p.amount WHERE t.id IS NULL";

const ENTRY_AND_PAYMENT: &str = "SELECT COUNT(*) FROM point_transactions t JOIN payments p ON p.id = t.payment_id \
     WHERE t.booking_id <> p.booking_id OR t.user_id <> p.user_id \
     OR (t.type = 'REFUND' AND p.status <> 'REFUNDED')";

const SOLD_UNCONFIRMED: &str = "SELECT COUNT(*) FROM seat_claims c LEFT JOIN bookings b ON b.id = c.booking_id \
     AND b.status = 'CONFIRMED' AND b.payment_id = c.payment_id WHERE c.held_until IS NULL AND b.id IS NULL";

const CONFIRMED_UNSOLD: &str = "SELECT COUNT(*) FROM bookings b JOIN booking_seats bs ON bs.booking_id = b.id \
     LEFT JOIN seat_claims c ON c.seat_id = bs.seat_id AND c.booking_id = b.id AND c.held_until IS NULL \
     WHERE b.status = 'CONFIRMED' AND c.seat_id IS NULL";

/// Which events a booking has had, by its status.
macro_rules! expected_events {
    () => {
        "(SELECT 'PENDING' AS status, 'booking.held' AS type \
         UNION ALL SELECT 'CONFIRMED', 'booking.held' UNION ALL SELECT 'CONFIRMED', 'booking.confirmed' \
         UNION ALL SELECT 'CONFIRMED', 'payment.completed' \
         UNION ALL SELECT 'CANCELLED', 'booking.held' UNION ALL SELECT 'CANCELLED', 'booking.cancelled' \
         UNION ALL SELECT 'EXPIRED', 'booking.held' UNION ALL SELECT 'EXPIRED', 'booking.expired' \
         UNION ALL SELECT 'REFUNDED', 'booking.held' UNION ALL SELECT 'REFUNDED', 'booking.confirmed' \
         UNION ALL SELECT 'REFUNDED', 'payment.completed' UNION ALL SELECT 'REFUNDED', 'booking.refunded' \
         UNION ALL SELECT 'REFUNDED', 'payment.refunded') expected"
    };
}

/// Events from before this may have been removed, because everybody had them: no change of that time is asked for its.
macro_rules! kept_since {
    () => {
        "COALESCE((SELECT MAX(removed_before) FROM outbox_horizon), '1000-01-01')"
    };
}

const CHANGE_WITHOUT_EVENT: &str = concat!(
    "SELECT COUNT(*) FROM bookings b JOIN ",
    expected_events!(),
    " ON expected.status = b.status LEFT JOIN outbox_events e ON e.stream_id = b.id AND e.type = expected.type ",
    "WHERE e.id IS NULL AND CASE expected.type WHEN 'booking.held' THEN b.created_at ",
    "WHEN 'booking.expired' THEN b.held_until WHEN 'booking.cancelled' THEN b.cancelled_at ",
    "WHEN 'booking.refunded' THEN b.cancelled_at WHEN 'payment.refunded' THEN b.cancelled_at ",
    "ELSE b.confirmed_at END >= ",
    kept_since!()
);

const EVENT_WITHOUT_CHANGE: &str = concat!(
    "SELECT COUNT(*) FROM outbox_events e LEFT JOIN bookings b ON b.id = e.stream_id LEFT JOIN ",
    expected_events!(),
    " ON expected.status = b.status AND expected.type = e.type ",
    "WHERE (e.type LIKE 'booking.%' OR e.type LIKE 'payment.%') AND expected.type IS NULL"
);

const REPEATED_EVENT: &str = "SELECT COUNT(*) FROM (SELECT stream_id FROM outbox_events \
     WHERE type LIKE 'booking.%' OR type LIKE 'payment.%' GROUP BY stream_id, type HAVING COUNT(*) > 1) repeated";

/// By counting, since a search for each entry's event would have no index to use: those found from their event are
/// fewer than there are.
const CHARGE_WITHOUT_EVENT: &str = concat!(
    "SELECT (SELECT COUNT(*) FROM point_transactions WHERE type = 'CHARGE' AND created_at >= ",
    kept_since!(),
    ") - (SELECT COUNT(DISTINCT t.id) FROM outbox_events e JOIN point_transactions t ",
    "ON t.id = UNHEX(REPLACE(e.subject, '-', '')) AND t.type = 'CHARGE' ",
    "WHERE e.type = 'points.charged' AND t.created_at >= ",
    kept_since!(),
    ")"
);

const EVENT_WITHOUT_CHARGE: &str = "SELECT COUNT(*) FROM outbox_events e LEFT JOIN point_transactions t \
     ON t.id = UNHEX(REPLACE(e.subject, '-', '')) AND t.type = 'CHARGE' \
     WHERE e.type = 'points.charged' AND t.id IS NULL";

const REPEATED_CHARGE: &str = "SELECT COUNT(*) FROM (SELECT subject FROM outbox_events \
     WHERE type = 'points.charged' GROUP BY subject HAVING COUNT(*) > 1) repeated";

/// The limit may be lowered while people are active: what counts is the limit in force when somebody was admitted.
const TOO_MANY_ACTIVE: &str = "SELECT COUNT(*) FROM queue_admissions WHERE active > max_active";

/// Between two admissions the active only become fewer.
const MORE_ACTIVE_THAN_ADMITTED: &str = "SELECT COUNT(*) FROM (SELECT concert_id, COUNT(*) AS active FROM queue_tokens \
     WHERE status = 'ACTIVE' AND lapses_at > ? GROUP BY concert_id) t \
     JOIN (SELECT concert_id, MAX(admitted_at) AS admitted_at FROM queue_admissions GROUP BY concert_id) latest \
     ON latest.concert_id = t.concert_id JOIN queue_admissions a \
     ON a.concert_id = latest.concert_id AND a.admitted_at = latest.admitted_at WHERE t.active > a.active";

/// In order, so that a window slides over them: in SQL, with a length that differs from row to row, it would be
/// counted anew for each row.
const ADMISSIONS: &str = "SELECT concert_id, admitted_at, admitted, mode, admit_count, admit_interval_seconds \
     FROM queue_admissions ORDER BY concert_id, admitted_at";

const ADMISSIONS_AND_TOKENS: &str = "SELECT COUNT(*) FROM queue_admissions a \
     LEFT JOIN (SELECT concert_id, admitted_at, COUNT(*) AS admitted FROM queue_tokens \
     WHERE admitted_at IS NOT NULL GROUP BY concert_id, admitted_at) t \
     ON t.concert_id = a.concert_id AND t.admitted_at = a.admitted_at WHERE COALESCE(t.admitted, 0) <> a.admitted";

/// Older records of admissions have been deleted.
const TOKEN_WITHOUT_ADMISSION: &str = "SELECT COUNT(*) FROM queue_tokens t LEFT JOIN queue_admissions a \
     ON a.concert_id = t.concert_id AND a.admitted_at = t.admitted_at \
     WHERE t.admitted_at >= (SELECT MIN(admitted_at) FROM queue_admissions) AND a.concert_id IS NULL";

const TWO_LIVE_TOKENS: &str = "SELECT COUNT(*) FROM (SELECT concert_id, user_id FROM queue_tokens \
     WHERE status IN ('SCHEDULED', 'WAITING', 'ACTIVE') GROUP BY concert_id, user_id HAVING COUNT(*) > 1) users";

const UNFIT_ANSWER: &str = "SELECT COUNT(*) FROM idempotency_keys WHERE LENGTH(body) = 0 \
     OR NOT (status BETWEEN 200 AND 299 OR status IN (402, 404, 409, 410))";

const TOTAL_AND_SEATS: &str = "SELECT COUNT(*) FROM performances p LEFT JOIN (SELECT performance_id, COUNT(*) AS seats \
     FROM seats GROUP BY performance_id) s ON s.performance_id = p.id WHERE p.total_seats <> COALESCE(s.seats, 0)";

const MISPLACED_CLAIM: &str = "SELECT COUNT(*) FROM seat_claims c LEFT JOIN seats s ON s.id = c.seat_id \
     AND s.performance_id = c.performance_id WHERE s.id IS NULL";

const BOOKING_AND_SEATS: &str = "SELECT COUNT(*) FROM bookings b LEFT JOIN (SELECT booking_id, COUNT(*) AS seats, \
     SUM(price) AS price FROM booking_seats GROUP BY booking_id) bs ON bs.booking_id = b.id \
     WHERE b.seat_count <> COALESCE(bs.seats, 0) OR b.total_price <> COALESCE(bs.price, 0)";

const MISPLACED_SEAT: &str = "SELECT COUNT(*) FROM bookings b JOIN booking_seats bs ON bs.booking_id = b.id \
     JOIN seats s ON s.id = bs.seat_id WHERE s.performance_id <> b.performance_id";

/// How long the statements of an audit may take together.
#[derive(Clone, Copy)]
struct Budget {
    started: Stopwatch,
    limit: Option<Duration>,
}

impl Budget {
    /// A statement that the database stops when nothing is left: MariaDB by what is a comment to MySQL, MySQL by what is
    /// a comment to MariaDB. Such texts differ from call to call, so they must not be kept prepared.
    fn bounded(self, text: &str) -> String {
        let Some((limit, rest)) = self.limit.zip(text.strip_prefix("SELECT ")) else { return text.to_owned() };
        let left = limit.saturating_sub(self.started.elapsed()).as_millis().max(1);
        let seconds = format!("{}.{:03}", left / 1_000, left % 1_000);
        format!(
            "/*M! SET STATEMENT max_statement_time={seconds} FOR */ SELECT /*+ MAX_EXECUTION_TIME({left}) */ {rest}"
        )
    }
}

#[derive(FromRow)]
struct AdmissionRow {
    concert_id: u64,
    admitted_at: Instant,
    admitted: u32,
    mode: String,
    admit_count: u32,
    admit_interval_seconds: u32,
}

/// The latest admissions of one concert.
#[derive(Default)]
struct Window {
    concert_id: u64,
    admissions: VecDeque<(Instant, u32)>,
}

impl Window {
    /// The longest interval that can be set.
    const MAX_WINDOW: TimeDelta = TimeDelta::hours(1);

    /// Takes the next admission in, and tells whether more were admitted than the limit then in force allows, in the
    /// interval that ends with it.
    fn is_overfull(&mut self, row: &AdmissionRow) -> bool {
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
}

impl Session {
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
            let mut violations =
                if check.number == ADMISSION_INVARIANT { self.count_overfull_windows(budget).await? } else { 0 };
            for text in check.counts {
                let instants = text.matches('?').count();
                let query = sqlx::query_scalar(AssertSqlSafe(budget.bounded(text))).persistent(limit.is_none());
                let query = (0..instants).fold(query, |query, _| query.bind(now));
                let found: i64 = query.fetch_one(self.connection()).await?;
                violations += u64::try_from(found).map_err(|_| corrupt("a count of violations", found))?;
            }
            invariants.push(Invariant { number: check.number, name: check.name, violations });
        }
        let violations = self.count_beyond_limit(now, seat_limit, budget).await?;
        invariants.push(Invariant { number: SEAT_LIMIT.0, name: SEAT_LIMIT.1, violations });
        Ok(invariants)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{MySqlPool, mysql::MySqlDatabaseError};
    use uuid::Uuid;

    use super::{
        super::fixtures_catalogue::{at, database, hold, payment, sale, user, write},
        *,
    };
    use crate::domain::{
        booking::{Booking, BookingState},
        id::{BookingId, ConcertId, PaymentId, UserId},
        queue::{AdmissionRecord, QueueSettings},
        unit_of_work::Database,
    };

    async fn run(pool: &MySqlPool, text: &str) {
        sqlx::query(AssertSqlSafe(text.to_owned())).execute(pool).await.unwrap_or_else(|error| {
            panic!("{text}: {error}");
        });
    }

    /// How many seats of a performance a user may have: as many as the one user has where everything is in order.
    const SEATS: u32 = 2;

    /// The numbers of the invariants that are broken.
    async fn violations(pool: &MySqlPool) -> Vec<u8> {
        let mut snapshot = database(pool).snapshot().await.unwrap();
        let invariants = snapshot.audit().check(at(30), SEATS, Some(Duration::from_mins(1))).await.unwrap();
        assert_eq!(invariants.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        invariants.iter().filter(|it| it.violations > 0).map(|it| it.number).collect()
    }

    async fn event(pool: &MySqlPool, stream_id: Uuid, sequence: u8, kind: &str, subject: Uuid) {
        sqlx::query(
            "INSERT INTO outbox_events (id, stream_id, sequence, type, subject, data, created_at) \
             VALUES (?, ?, ?, ?, ?, '{}', ?)",
        )
        .bind(Uuid::now_v7())
        .bind(stream_id)
        .bind(sequence)
        .bind(kind)
        .bind(subject.to_string())
        .bind(at(0))
        .execute(pool)
        .await
        .unwrap();
    }

    async fn entry(
        pool: &MySqlPool,
        user_id: UserId,
        (version, kind, amount, balance): (u64, &str, &str, &str),
        paid: Option<(&Booking, PaymentId)>,
    ) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO point_transactions (id, user_id, version, type, amount, balance_after, booking_id, \
             payment_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(user_id.0)
        .bind(version)
        .bind(kind)
        .bind(amount)
        .bind(balance)
        .bind(paid.map(|(booking, _)| booking.id.0))
        .bind(paid.map(|(_, payment_id)| payment_id.0))
        .bind(at(0))
        .execute(pool)
        .await
        .unwrap();
        id
    }

    async fn admissions(pool: &MySqlPool) {
        let database = database(pool);
        let mut uow = database.begin().await.unwrap();
        let queues = uow.queues();
        let due = sqlx::query_scalar("SELECT concert_id FROM queues").fetch_one(pool).await.unwrap();
        let mut queue = queues.lock_queues(&[ConcertId(due)]).await.unwrap().remove(0);
        let mut token = queue.issue(UserId(Uuid::from_u128(1)), 1, at(0)).unwrap();
        queue.admit(&mut token, at(0));
        queues.insert_tokens(&[token]).await.unwrap();
        let record = AdmissionRecord {
            concert_id: queue.concert_id,
            admitted_at: at(0),
            admitted: 1,
            active: 1,
            settings: QueueSettings::default(),
        };
        queues.insert_admission(&record).await.unwrap();
        queues.update_queue(&queue).await.unwrap();
        uow.commit().await.unwrap();
    }

    /// A sale in which everything is in order: a booking of each state, its money and its events.
    async fn consistent_rows(pool: &MySqlPool) {
        let database = database(pool);
        let sale = sale(&database).await;
        let user_id = user(pool, 1).await;
        let held: Vec<_> =
            (0..5u8).map(|number| sale.booking(u128::from(number) + 1, user_id, usize::from(number), 1)).collect();
        hold(&database, &held).await;
        let (paid, refunded) = (payment(pool, &held[1], at(1)).await, payment(pool, &held[2], at(1)).await);
        let states = [
            BookingState::Pending,
            BookingState::Confirmed { at: at(1), payment_id: paid },
            BookingState::Refunded { confirmed_at: at(1), payment_id: refunded, at: at(2) },
            BookingState::Cancelled { at: at(2) },
            BookingState::Expired,
        ];
        let written: Vec<_> =
            held.iter().zip(states).map(|(booking, state)| Booking { state, ..booking.clone() }).collect();
        let mut uow = database.begin().await.unwrap();
        write(&mut uow, &written, at(2)).await;
        uow.commit().await.unwrap();
        run(
            pool,
            "UPDATE payments p JOIN bookings b ON b.payment_id = p.id SET p.status = 'REFUNDED', \
             p.refunded_at = b.cancelled_at WHERE b.status = 'REFUNDED'",
        )
        .await;

        let charge = entry(pool, user_id, (1, "CHARGE", "100", "100"), None).await;
        entry(pool, user_id, (2, "PAYMENT", "-10.50", "89.50"), Some((&held[1], paid))).await;
        entry(pool, user_id, (3, "PAYMENT", "-10.50", "79"), Some((&held[2], refunded))).await;
        entry(pool, user_id, (4, "REFUND", "10.50", "89.50"), Some((&held[2], refunded))).await;
        let wallet = "INSERT INTO point_wallets (user_id, balance, version, updated_at) \
                      SELECT id, 89.50, 4, created_at FROM users";
        run(pool, wallet).await;
        event(pool, Uuid::now_v7(), 0, "points.charged", charge).await;
        for (number, booking) in held.iter().enumerate() {
            let stream = booking.id.0;
            event(pool, stream, 1, "booking.held", stream).await;
            if let Some(kind) =
                ["", "confirmed", "confirmed", "cancelled", "expired"].get(number).filter(|it| !it.is_empty())
            {
                event(pool, stream, 2, &format!("booking.{kind}"), stream).await;
            }
        }
        for (booking, payment_id) in [(&held[1], paid), (&held[2], refunded)] {
            event(pool, booking.id.0, 3, "payment.completed", payment_id.0).await;
        }
        event(pool, held[2].id.0, 4, "booking.refunded", held[2].id.0).await;
        event(pool, held[2].id.0, 5, "payment.refunded", refunded.0).await;
        admissions(pool).await;
        run(
            pool,
            "INSERT INTO idempotency_keys SELECT REPEAT('d', 32), id, REPEAT('f', 32), 201, '{}', created_at \
             FROM users",
        )
        .await;
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn nothing_is_found_where_everything_is_in_order(pool: MySqlPool) {
        assert_eq!(violations(&pool).await, Vec::<u8>::new());
        consistent_rows(&pool).await;
        assert_eq!(violations(&pool).await, Vec::<u8>::new());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_hold_past_its_deadline_is_not_live_for_a_slow_clock_either(pool: MySqlPool) {
        consistent_rows(&pool).await;
        let database = database(&pool);
        let mut uow = database.begin().await.unwrap();
        let pending = BookingId(Uuid::from_u128(1));
        let old = uow.bookings().list(&[pending]).await.unwrap().remove(0);
        let id = BookingId(Uuid::from_u128(77));
        let new = Booking { id, held_until: at(600), created_at: at(300), ..old };
        uow.bookings().insert(std::slice::from_ref(&new)).await.unwrap();
        uow.bookings().delete_expired_claims(&new.seat_ids().collect::<Vec<_>>(), at(300)).await.unwrap();
        uow.bookings().insert_claims(std::slice::from_ref(&new), at(300)).await.unwrap();
        uow.commit().await.unwrap();
        event(&pool, new.id.0, 1, "booking.held", new.id.0).await;
        assert_eq!(violations(&pool).await, Vec::<u8>::new());
    }

    #[test]
    fn an_interval_is_open_at_its_beginning_and_closed_at_its_end() {
        let mut window = Window::default();
        let mut overfull = |concert_id, seconds, admitted, mode: &str| {
            window.is_overfull(&AdmissionRow {
                concert_id,
                admitted_at: at(seconds),
                admitted,
                mode: mode.to_owned(),
                admit_count: 10,
                admit_interval_seconds: 10,
            })
        };
        assert!(!overfull(1, 0, 4, "QUEUE"));
        assert!(!overfull(1, 9, 6, "QUEUE"));
        assert!(!overfull(1, 10, 4, "QUEUE"));
        assert!(!overfull(1, 18, 1, "OPEN"));
        assert!(overfull(1, 18, 1, "QUEUE"));
        assert!(!overfull(2, 18, 10, "QUEUE"));
        assert!(overfull(2, 5_000, 11, "QUEUE"));
    }

    /// Breaks one thing after another, each time in a world that was in order, and looks for what is found: a
    /// violation may break more than one invariant.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn whatever_is_broken_is_found(pool: MySqlPool) {
        consistent_rows(&pool).await;
        for (number, violate, repair) in VIOLATIONS {
            run(&pool, violate).await;
            let found = violations(&pool).await;
            assert!(found.contains(number), "{violate}: {found:?}");
            run(&pool, repair).await;
            assert_eq!(violations(&pool).await, Vec::<u8>::new(), "{repair}");
        }
    }

    /// The invariant, what breaks it, and what mends it.
    const VIOLATIONS: &[(u8, &str, &str)] = &[
        (
            1,
            "UPDATE seat_claims SET held_until = changed_at WHERE booking_id = UNHEX(LPAD('1', 32, '0'))",
            "UPDATE seat_claims c JOIN bookings b ON b.id = c.booking_id SET c.held_until = b.held_until \
             WHERE b.status = 'PENDING'",
        ),
        (
            1,
            "INSERT INTO booking_seats SELECT UNHEX(LPAD('1', 32, '0')), seat_id, price FROM booking_seats \
             WHERE booking_id = UNHEX(LPAD('2', 32, '0'))",
            "DELETE FROM booking_seats WHERE booking_id = UNHEX(LPAD('1', 32, '0')) ORDER BY seat_id DESC LIMIT 1",
        ),
        (2, "UPDATE point_wallets SET balance = balance + 1", "UPDATE point_wallets SET balance = balance - 1"),
        (2, "UPDATE point_wallets SET version = 5", "UPDATE point_wallets SET version = 4"),
        (
            2,
            "UPDATE point_transactions SET balance_after = 99 WHERE version = 1",
            "UPDATE point_transactions SET balance_after = 100 WHERE version = 1",
        ),
        (
            2,
            "UPDATE point_transactions SET version = 9 WHERE version = 4",
            "UPDATE point_transactions SET version = 4 WHERE version = 9",
        ),
        (
            3,
            "UPDATE payments SET status = 'REFUNDED', refunded_at = paid_at WHERE status = 'COMPLETED' LIMIT 1",
            "UPDATE payments p JOIN bookings b ON b.payment_id = p.id SET p.status = 'COMPLETED', \
             p.refunded_at = NULL WHERE b.status = 'CONFIRMED'",
        ),
        (
            3,
            "UPDATE point_transactions SET amount = 10.49 WHERE type = 'REFUND'",
            "UPDATE point_transactions SET amount = 10.50 WHERE type = 'REFUND'",
        ),
        (
            3,
            "UPDATE point_transactions SET booking_id = payment_id WHERE version = 2",
            "UPDATE point_transactions t JOIN payments p ON p.id = t.payment_id SET t.booking_id = p.booking_id",
        ),
        (
            4,
            "UPDATE seat_claims SET held_until = changed_at, payment_id = NULL WHERE held_until IS NULL",
            "UPDATE seat_claims c JOIN bookings b ON b.id = c.booking_id SET c.held_until = NULL, \
             c.payment_id = b.payment_id WHERE b.status = 'CONFIRMED'",
        ),
        (
            4,
            "UPDATE seat_claims c JOIN bookings b ON b.id = c.booking_id SET c.held_until = NULL, \
             c.payment_id = b.payment_id WHERE b.status = 'REFUNDED'",
            "UPDATE seat_claims c JOIN bookings b ON b.id = c.booking_id SET c.held_until = c.changed_at, \
             c.payment_id = NULL WHERE b.status = 'REFUNDED'",
        ),
        (
            5,
            "UPDATE outbox_events SET type = 'seats.changed' WHERE type = 'booking.expired'",
            "UPDATE outbox_events SET type = 'booking.expired' WHERE type = 'seats.changed'",
        ),
        (
            5,
            "UPDATE outbox_events SET type = 'booking.cancelled' WHERE type = 'booking.refunded'",
            "UPDATE outbox_events SET type = 'booking.refunded' WHERE type = 'booking.cancelled' AND sequence = 4",
        ),
        (
            5,
            "INSERT INTO outbox_events SELECT REPEAT('e', 16), stream_id, 9, type, subject, data, created_at, NULL \
             FROM outbox_events WHERE type = 'booking.expired'",
            "DELETE FROM outbox_events WHERE sequence = 9",
        ),
        (
            5,
            "UPDATE outbox_events SET subject = REPLACE(subject, '-', 'x') WHERE type = 'points.charged'",
            "UPDATE outbox_events SET subject = REPLACE(subject, 'x', '-') WHERE type = 'points.charged'",
        ),
        (
            5,
            "INSERT INTO outbox_events SELECT REPEAT('e', 16), REPEAT('e', 16), 9, type, subject, data, created_at, \
             NULL FROM outbox_events WHERE type = 'points.charged'",
            "DELETE FROM outbox_events WHERE sequence = 9",
        ),
        (6, "UPDATE queue_admissions SET admitted = 2", "UPDATE queue_admissions SET admitted = 1"),
        (6, "UPDATE queue_admissions SET active = 0", "UPDATE queue_admissions SET active = 1"),
        (6, "UPDATE queue_admissions SET admit_count = 0", "UPDATE queue_admissions SET admit_count = 200"),
        (
            6,
            "UPDATE queue_tokens SET admitted_at = lapses_at",
            "UPDATE queue_tokens t JOIN queue_admissions a ON a.concert_id = t.concert_id \
             SET t.admitted_at = a.admitted_at",
        ),
        (7, "UPDATE idempotency_keys SET status = 503", "UPDATE idempotency_keys SET status = 409"),
        (7, "UPDATE idempotency_keys SET body = ''", "UPDATE idempotency_keys SET body = '{}'"),
        (
            8,
            "UPDATE performances SET total_seats = total_seats + 1",
            "UPDATE performances SET total_seats = total_seats - 1",
        ),
        (
            8,
            "UPDATE seat_claims SET performance_id = performance_id + 1",
            "UPDATE seat_claims SET performance_id = performance_id - 1",
        ),
        (8, "UPDATE bookings SET seat_count = 2", "UPDATE bookings SET seat_count = 1"),
        (
            9,
            "UPDATE bookings SET status = 'PENDING' WHERE status = 'EXPIRED'",
            "UPDATE bookings SET status = 'EXPIRED' WHERE id = UNHEX(LPAD('5', 32, '0'))",
        ),
    ];

    /// A statement that would run for hours.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_statement_is_stopped_when_the_budget_is_spent(pool: MySqlPool) {
        let text = "SELECT COUNT(*) FROM information_schema.COLUMNS a, information_schema.COLUMNS b, \
                    information_schema.COLUMNS c, information_schema.COLUMNS d";
        let budget = Budget { started: Stopwatch::now(), limit: Some(Duration::from_millis(50)) };
        let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(budget.bounded(text))).persistent(false);
        let error = query.fetch_one(&pool).await.unwrap_err();
        let error = error.as_database_error().unwrap().try_downcast_ref::<MySqlDatabaseError>().unwrap();
        assert!([1969, 3024].contains(&error.number()), "{error}");
        assert_eq!(Budget { limit: None, ..budget }.bounded(text), text);
    }
}
