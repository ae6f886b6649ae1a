//! A queue with up to a million waiting users, inserted by a few large statements: joins would take minutes.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use concert_reservation::domain::{
    id::{QueueTokenId, UserId},
    queue::QueueSettings,
    token::QueueClaims,
};
use uuid::Uuid;

use crate::fixture::{Buyer, Fixture};

/// Rows per statement: as many as `NUMBERS` yields.
const ROWS_PER_STATEMENT: u32 = 100_000;

/// The numbers from 0 to 99,999.
const NUMBERS: &str = "SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n AS n FROM digits a, digits b, digits c, \
     digits d, digits e ORDER BY n";

const DIGITS: &str = "WITH digits AS (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL \
     SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";

/// The start of these users' ids: a UUIDv7 of the year 2020, followed by the user's number.
const USER_ID_PREFIX: &str = "016F5E66E80070008000";

fn user_id(number: u32) -> UserId {
    UserId(Uuid::from_u128(0x016F_5E66_E800_7000_8000_0000_0000_0000 + u128::from(number)))
}

impl Fixture {
    /// Inserts a sale with default settings and `count` waiting users, of which every other one is absent. Returns
    /// `pollers` of the users far from the head.
    pub(crate) async fn large_queue(&self, count: u32, pollers: u32) -> anyhow::Result<Vec<Buyer>> {
        let sale = self.sale(100, QueueSettings::default()).await?;
        let signer = &self.app.ports.signer;
        let (key, now) = (signer.current_key(), self.app.ports.now());
        let base = QueueTokenId::new(sale.concert, 0).context("a concert's id that fits")?.0;
        for start in (0..count).step_by(ROWS_PER_STATEMENT as usize) {
            self.insert_waiting_users(start, count.min(start + ROWS_PER_STATEMENT), base, sale.concert.0, key, now)
                .await?;
        }
        sqlx::query("UPDATE queues SET last_number = ?, last_place = ? WHERE concert_id = ?")
            .bind(count)
            .bind(count)
            .bind(sale.concert.0)
            .execute(&self.pool)
            .await?;
        let first = count / 10;
        let buyer = |index: u32| {
            let place = first + u32::try_from(u64::from(count - first) * u64::from(index) / u64::from(pollers))?;
            let (id, user_id) = (QueueTokenId(base + u64::from(place)), user_id(place));
            let claims = QueueClaims { id, user_id, place: Some(place), issued_at: now };
            anyhow::Ok(Buyer {
                id: user_id,
                access_token: String::new(),
                queue_token: signer.queue_token(&claims, key),
            })
        };
        (0..pollers).map(buyer).collect()
    }

    /// Inserts the users with numbers from `start` + 1 to `end`, and their tokens. A token's number is its place.
    async fn insert_waiting_users(
        &self,
        start: u32,
        end: u32,
        base: u64,
        concert: u64,
        key: u32,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let users = format!(
            "INSERT INTO users (id, email, email_key, password_hash, name, role, created_at) {DIGITS} \
             SELECT UNHEX(CONCAT('{USER_ID_PREFIX}', LPAD(HEX(? + n), 12, '0'))), CONCAT('crowd-', ? + n, '@bench.example'), \
             CONCAT('crowd-', ? + n, '@bench.example'), 'none: no login', 'Bench', 'USER', ? \
             FROM ({NUMBERS}) numbers WHERE n < ?"
        );
        let tokens = format!(
            "INSERT INTO queue_tokens (id, concert_id, user_id, key_id, status, place, issued_at, present_until) {DIGITS} \
             SELECT ? + n, ?, UNHEX(CONCAT('{USER_ID_PREFIX}', LPAD(HEX(? + n), 12, '0'))), ?, 'WAITING', ? + n, ?, \
             IF(n % 2 = 0, ?, NULL) FROM ({NUMBERS}) numbers WHERE n < ?"
        );
        let first = start + 1;
        let mut transaction = self.pool.begin().await?;
        sqlx::query(sqlx::AssertSqlSafe(users))
            .bind(first)
            .bind(first)
            .bind(first)
            .bind(now)
            .bind(end - start)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(sqlx::AssertSqlSafe(tokens))
            .bind(base + u64::from(first))
            .bind(concert)
            .bind(first)
            .bind(key)
            .bind(first)
            .bind(now)
            .bind(now + TimeDelta::hours(1))
            .bind(end - start)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}
