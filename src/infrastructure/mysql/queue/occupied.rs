//! Reads over all queues, for the jobs. Their cost doesn't grow with the queues that have ended.

use std::collections::HashMap;

use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, FromRow};

use super::super::{
    sql::{padded, to_row_count},
    unit_of_work::Session,
};
use crate::domain::{
    clock::{Instant, not_before},
    id::ConcertId,
    queue::{OccupiedQueue, QueueMode, TickReason},
    repository_error::RepositoryError,
};

/// Maximum of queues per read. The statement after it binds three values per queue, of at most 65,535.
const QUEUES_PER_READ: u32 = 1_024;

/// Each subquery reads one entry at the end of an index range: it tests whether there are tokens, and doesn't count
/// them.
const OCCUPIED: &str = "SELECT q.concert_id, q.mode, q.admit_count, q.admit_interval_seconds, q.head, q.decided_at, \
     q.last_number > q.ended_number AS is_unended, \
     (q.sales_open_at IS NULL OR q.sales_open_at <= ?) AS is_open, \
     ((q.sales_open_at IS NOT NULL AND q.drawn_at IS NULL) OR COALESCE(q.draw_placed < q.entrant_count, FALSE)) AS has_draw, \
     (SELECT COALESCE(c.deleted_at, c.last_performance_at, \
     (SELECT MAX(p.starts_at) FROM performances p WHERE p.concert_id = c.id)) \
     FROM concerts c WHERE c.id = q.concert_id) AS ends_at, \
     (SELECT t.id FROM queue_tokens t FORCE INDEX (ix_queue_tokens_waiting) \
     WHERE t.concert_id = q.concert_id AND t.status = 'SCHEDULED' LIMIT 1) AS scheduled_id, \
     (SELECT t.place FROM queue_tokens t FORCE INDEX (ix_queue_tokens_waiting) \
     WHERE t.concert_id = q.concert_id AND t.status = 'WAITING' ORDER BY t.place DESC LIMIT 1) AS last_waiting, \
     (SELECT t.present_until FROM queue_tokens t FORCE INDEX (ix_queue_tokens_present) \
     WHERE t.concert_id = q.concert_id AND t.status = 'WAITING' \
     ORDER BY t.present_until DESC, t.place DESC LIMIT 1) AS present_until, \
     (SELECT t.lapses_at FROM queue_tokens t FORCE INDEX (ix_queue_tokens_active) \
     WHERE t.concert_id = q.concert_id AND t.status = 'ACTIVE' ORDER BY t.lapses_at LIMIT 1) AS lapses_at \
     FROM queues q FORCE INDEX (ix_queues_occupied) WHERE q.occupied = 1 AND q.concert_id > ? \
     ORDER BY q.concert_id LIMIT ?";

/// The values that decide whether a queue is due for a tick.
#[derive(FromRow)]
struct OccupiedRow {
    concert_id: u64,
    mode: String,
    admit_count: u32,
    admit_interval_seconds: u32,
    head: u32,
    decided_at: Instant,
    /// Whether the queue's row allows for live tokens.
    is_unended: i64,
    is_open: i64,
    /// Whether the draw, or the writing of its places, is unfinished.
    has_draw: i64,
    ends_at: Option<Instant>,
    scheduled_id: Option<u64>,
    /// The highest place of a waiting token.
    last_waiting: Option<u32>,
    /// The latest presence of a waiting user.
    present_until: Option<Instant>,
    /// The earliest lapse of an active token.
    lapses_at: Option<Instant>,
}

impl OccupiedRow {
    /// The queue's id, and the beginning and end of its admission window.
    fn window(&self, now: Instant) -> (u64, Instant, Instant) {
        let interval = TimeDelta::seconds(i64::from(self.admit_interval_seconds));
        let now = not_before(now, self.decided_at);
        (self.concert_id, now - interval, now + interval)
    }

    fn is_live(&self) -> bool {
        self.scheduled_id.is_some() || self.last_waiting.is_some() || self.lapses_at.is_some()
    }

    /// Whether a tick may find a user to admit: behind the head, or passed over and present again.
    fn is_waiting(&self, now: Instant) -> bool {
        let is_there = self.last_waiting > Some(self.head) || self.present_until.is_some_and(|until| now < until);
        is_there && self.mode != QueueMode::Paused.name()
    }

    fn has_rate_left(&self, admitted: Option<&u32>) -> bool {
        self.mode != QueueMode::Queue.name() || admitted.is_none_or(|admitted| *admitted < self.admit_count)
    }

    fn due(&self, now: Instant, admitted: Option<&u32>) -> Option<TickReason> {
        let now = not_before(now, self.decided_at);
        let draws = self.is_open != 0 && self.has_draw != 0;
        let is_over = self.ends_at.is_some_and(|end| end <= now);
        if !draws && !self.is_live() {
            return (self.is_unended != 0).then_some(TickReason::End);
        }
        if is_over {
            return Some(TickReason::End);
        }
        let is_placing = draws || self.scheduled_id.is_some();
        let admits = is_placing || (self.is_waiting(now) && self.has_rate_left(admitted));
        let is_due = self.lapses_at.is_some_and(|lapse| lapse <= now) || (self.is_open != 0 && admits);
        is_due.then_some(TickReason::Admission)
    }
}

impl Session {
    /// All occupied queues, read in pages.
    pub(super) async fn occupied_queues(&mut self, now: Instant) -> Result<Vec<OccupiedQueue>, RepositoryError> {
        let mut occupied = Vec::new();
        let mut after = 0;
        loop {
            let rows: Vec<OccupiedRow> = sqlx::query_as(OCCUPIED)
                .bind(now)
                .bind(after)
                .bind(QUEUES_PER_READ)
                .fetch_all(self.connection())
                .await?;
            let admitted = self.sum_admitted_since(&rows, now).await?;
            occupied.extend(rows.iter().map(|row| OccupiedQueue {
                concert_id: ConcertId(row.concert_id),
                due: row.due(now, admitted.get(&row.concert_id)),
            }));
            match rows.last() {
                Some(last) if rows.len() == QUEUES_PER_READ as usize => after = last.concert_id,
                _ => return Ok(occupied),
            }
        }
    }

    /// The number of admissions of each queue in its current window.
    async fn sum_admitted_since(
        &mut self,
        queues: &[OccupiedRow],
        now: Instant,
    ) -> Result<HashMap<u64, u32>, RepositoryError> {
        let windows: Vec<_> =
            queues.iter().filter(|queue| queue.is_waiting(now)).map(|queue| queue.window(now)).collect();
        if windows.is_empty() {
            return Ok(HashMap::new());
        }
        // One range of the primary key per queue.
        let windows = padded(windows);
        let text = format!(
            "SELECT concert_id, CAST(SUM(admitted) AS SIGNED) FROM queue_admissions FORCE INDEX (PRIMARY) \
             WHERE (concert_id = ? AND admitted_at > ? AND admitted_at < ?){} GROUP BY concert_id",
            " OR (concert_id = ? AND admitted_at > ? AND admitted_at < ?)".repeat(windows.len() - 1)
        );
        let query = windows.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, (id, since, until)| {
            query.bind(*id).bind(*since).bind(*until)
        });
        let found: Vec<(u64, i64)> = query.fetch_all(self.connection()).await?;
        found.into_iter().map(|(id, admitted)| Ok((id, to_row_count(admitted)?))).collect()
    }

    /// The number of active tokens in all queues, and the queues that may have waiting tokens behind the head.
    pub(super) async fn count_occupants(&mut self, now: Instant) -> Result<(u64, Vec<ConcertId>), RepositoryError> {
        // Counts by ix_queue_tokens_active, which holds at most `max_active` active tokens per queue.
        let queues: Vec<(u64, i64, bool)> = sqlx::query_as(
            "SELECT q.concert_id, (SELECT COUNT(*) FROM queue_tokens t FORCE INDEX (ix_queue_tokens_active) \
             WHERE t.concert_id = q.concert_id AND t.status = 'ACTIVE' AND t.lapses_at > ?), q.last_place > q.head \
             FROM queues q FORCE INDEX (ix_queues_occupied) \
             STRAIGHT_JOIN concerts c ON c.id = q.concert_id AND c.deleted_at IS NULL \
             WHERE q.occupied = 1 ORDER BY q.concert_id",
        )
        .bind(now)
        .fetch_all(self.connection())
        .await?;
        let mut active = 0;
        for (_, found, _) in &queues {
            active += u64::from(to_row_count(*found)?);
        }
        let lines = queues.into_iter().filter(|(.., has_line)| *has_line);
        Ok((active, lines.map(|(id, ..)| ConcertId(id)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, MySqlConnection, MySqlPool};

    use super::{
        super::{
            super::fixtures_catalogue::{at, database, sale, user},
            test_tokens::{active, ended, join},
        },
        *,
    };
    use crate::domain::{
        queue::{EndReason, QueueToken, TokenState},
        unit_of_work::{Database, UnitOfWork},
    };

    /// Inserts `count` queues by SQL, from the concert `first` on, each with one token of user 1 in this status.
    async fn queues(pool: &MySqlPool, first: u32, count: u32, status: &str) {
        let numbers = "WITH RECURSIVE digits (digit) AS (SELECT 0 UNION ALL SELECT digit + 1 FROM digits WHERE digit < 9), \
             numbers (number) AS (SELECT a.digit + 10 * b.digit + 100 * c.digit + 1000 * d.digit + 10000 * e.digit \
             FROM digits a, digits b, digits c, digits d, digits e)";
        let is_live = status == "WAITING";
        let (ended_number, ended_at) = if is_live { ("0", "NULL") } else { ("1", "'2026-11-18'") };
        let queue = format!("'QUEUE', 50, 10, 500, 600, 120, ?, 1, 1, {ended_number}");
        let token = format!("{first} + number, (SELECT id FROM users LIMIT 1), 1, '{status}', 1, ?, {ended_at}");
        for (table, id, columns) in [
            (
                "concerts (id, title, artist, category, description, listed_at, created_at)",
                "",
                "'x', 'x', 'x', '', '9999-12-31', ?",
            ),
            (
                "queues (concert_id, mode, admit_count, admit_interval_seconds, max_active, active_seconds, \
                 claim_seconds, decided_at, last_number, last_place, ended_number)",
                "",
                queue.as_str(),
            ),
            (
                "queue_tokens (id, concert_id, user_id, key_id, status, place, issued_at, ended_at)",
                " * 4294967296 + 1",
                token.as_str(),
            ),
        ] {
            let text = format!(
                "INSERT INTO {table} {numbers} SELECT ({first} + number){id}, {columns} FROM numbers WHERE number < {count}"
            );
            sqlx::query(AssertSqlSafe(text)).bind(at(0)).execute(pool).await.unwrap();
        }
    }

    /// The number of entries of tables and indexes that this session has read.
    async fn entries_read(connection: &mut MySqlConnection) -> u64 {
        let status: Vec<(String, String)> =
            sqlx::query_as("SHOW SESSION STATUS LIKE 'Handler_read%'").fetch_all(connection).await.unwrap();
        // The statement itself scans an internal table.
        let counted = status.iter().filter(|(name, _)| !name.contains("_rnd"));
        counted.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    async fn reads_of_a_tick(connection: &mut MySqlConnection) -> u64 {
        let before = entries_read(connection).await;
        sqlx::query(OCCUPIED).bind(at(0)).bind(0).bind(QUEUES_PER_READ).fetch_all(&mut *connection).await.unwrap();
        entries_read(connection).await - before
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn queues_that_have_ended_add_no_reads_to_a_tick(pool: MySqlPool) {
        user(&pool, 1).await;
        queues(&pool, 100, 10, "WAITING").await;
        let mut connection = MySqlConnection::connect_with(&pool.connect_options()).await.unwrap();
        // The first read also loads the tables' definitions.
        reads_of_a_tick(&mut connection).await;
        let few = reads_of_a_tick(&mut connection).await;
        queues(&pool, 1_000, 5_000, "EXPIRED").await;
        let many = reads_of_a_tick(&mut connection).await;
        assert!(many <= few, "{many} entries instead of {few}");
        let mut repositories = database(&pool).read().await.unwrap();
        assert_eq!(repositories.queues().list_occupied(at(0)).await.unwrap().len(), 10);
        assert_eq!(repositories.queues().summarize_queues(at(0)).await.unwrap().1.len(), 10);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn more_queues_than_one_statement_can_bind_are_due(pool: MySqlPool) {
        user(&pool, 1).await;
        queues(&pool, 1_000, 33_000, "WAITING").await;
        let mut repositories = database(&pool).read().await.unwrap();
        let occupied = repositories.queues().list_occupied(at(0)).await.unwrap();
        assert_eq!(occupied.iter().filter(|queue| queue.due == Some(TickReason::Admission)).count(), 33_000);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn ended_tokens_are_removed_when_they_are_old_enough(pool: MySqlPool) {
        user(&pool, 1).await;
        queues(&pool, 100, 3, "EXPIRED").await;
        queues(&pool, 200, 2, "WAITING").await;
        sqlx::query("UPDATE queues SET head = 1 WHERE concert_id <> 102").execute(&pool).await.unwrap();
        sqlx::query("UPDATE queue_tokens SET ended_at = ? WHERE concert_id = 101")
            .bind(at(5))
            .execute(&pool)
            .await
            .unwrap();
        let mut uow = database(&pool).begin().await.unwrap();
        assert_eq!(uow.queue_tokens().delete_ended_tokens(at(5), 9).await.unwrap(), 1, "100, which is past the head");
        assert_eq!(uow.queue_tokens().delete_ended_tokens(at(6), 9).await.unwrap(), 1, "101");
        assert_eq!(uow.queue_tokens().delete_ended_tokens(at(6), 9).await.unwrap(), 0);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_queue_is_due_when_a_tick_has_work(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let id = sale.concert_id;
        let mut uow = database.begin().await.unwrap();
        let due = async |uow: &mut dyn UnitOfWork, seconds| {
            let occupied = uow.queues().list_occupied(at(seconds)).await.unwrap();
            occupied.into_iter().map(|queue| (queue.concert_id, queue.due)).next()
        };
        assert_eq!(due(&mut *uow, 0).await, None);
        let token = join(&pool, &mut *uow, id, 1).await[0];
        assert_eq!(due(&mut *uow, 0).await, Some((id, Some(TickReason::Admission))));

        let mut queue = uow.queues().find_queue(id).await.unwrap().unwrap();
        // The head has passed over the token; its user is present again until 9.
        queue.head = 1;
        uow.queues().update_queue(&queue).await.unwrap();
        assert_eq!(due(&mut *uow, 0).await, Some((id, None)));
        uow.queue_tokens().update_presence(&[(token.id, token.user_id, at(9))]).await.unwrap();
        assert_eq!(due(&mut *uow, 8).await, Some((id, Some(TickReason::Admission))));
        assert_eq!(due(&mut *uow, 9).await, Some((id, None)));

        queue.settings.mode = QueueMode::Paused;
        uow.queues().update_queue(&queue).await.unwrap();
        assert_eq!(due(&mut *uow, 8).await, Some((id, None)));
        uow.queue_tokens().update_tokens(&[active(token, 60)], at(0)).await.unwrap();
        assert_eq!(due(&mut *uow, 59).await, Some((id, None)));
        assert_eq!(due(&mut *uow, 60).await, Some((id, Some(TickReason::Admission))));

        queue.settings.sales_open_at = Some(at(5));
        uow.queues().update_queue(&queue).await.unwrap();
        let scheduled = QueueToken { state: TokenState::Scheduled, place: None, ..token };
        uow.queue_tokens().update_tokens(&[scheduled], at(0)).await.unwrap();
        assert_eq!(due(&mut *uow, 4).await, Some((id, None)));
        assert_eq!(due(&mut *uow, 5).await, Some((id, Some(TickReason::Admission))));
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_queue_ends_with_its_concert_and_is_no_longer_occupied(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let id = sale.concert_id;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, &mut *uow, id, 2).await;
        let due = async |uow: &mut dyn UnitOfWork, seconds| {
            uow.queues().list_occupied(at(seconds)).await.unwrap().into_iter().next().map(|queue| queue.due)
        };
        assert_eq!(due(&mut *uow, 86_399).await, Some(Some(TickReason::Admission)));
        assert_eq!(due(&mut *uow, 86_400).await, Some(Some(TickReason::End)));
        let mut queue = uow.queues().lock_queue(id).await.unwrap().unwrap();
        assert_eq!(queue.ends_at, Some(at(86_400)));
        // If all performances are cancelled, the latest of them counts.
        uow.concerts().cancel_performance(sale.performance_id, at(1)).await.unwrap();
        assert_eq!(due(&mut *uow, 86_400).await, Some(Some(TickReason::End)));
        uow.concerts().delete_concert(id, at(1)).await.unwrap();
        assert_eq!(due(&mut *uow, 1).await, Some(Some(TickReason::End)));
        assert!(uow.queues().find_queue(id).await.unwrap().is_none());
        assert_eq!(uow.queues().lock_queue(id).await.unwrap().unwrap().ends_at, Some(at(1)));

        assert_eq!(uow.queue_tokens().claim_live(id, 1).await.unwrap(), tokens[..1]);
        uow.queue_tokens().update_tokens(&[ended(tokens[0], EndReason::Expired)], at(2)).await.unwrap();
        assert!(uow.queue_tokens().has_live(id).await.unwrap());
        uow.queue_tokens().update_tokens(&[ended(tokens[1], EndReason::Left)], at(2)).await.unwrap();
        assert!(!uow.queue_tokens().has_live(id).await.unwrap());
        assert_eq!(due(&mut *uow, 1).await, Some(Some(TickReason::End)), "the queue isn't marked as ended yet");
        queue.ended_number = queue.last_number;
        uow.queues().update_queue(&queue).await.unwrap();
        assert_eq!(due(&mut *uow, 1).await, None);
        // A former version of the server, which doesn't mark queues, issues another token.
        queue.last_number += 1;
        uow.queues().update_queue(&queue).await.unwrap();
        assert!(due(&mut *uow, 1).await.is_some());
    }
}
