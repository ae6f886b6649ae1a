//! The data of a year of sales, inserted by large statements, since the server would take too long to create it.
//!
//! The concerts took place one after the other. Each had a thousand queue tokens, and fifty users bought two seats. As
//! former versions of the server left them, one token of each concert still waits. One event in a hundred is parked for
//! a deleted webhook.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, MySqlPool};

/// Tokens of each concert.
const TOKENS: u32 = 1_000;

/// Bookings of each concert, of two seats each.
const BOOKINGS: u32 = 50;

/// Seats of each concert.
const SEATS: u32 = 100;

/// The most concerts of one statement.
const CONCERTS: u32 = 100;

/// The first id of concerts, performances, seats and the venue, above all ids that the server has assigned.
const BASE: u64 = 1_000_000;

/// A byte in the ids of each kind of row, so that they differ: users, sessions, bookings, payments, entries of ledgers
/// and events. The ids are UUIDv7 of 2020.
const IDS: [&str; 8] = ["A0", "A1", "A2", "A3", "A4", "A5", "A6", "A7"];

/// The size of the data.
#[derive(Clone, Copy)]
pub(crate) struct Year {
    pub(crate) concerts: u32,
}

/// An `INSERT … SELECT` for some concerts. In its text `:at` is the time of a row's concert, and `:user` the id of its
/// user. `:0` to `:7` are the row's ids of each kind. [`Year::text`] defines the other names.
struct Statement {
    table: &'static str,
    /// The number of rows of each concert.
    rows: u32,
    text: &'static str,
}

const STATEMENTS: [Statement; 17] = [
    Statement {
        table: "users",
        rows: TOKENS / 10,
        text: "(id, email, email_key, password_hash, name, role, created_at) SELECT :0, CONCAT('year-', :row), \
               CONCAT('year-', :row), 'none: no login', 'Year', 'USER', :start",
    },
    Statement {
        table: "sessions",
        rows: TOKENS / 10,
        text: "(id, user_id, created_at, expires_at) SELECT :1, :0, :at, :at + INTERVAL 14 DAY",
    },
    Statement {
        table: "refresh_tokens",
        rows: TOKENS / 10,
        text: "(digest, session_id, issued_at, expires_at, used_at) \
               SELECT UNHEX(SHA2(CONCAT('refresh-', :row), 256)), :1, :at, :at + INTERVAL 14 DAY, NULL",
    },
    Statement {
        table: "concerts",
        rows: 1,
        text: "(id, title, artist, category, description, first_performance_at, last_performance_at, min_price, max_price, \
               listed_at, created_at) SELECT :concert, CONCAT('Concert ', :c), CONCAT('Artist ', :c % 500), \
               ELT(1 + :c % 3, 'POP', 'ROCK', 'JAZZ'), '', :at, :at, 50000, 50000, :at, :start",
    },
    Statement {
        table: "performances",
        rows: 1,
        text: "(id, concert_id, venue_id, starts_at, total_seats, min_price, max_price, created_at) \
               SELECT :concert, :concert, :base, :at, 100, 50000, 50000, :start",
    },
    Statement {
        table: "seats",
        rows: SEATS,
        text: "(id, performance_id, section, row_name, row_rank, number, grade, price) \
               SELECT :base + :row, :concert, 'Floor', 'A', 1, 1 + :i, 'VIP', 50000",
    },
    Statement {
        table: "queues",
        rows: 1,
        text: "(concert_id, mode, admit_count, admit_interval_seconds, max_active, active_seconds, claim_seconds, \
               last_number, last_place, head, departures, decided_at) \
               SELECT :concert, 'QUEUE', 1000, 60, 1000, 600, 120, 1000, 1000, 999, 95, :sold",
    },
    Statement {
        table: "queue_tokens",
        rows: TOKENS,
        text: "(id, concert_id, user_id, key_id, status, place, issued_at, admitted_at, claimed_at, expires_at, lapses_at, \
               ended_at) SELECT :concert * 4294967296 + 1 + :i, :concert, :user, 1, CASE WHEN :i < 50 THEN 'COMPLETED' \
               WHEN :i = 999 THEN 'WAITING' WHEN :i % 10 = 0 THEN 'LEFT' ELSE 'EXPIRED' END, 1 + :i, :sold, \
               IF(:i < 50, :sold, NULL), IF(:i < 50, :sold, NULL), IF(:i < 50, :sold + INTERVAL 10 MINUTE, NULL), \
               IF(:i < 50, :sold + INTERVAL 10 MINUTE, IF(:i % 10 = 0, :sold, NULL)), IF(:i = 999, NULL, :sold)",
    },
    Statement {
        table: "queue_admissions",
        rows: 1,
        text: "(concert_id, admitted_at, admitted, active, mode, admit_count, admit_interval_seconds, max_active) \
               SELECT :concert, :sold, 50, 50, 'QUEUE', 1000, 60, 1000",
    },
    Statement {
        table: "bookings",
        rows: BOOKINGS,
        text: "(id, user_id, concert_id, performance_id, status, seat_count, total_price, held_until, extended, payment_id, \
               created_at, confirmed_at) SELECT :2, :user, :concert, :concert, 'CONFIRMED', 2, 100000, \
               :sold + INTERVAL 5 MINUTE, FALSE, :3, :sold, :sold",
    },
    Statement {
        table: "booking_seats",
        rows: 2 * BOOKINGS,
        text: "(booking_id, seat_id, price) SELECT :half, :base + :row, 50000",
    },
    Statement {
        table: "payments",
        rows: BOOKINGS,
        text: "(id, booking_id, user_id, amount, status, paid_at) SELECT :3, :2, :user, 100000, 'COMPLETED', :sold",
    },
    Statement {
        table: "seat_claims",
        rows: 2 * BOOKINGS,
        text: "(seat_id, performance_id, booking_id, held_until, payment_id, changed_at) \
               SELECT :base + :row, :concert, :half, NULL, :paid, :sold",
    },
    Statement {
        table: "point_transactions",
        rows: 2 * BOOKINGS,
        text: "(id, user_id, version, type, amount, balance_after, booking_id, payment_id, created_at) \
               SELECT :4, :buyer, 1 + 2 * (:c DIV :period) + :i % 2, IF(:i % 2 = 0, 'CHARGE', 'PAYMENT'), \
               IF(:i % 2 = 0, 100000, -100000), IF(:i % 2 = 0, 100000, 0), IF(:i % 2 = 0, NULL, :half), \
               IF(:i % 2 = 0, NULL, :paid), :sold",
    },
    Statement {
        table: "outbox_events",
        rows: 2 * BOOKINGS,
        text: "(id, stream_id, sequence, type, subject, data, created_at, dispatched_at) SELECT :5, :half, 1 + :i % 2, \
               IF(:i % 2 = 0, 'booking.held', 'booking.confirmed'), 'a booking', \
               '{\"bookingId\":\"01939e6b-0c5d-7b11-8f3e-5a0d6c1b2e34\",\"seatIds\":[3,4],\"totalPrice\":\"100000\"}', \
               :sold, :sold",
    },
    Statement {
        table: "event_deliveries",
        rows: 2 * BOOKINGS,
        text: "(event_id, destination, status, attempts, last_error, created_at, next_attempt_at) \
               SELECT :5, IF(:i = 0, :webhook, 'data-platform'), IF(:i = 0, 'PARKED', 'DELIVERED'), 1, NULL, :sold, :sold",
    },
    Statement {
        table: "idempotency_keys",
        rows: 2 * BOOKINGS,
        text: "(digest, user_id, fingerprint, status, body, created_at) \
               SELECT UNHEX(SHA2(CONCAT('key-', :row), 256)), :buyer, UNHEX(SHA2('', 256)), 201, REPEAT('a', 300), :sold",
    },
];

/// The tables that a sale fills, whose sizes are reported.
pub(crate) const TABLES: [&str; 18] = [
    "users",
    "sessions",
    "refresh_tokens",
    "concerts",
    "performances",
    "seats",
    "queues",
    "queue_tokens",
    "queue_admissions",
    "bookings",
    "booking_seats",
    "payments",
    "seat_claims",
    "point_wallets",
    "point_transactions",
    "outbox_events",
    "event_deliveries",
    "idempotency_keys",
];

/// The webhook that was deleted.
const WEBHOOK: &str = "01939e6b-0000-7000-8000-000000000001";

impl Year {
    /// The number of users: a tenth of the number of tokens.
    fn users(self) -> u32 {
        self.concerts * (TOKENS / 10)
    }

    /// The number of concerts after which the same users buy again.
    fn period(self) -> u32 {
        (self.users() / TOKENS).max(1)
    }

    /// Inserts all rows. The last concert took place yesterday.
    pub(crate) async fn fill(self, pool: &MySqlPool, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut connection = pool.acquire().await?;
        // The rows refer to each other and are inserted table by table, in the order of the primary keys.
        for statement in ["SET SESSION foreign_key_checks = 0", "SET SESSION unique_checks = 0"] {
            sqlx::query(statement).execute(&mut *connection).await?;
        }
        let numbers = "CREATE TABLE IF NOT EXISTS year_numbers (n INT UNSIGNED PRIMARY KEY)";
        sqlx::query(numbers).execute(&mut *connection).await?;
        sqlx::query(AssertSqlSafe(numbers_text())).execute(&mut *connection).await?;
        let venue = "INSERT INTO venues (id, name, address, created_at) VALUES (?, 'Year', 'Year', ?)";
        sqlx::query(venue).bind(BASE).bind(now).execute(&mut *connection).await?;
        for statement in &STATEMENTS {
            for first in (0..self.concerts).step_by(CONCERTS as usize) {
                let count = CONCERTS.min(self.concerts - first);
                let text = self.text(statement, first, count, now);
                sqlx::query(AssertSqlSafe(text))
                    .execute(&mut *connection)
                    .await
                    .with_context(|| format!("writing {}", statement.table))?;
            }
        }
        // After its deliveries, since running servers delete an ended webhook without deliveries.
        let webhook = "INSERT INTO webhooks (id, url, types, secret, created_at, deleted_at) \
                       VALUES (UNHEX(REPLACE(?, '-', '')), 'https://example.org/', 'booking.held', '', ?, ?)";
        let ended = now - TimeDelta::days(30);
        sqlx::query(webhook).bind(WEBHOOK).bind(ended).bind(ended).execute(&mut *connection).await?;
        let wallets = "INSERT INTO point_wallets (user_id, balance, version, updated_at) SELECT user_id, 0, MAX(version), \
                       MAX(created_at) FROM point_transactions WHERE id < UNHEX('016F5E66E800700080B0000000000000') \
                       AND id >= UNHEX('016F5E66E800700080A0000000000000') GROUP BY user_id";
        sqlx::query(wallets).execute(&mut *connection).await?;
        // The events of charges and payments are missing: with this horizon the audit expects none before now.
        let horizon = "INSERT INTO outbox_horizon (id, removed_before) VALUES (1, ?) \
                       ON DUPLICATE KEY UPDATE removed_before = GREATEST(removed_before, VALUES(removed_before))";
        sqlx::query(horizon).bind(now).execute(&mut *connection).await?;
        sqlx::query("DROP TABLE year_numbers").execute(&mut *connection).await?;
        // The session's checks are disabled, so the connection must not return to the pool.
        Ok(connection.close().await?)
    }

    fn text(self, statement: &Statement, first: u32, count: u32, now: DateTime<Utc>) -> String {
        let Statement { table, rows, text } = statement;
        let seconds = TimeDelta::days(364).num_seconds() / i64::from(self.concerts);
        let at = format!(
            "(TIMESTAMP('{}') - INTERVAL ({} - {seconds} * CAST(n.c AS SIGNED)) SECOND)",
            (now - TimeDelta::days(1)).format("%Y-%m-%d %H:%M:%S"),
            seconds * i64::from(self.concerts)
        );
        let (base, period, users) = (BASE, self.period(), self.users());
        let id = |kind: usize, number: &str| {
            format!("UNHEX(CONCAT('016F5E66E800700080{}', LPAD(HEX({number}), 12, '0')))", IDS[kind])
        };
        let pairs = [
            (":half", id(2, "n.r DIV 2")),
            (":paid", id(3, "n.r DIV 2")),
            (":buyer", id(0, &format!("(n.c * {TOKENS} + n.i DIV 2) % {users}"))),
            (":user", id(0, &format!("(n.c * {TOKENS} + n.i) % {users}"))),
            (":start", format!("({at} - INTERVAL 60 DAY)")),
            (":sold", format!("({at} - INTERVAL 20 DAY)")),
            (":at", at),
            (":concert", format!("({base} + n.c)")),
            (":base", base.to_string()),
            (":period", period.to_string()),
            (":webhook", format!("'{WEBHOOK}'")),
            (":row", "n.r".to_owned()),
            (":c", "n.c".to_owned()),
            (":i", "n.i".to_owned()),
        ];
        let mut select = (*text).to_owned();
        // Before the other names, whose times contain a colon before digits.
        for kind in 0..IDS.len() {
            select = select.replace(&format!(":{kind}"), &id(kind, "n.r"));
        }
        for (name, sql) in pairs {
            select = select.replace(name, &sql);
        }
        format!(
            "INSERT INTO {table} {select} FROM (SELECT n AS k, {first} + n DIV {rows} AS c, n % {rows} AS i, \
             {first} * {rows} + n AS r FROM year_numbers WHERE n < {count} * {rows} ORDER BY n) n ORDER BY n.k"
        )
    }
}

/// The numbers from 0 to 99,999: a row for each token of the concerts of one statement.
fn numbers_text() -> String {
    let digits = "(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL \
                  SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    format!(
        "INSERT IGNORE INTO year_numbers SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n \
         FROM {digits} a, {digits} b, {digits} c, {digits} d, {digits} e ORDER BY 1"
    )
}
