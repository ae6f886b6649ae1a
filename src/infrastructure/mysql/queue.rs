//! SQL of waiting queues and their tokens.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, MySql, mysql::MySqlArguments, query::Query};
use uuid::Uuid;

use super::{
    queue_rows::{ANY_QUEUE, OF_CONCERT, QueueRow, TOKEN, revealed_seed, sealed_seed, to_row_count, tokens},
    sql::{ROWS_PER_STATEMENT, datetime, padded, parts, placeholder_list, placeholder_rows},
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, QueueTokenId, UserId},
    queue::{
        Admission, AdmissionRecord, EndReason, LiveCounts, OccupiedQueue, Queue, QueueRepository, QueueToken,
        TokenState,
    },
    repository_error::RepositoryError,
};

/// How many tokens with times of their own one statement writes: what it takes grows with the square.
const TOKENS_PER_CASE: usize = 128;

/// All that is written of a queue, whether it is new or not: bound by [`bind_queue`].
const QUEUE_VALUES: &str = "mode = ?, admit_count = ?, admit_interval_seconds = ?, max_active = ?, active_seconds = ?, \
     claim_seconds = ?, sales_open_at = ?, draw_commitment = ?, draw_sealed_seed = ?, draw_seed = ?, drawn_at = ?, \
     entrant_count = ?, draw_base = ?, draw_last_number = ?, draw_placed = ?, last_number = ?, last_place = ?, head = ?, \
     departures = ?, decided_at = ?, live_bound = ?, ended_number = ?";

/// Binds [`QUEUE_VALUES`], and the concert's id after them.
fn bind_queue<'q>(query: Query<'q, MySql, MySqlArguments>, queue: &Queue) -> Query<'q, MySql, MySqlArguments> {
    let made = queue.draw.and_then(|draw| draw.made);
    query
        .bind(queue.settings.mode.name())
        .bind(queue.settings.admit_count)
        .bind(queue.settings.admit_interval_seconds)
        .bind(queue.settings.max_active)
        .bind(queue.settings.active_seconds)
        .bind(queue.settings.claim_seconds)
        .bind(queue.settings.sales_open_at.map(datetime))
        .bind(queue.draw.map(|draw| draw.commitment.bytes().to_vec()))
        .bind(queue.draw.and_then(|draw| sealed_seed(&draw)))
        .bind(queue.draw.and_then(|draw| revealed_seed(&draw)))
        .bind(made.map(|made| made.drawn_at))
        .bind(made.map(|made| made.entrant_count))
        .bind(made.map(|made| made.base))
        .bind(made.map(|made| made.last_number))
        .bind(made.map(|made| made.placed))
        .bind(queue.last_number)
        .bind(queue.last_place)
        .bind(queue.head)
        .bind(queue.departed_count)
        .bind(queue.last_decision_at)
        .bind(queue.live_bound)
        .bind(queue.ended_number)
        .bind(queue.concert_id.0)
}

impl Session {
    /// Writes whole rows of tokens: new ones, or in place of old ones where `on_duplicate` says how. The caller holds
    /// the queue's lock: the database shares it to check the foreign key.
    async fn write_tokens(
        &mut self,
        tokens: &[QueueToken],
        ended_at: Instant,
        on_duplicate: &str,
    ) -> Result<(), RepositoryError> {
        for part in parts(tokens, ROWS_PER_STATEMENT) {
            self.write_some_tokens(part, ended_at, on_duplicate).await?;
        }
        Ok(())
    }

    async fn write_some_tokens(
        &mut self,
        tokens: &[QueueToken],
        ended_at: Instant,
        on_duplicate: &str,
    ) -> Result<(), RepositoryError> {
        let text = format!(
            "INSERT INTO queue_tokens (id, concert_id, user_id, key_id, status, place, entrant, issued_at, \
             admitted_at, claimed_at, books_until, expires_at, lapses_at, ended_at, present_until, \
             estimated_p50_seconds, estimated_p90_seconds) VALUES {}{on_duplicate}",
            placeholder_rows(17, tokens.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for token in tokens {
            let admission = match token.state {
                TokenState::Active(admission) => Some(admission),
                TokenState::Scheduled | TokenState::Waiting | TokenState::Ended(_) => None,
            };
            let ended_at = matches!(token.state, TokenState::Ended(_)).then_some(ended_at);
            query = query.bind(token.id.0).bind(token.id.concert().0).bind(token.user_id.0).bind(token.key_id);
            query = query.bind(token.state.name()).bind(token.place);
            query = query.bind(token.entrant.map(|entrant| entrant.bytes().to_vec())).bind(token.issued_at);
            query = query.bind(admission.map(|it| it.admitted_at)).bind(admission.and_then(|it| it.claimed_at));
            query = query.bind(admission.map(|it| it.books_until)).bind(admission.map(|it| it.expires_at));
            query = query.bind(admission.map(|it| it.lapses_at));
            query = query.bind(ended_at).bind(token.present_until);
            query = query.bind(token.estimate.map(|it| it.p50_seconds)).bind(token.estimate.map(|it| it.p90_seconds));
        }
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Writes the times of active tokens. They are the same for all who are let in together, who may be thousands, and
    /// mostly differ where people use their tokens: an admission is over by then, and what it fixed stays.
    async fn write_active(&mut self, tokens: &[(u64, Admission)]) -> Result<(), RepositoryError> {
        let Some((_, first)) = tokens.first() else { return Ok(()) };
        if tokens.iter().all(|(_, admission)| admission == first) {
            return self.write_equal_admissions(tokens.iter().map(|(id, _)| *id).collect(), *first).await;
        }
        for tokens in tokens.chunks(TOKENS_PER_CASE) {
            let rows = padded(tokens.iter().copied());
            let case = format!("CASE id{} END", " WHEN ? THEN ?".repeat(rows.len()));
            // The assignments take effect from left to right.
            let text = format!(
                "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET books_until = COALESCE(books_until, expires_at), \
                 claimed_at = COALESCE({case}, claimed_at), expires_at = {case}, lapses_at = {case} \
                 WHERE id IN {} AND status = 'ACTIVE'",
                placeholder_list(rows.len())
            );
            let query = sqlx::query(AssertSqlSafe(text));
            let query = rows.iter().fold(query, |query, (id, it)| query.bind(*id).bind(it.claimed_at));
            let query = rows.iter().fold(query, |query, (id, it)| query.bind(*id).bind(it.expires_at));
            let query = rows.iter().fold(query, |query, (id, it)| query.bind(*id).bind(it.lapses_at));
            let query = rows.iter().fold(query, |query, (id, _)| query.bind(*id));
            let written = query.execute(self.connection()).await?.rows_affected();
            if written != tokens.len() as u64 {
                return Err(RepositoryError::stale("an active token"));
            }
        }
        Ok(())
    }

    async fn write_equal_admissions(&mut self, ids: Vec<u64>, admission: Admission) -> Result<(), RepositoryError> {
        let ids = padded(ids);
        let text = format!(
            "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET status = 'ACTIVE', admitted_at = ?, \
             claimed_at = COALESCE(?, claimed_at), books_until = ?, expires_at = ?, lapses_at = ? WHERE id IN {}",
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(admission.admitted_at).bind(admission.claimed_at);
        let query = query.bind(admission.books_until).bind(admission.expires_at).bind(admission.lapses_at);
        ids.iter().fold(query, |query, id| query.bind(*id)).execute(self.connection()).await?;
        Ok(())
    }

    /// Ends tokens; the times of their admissions outlive them, for the audit.
    async fn write_ended(
        &mut self,
        (status, entrant): (&str, &str),
        ids: Vec<u64>,
        ended_at: Instant,
    ) -> Result<(), RepositoryError> {
        let ids = padded(ids);
        // Who has left is found by when.
        let text = format!(
            "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET status = ?, ended_at = COALESCE(ended_at, ?), \
             lapses_at = IF(status = 'LEFT', ended_at, lapses_at), entrant = {entrant} WHERE id IN {}",
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(status).bind(ended_at);
        ids.iter().fold(query, |query, id| query.bind(*id)).execute(self.connection()).await?;
        Ok(())
    }

    /// Locks tokens by their primary key, in ascending order, and leaves out those that ended meanwhile. Reading the
    /// ids first, without a lock, keeps that order: an index by user would lock in the order of users.
    async fn lock_live(&mut self, ids: Vec<u64>) -> Result<Vec<QueueToken>, RepositoryError> {
        let ids: Vec<_> = ids.into_iter().map(QueueTokenId).collect();
        let mut tokens = self.lock_tokens(&ids).await?;
        tokens.retain(|token| !matches!(token.state, TokenState::Ended(_)));
        Ok(tokens)
    }

    /// Tokens by id, with a locking clause or without.
    async fn tokens_by_id(&mut self, ids: &[QueueTokenId], lock: &str) -> Result<Vec<QueueToken>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text =
            format!("{TOKEN} FORCE INDEX (PRIMARY) WHERE id IN {} ORDER BY id{lock}", placeholder_list(ids.len()));
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        tokens(query.fetch_all(self.connection()).await?)
    }

    async fn count_tokens(&mut self, id: ConcertId, status: &str) -> Result<u32, RepositoryError> {
        let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM queue_tokens WHERE concert_id = ? AND status = ?")
            .bind(id.0)
            .bind(status)
            .fetch_one(self.connection())
            .await?;
        to_row_count(found)
    }
}

#[async_trait]
impl QueueRepository for Session {
    async fn insert_queue(&mut self, queue: &Queue) -> Result<(), RepositoryError> {
        bind_queue(sqlx::query(AssertSqlSafe(format!("INSERT INTO queues SET {QUEUE_VALUES}, concert_id = ?"))), queue)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn find_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError> {
        let row: Option<QueueRow> = sqlx::query_as(AssertSqlSafe(format!("{ANY_QUEUE} = ? AND {OF_CONCERT}")))
            .bind(id.0)
            .fetch_optional(self.connection())
            .await?;
        row.map(Queue::try_from).transpose()
    }

    async fn lock_queues(&mut self, ids: &[ConcertId]) -> Result<Vec<Queue>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text =
            format!("{ANY_QUEUE} IN {} AND {OF_CONCERT} ORDER BY concert_id FOR UPDATE", placeholder_list(ids.len()));
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let rows: Vec<QueueRow> = query.fetch_all(self.connection()).await?;
        rows.into_iter().map(Queue::try_from).collect()
    }

    async fn lock_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError> {
        let row: Option<QueueRow> = sqlx::query_as(AssertSqlSafe(format!("{ANY_QUEUE} = ? FOR UPDATE")))
            .bind(id.0)
            .fetch_optional(self.connection())
            .await?;
        row.map(Queue::try_from).transpose()
    }

    async fn update_queue(&mut self, queue: &Queue) -> Result<(), RepositoryError> {
        let text = format!("UPDATE queues SET {QUEUE_VALUES} WHERE concert_id = ?");
        let result = bind_queue(sqlx::query(AssertSqlSafe(text)), queue).execute(self.connection()).await?;
        if result.rows_affected() == 1 { Ok(()) } else { Err(RepositoryError::stale("a queue")) }
    }

    async fn list_occupied(&mut self, now: Instant) -> Result<Vec<OccupiedQueue>, RepositoryError> {
        self.occupied_queues(now).await
    }

    async fn summarize_queues(&mut self, now: Instant) -> Result<(u64, Vec<ConcertId>), RepositoryError> {
        self.count_occupants(now).await
    }

    async fn live_counts(&mut self, id: ConcertId, now: Instant) -> Result<LiveCounts, RepositoryError> {
        let active: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM queue_tokens WHERE concert_id = ? AND status = 'ACTIVE' AND lapses_at > ?",
        )
        .bind(id.0)
        .bind(now)
        .fetch_one(self.connection())
        .await?;
        Ok(LiveCounts {
            waiting: self.count_tokens(id, "WAITING").await?,
            active: to_row_count(active)?,
            admitted_last_minute: self
                .count_admitted(id, now - TimeDelta::minutes(1), now + TimeDelta::minutes(1))
                .await?,
        })
    }

    async fn list_departed(&mut self, id: ConcertId) -> Result<Vec<u32>, RepositoryError> {
        // The index holds all that is asked for, in order.
        Ok(sqlx::query_scalar(
            "SELECT place FROM queue_tokens FORCE INDEX (ix_queue_tokens_waiting) \
             WHERE concert_id = ? AND status = 'LEFT' AND place > 0 ORDER BY place",
        )
        .bind(id.0)
        .fetch_all(self.connection())
        .await?)
    }

    async fn list_departed_since(&mut self, id: ConcertId, since: Instant) -> Result<Vec<u32>, RepositoryError> {
        // Of a token that left, lapses_at is when: so the index gives the latest ones, however many left before.
        Ok(sqlx::query_scalar(
            "SELECT place FROM queue_tokens FORCE INDEX (ix_queue_tokens_active) \
             WHERE concert_id = ? AND status = 'LEFT' AND lapses_at >= ? AND place IS NOT NULL",
        )
        .bind(id.0)
        .bind(since)
        .fetch_all(self.connection())
        .await?)
    }

    async fn count_active(&mut self, id: ConcertId) -> Result<u32, RepositoryError> {
        self.count_tokens(id, "ACTIVE").await
    }

    async fn count_present(&mut self, id: ConcertId, now: Instant, limit: u32) -> Result<u32, RepositoryError> {
        let found: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM (SELECT 1 FROM queue_tokens FORCE INDEX (ix_queue_tokens_present) \
             WHERE concert_id = ? AND status = 'WAITING' AND present_until > ? LIMIT ?) present",
        )
        .bind(id.0)
        .bind(now)
        .bind(limit)
        .fetch_one(self.connection())
        .await?;
        to_row_count(found)
    }

    async fn count_waiting(&mut self, id: ConcertId, limit: u32) -> Result<u32, RepositoryError> {
        let found: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM (SELECT 1 FROM queue_tokens FORCE INDEX (ix_queue_tokens_waiting) \
             WHERE concert_id = ? AND status = 'WAITING' LIMIT ?) waiting",
        )
        .bind(id.0)
        .bind(limit)
        .fetch_one(self.connection())
        .await?;
        to_row_count(found)
    }

    async fn count_admitted(&mut self, id: ConcertId, since: Instant, until: Instant) -> Result<u32, RepositoryError> {
        let found: i64 = sqlx::query_scalar(
            "SELECT CAST(COALESCE(SUM(admitted), 0) AS SIGNED) FROM queue_admissions \
             WHERE concert_id = ? AND admitted_at > ? AND admitted_at < ?",
        )
        .bind(id.0)
        .bind(since)
        .bind(until)
        .fetch_one(self.connection())
        .await?;
        to_row_count(found)
    }

    async fn insert_admission(&mut self, record: &AdmissionRecord) -> Result<(), RepositoryError> {
        sqlx::query(
            "INSERT INTO queue_admissions (concert_id, admitted_at, admitted, active, mode, admit_count, \
             admit_interval_seconds, max_active) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE admitted = admitted + VALUES(admitted), active = VALUES(active), \
             mode = VALUES(mode), admit_count = VALUES(admit_count), \
             admit_interval_seconds = VALUES(admit_interval_seconds), max_active = VALUES(max_active)",
        )
        .bind(record.concert_id.0)
        .bind(record.admitted_at)
        .bind(record.admitted)
        .bind(record.active)
        .bind(record.settings.mode.name())
        .bind(record.settings.admit_count)
        .bind(record.settings.admit_interval_seconds)
        .bind(record.settings.max_active)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn delete_admissions(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        let result = sqlx::query("DELETE FROM queue_admissions WHERE admitted_at < ? ORDER BY admitted_at LIMIT ?")
            .bind(horizon)
            .bind(limit)
            .execute(self.connection())
            .await?;
        Ok(result.rows_affected())
    }

    async fn delete_ended_tokens(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        self.remove_ended_tokens(horizon, limit).await
    }

    async fn insert_tokens(&mut self, tokens: &[QueueToken]) -> Result<(), RepositoryError> {
        // A new token has not ended; where one has all the same, it ended when it was issued.
        let ended_at = tokens.first().map_or_else(Instant::default, |token| token.issued_at);
        self.write_tokens(tokens, ended_at, "").await
    }

    async fn list_tokens(&mut self, ids: &[QueueTokenId]) -> Result<Vec<QueueToken>, RepositoryError> {
        self.tokens_by_id(ids, "").await
    }

    async fn list_claimed_active(
        &mut self,
        ids: &[QueueTokenId],
        now: Instant,
    ) -> Result<Vec<(QueueTokenId, UserId)>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text = format!(
            "SELECT id, user_id FROM queue_tokens FORCE INDEX (PRIMARY) WHERE id IN {} AND status = 'ACTIVE' \
             AND claimed_at IS NOT NULL AND lapses_at > ?",
            placeholder_list(ids.len())
        );
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let found: Vec<(u64, Uuid)> = query.bind(now).fetch_all(self.connection()).await?;
        Ok(found.into_iter().map(|(id, user_id)| (QueueTokenId(id), UserId(user_id))).collect())
    }

    async fn lock_tokens(&mut self, ids: &[QueueTokenId]) -> Result<Vec<QueueToken>, RepositoryError> {
        self.tokens_by_id(ids, " FOR UPDATE").await
    }

    async fn lock_tokens_of_joining(
        &mut self,
        concert_id: ConcertId,
        user_ids: &[UserId],
        or_left: bool,
    ) -> Result<Vec<QueueToken>, RepositoryError> {
        if user_ids.is_empty() {
            return Ok(Vec::new());
        }
        let user_ids = padded(user_ids.iter().map(|id| id.0));
        let state = if or_left { "(live = 1 OR (status = 'LEFT' AND place IS NULL))" } else { "live = 1" };
        let text = format!(
            "SELECT id FROM queue_tokens FORCE INDEX (uq_queue_tokens_live) WHERE concert_id = ? AND user_id IN {} \
             AND {state}",
            placeholder_list(user_ids.len())
        );
        let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(concert_id.0);
        let query = user_ids.iter().fold(query, |query, id| query.bind(*id));
        let ids: Vec<u64> = query.fetch_all(self.connection()).await?;
        let ids: Vec<_> = ids.into_iter().map(QueueTokenId).collect();
        let mut tokens = self.lock_tokens(&ids).await?;
        let was_left = |token: &QueueToken| token.state == TokenState::Ended(EndReason::Left) && token.place.is_none();
        tokens.retain(|token| !matches!(token.state, TokenState::Ended(_)) || (or_left && was_left(token)));
        Ok(tokens)
    }

    async fn claim_live(&mut self, concert_id: ConcertId, limit: u32) -> Result<Vec<QueueToken>, RepositoryError> {
        // In the index's order, which is that of the statuses: so no more than these are locked.
        let text = format!(
            "{TOKEN} FORCE INDEX (ix_queue_tokens_waiting) WHERE concert_id = ? \
             AND status IN ('SCHEDULED', 'WAITING', 'ACTIVE') ORDER BY status, place LIMIT ? FOR UPDATE SKIP LOCKED"
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(concert_id.0).bind(limit);
        tokens(query.fetch_all(self.connection()).await?)
    }

    async fn has_live(&mut self, concert_id: ConcertId) -> Result<bool, RepositoryError> {
        let found: Option<u64> = sqlx::query_scalar(
            "SELECT id FROM queue_tokens FORCE INDEX (ix_queue_tokens_waiting) WHERE concert_id = ? \
             AND status IN ('SCHEDULED', 'WAITING', 'ACTIVE') LIMIT 1",
        )
        .bind(concert_id.0)
        .fetch_optional(self.connection())
        .await?;
        Ok(found.is_some())
    }

    async fn list_live_of(&mut self, users: &[(UserId, ConcertId)]) -> Result<Vec<QueueTokenId>, RepositoryError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let users = padded(users.iter().copied());
        let text = format!(
            "SELECT id FROM queue_tokens FORCE INDEX (uq_queue_tokens_live) \
             WHERE (concert_id = ? AND user_id = ? AND live = 1){}",
            " OR (concert_id = ? AND user_id = ? AND live = 1)".repeat(users.len() - 1)
        );
        let query = sqlx::query_scalar(AssertSqlSafe(text));
        let query = users.iter().fold(query, |query, (user_id, concert_id)| query.bind(concert_id.0).bind(user_id.0));
        let ids: Vec<u64> = query.fetch_all(self.connection()).await?;
        Ok(ids.into_iter().map(QueueTokenId).collect())
    }

    async fn list_live_concerts_of(&mut self, user_id: UserId) -> Result<Vec<ConcertId>, RepositoryError> {
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT concert_id FROM queue_tokens WHERE user_id = ? AND live = 1 ORDER BY concert_id",
        )
        .bind(user_id.0)
        .fetch_all(self.connection())
        .await?;
        Ok(ids.into_iter().map(ConcertId).collect())
    }

    async fn lock_tokens_of(&mut self, user_id: UserId) -> Result<Vec<QueueToken>, RepositoryError> {
        let ids: Vec<u64> = sqlx::query_scalar("SELECT id FROM queue_tokens WHERE user_id = ? AND live = 1")
            .bind(user_id.0)
            .fetch_all(self.connection())
            .await?;
        self.lock_live(ids).await
    }

    async fn list_waiting(
        &mut self,
        concert_id: ConcertId,
        head: u32,
        limit: u32,
    ) -> Result<Vec<QueueToken>, RepositoryError> {
        // In the index's order, so that no more than the first ones are read.
        let text = format!(
            "{TOKEN} FORCE INDEX (ix_queue_tokens_waiting) WHERE concert_id = ? AND status = 'WAITING' AND place > ? \
             ORDER BY place LIMIT ?"
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(concert_id.0).bind(head).bind(limit);
        tokens(query.fetch_all(self.connection()).await?)
    }

    async fn list_present_before_head(
        &mut self,
        concert_id: ConcertId,
        head: u32,
        now: Instant,
        limit: u32,
    ) -> Result<Vec<QueueToken>, RepositoryError> {
        // The index holds the place as well: those who are present further back are told apart without their rows.
        // Those who are away are more and more, and are not looked at.
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT id FROM queue_tokens FORCE INDEX (ix_queue_tokens_present) WHERE concert_id = ? \
             AND status = 'WAITING' AND present_until > ? AND place <= ? ORDER BY place LIMIT ?",
        )
        .bind(concert_id.0)
        .bind(now)
        .bind(head)
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        let ids: Vec<_> = ids.into_iter().map(QueueTokenId).collect();
        let mut tokens = self.tokens_by_id(&ids, "").await?;
        tokens.sort_unstable_by_key(|token| token.place);
        Ok(tokens)
    }

    async fn expire_lapsed(&mut self, concert_id: ConcertId, now: Instant, limit: u32) -> Result<u64, RepositoryError> {
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT id FROM queue_tokens FORCE INDEX (ix_queue_tokens_active) \
             WHERE concert_id = ? AND status = 'ACTIVE' AND lapses_at <= ? LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(concert_id.0)
        .bind(now)
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let ids = padded(ids);
        let text = format!(
            "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET status = 'EXPIRED', ended_at = ? WHERE id IN {}",
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(now);
        let query = ids.iter().fold(query, |query, id| query.bind(*id));
        Ok(query.execute(self.connection()).await?.rows_affected())
    }

    async fn update_tokens(&mut self, tokens: &[QueueToken], now: Instant) -> Result<(), RepositoryError> {
        let mut in_line = Vec::new();
        let mut active = Vec::new();
        let mut ended: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
        for token in tokens {
            match token.state {
                TokenState::Scheduled | TokenState::Waiting => in_line.push(*token),
                TokenState::Active(admission) => active.push((token.id.0, admission)),
                TokenState::Ended(_) => {
                    let entrant = if token.entrant.is_some() { "entrant" } else { "NULL" };
                    ended.entry((token.state.name(), entrant)).or_default().push(token.id.0);
                }
            }
        }
        // They are locked, so each finds its row. A revived one has not ended any more.
        let on_duplicate = " ON DUPLICATE KEY UPDATE status = VALUES(status), place = VALUES(place), \
             entrant = VALUES(entrant), lapses_at = VALUES(lapses_at), ended_at = VALUES(ended_at), \
             present_until = VALUES(present_until)";
        self.write_tokens(&in_line, now, on_duplicate).await?;
        self.write_active(&active).await?;
        for (ending, ids) in ended {
            self.write_ended(ending, ids, now).await?;
        }
        Ok(())
    }

    async fn update_presence(&mut self, tokens: &[(QueueTokenId, UserId, Instant)]) -> Result<(), RepositoryError> {
        // Ascending through all statements: each locks its rows in the order of the primary key.
        let tokens: BTreeMap<_, _> = tokens.iter().map(|(id, user_id, until)| (id.0, (user_id.0, *until))).collect();
        let tokens: Vec<_> = tokens.into_iter().collect();
        for tokens in tokens.chunks(TOKENS_PER_CASE) {
            let rows = padded(tokens.iter().copied());
            let text = format!(
                "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET present_until = CASE id{} END WHERE id IN {} \
                 AND status IN ('WAITING', 'SCHEDULED')",
                " WHEN ? THEN IF(user_id = ?, ?, present_until)".repeat(rows.len()),
                placeholder_list(rows.len())
            );
            let query = sqlx::query(AssertSqlSafe(text));
            let query =
                rows.iter().fold(query, |query, (id, (user_id, until))| query.bind(*id).bind(*user_id).bind(*until));
            rows.iter().fold(query, |query, (id, _)| query.bind(*id)).execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn claim_tokens(&mut self, ids: &[QueueTokenId], now: Instant) -> Result<(), RepositoryError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text = format!(
            "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET claimed_at = ?, lapses_at = expires_at WHERE id IN {} \
             AND status = 'ACTIVE' AND claimed_at IS NULL AND lapses_at > ?",
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(now);
        ids.iter().fold(query, |query, id| query.bind(*id)).bind(now).execute(self.connection()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::{
        super::fixtures_catalogue::{at, database, is_locked, sale, user},
        *,
    };
    use crate::domain::{
        queue::{EndReason, QueueMode, QueueSettings, TickReason},
        unit_of_work::{Database, UnitOfWork},
    };

    /// So many waiting tokens of users 1 and on, stored with their queue.
    async fn join(pool: &MySqlPool, uow: &mut dyn QueueRepository, id: ConcertId, count: u128) -> Vec<QueueToken> {
        let mut queue = uow.lock_queues(&[id]).await.unwrap().remove(0);
        let mut tokens = Vec::new();
        for number in 1..=count {
            tokens.push(queue.issue(user(pool, number).await, 7, at(0)).unwrap());
        }
        uow.insert_tokens(&tokens).await.unwrap();
        uow.update_queue(&queue).await.unwrap();
        tokens
    }

    fn active(token: QueueToken, lapses_at: i64) -> QueueToken {
        let admission = Admission {
            admitted_at: at(0),
            claimed_at: None,
            books_until: at(600),
            expires_at: at(600),
            lapses_at: at(lapses_at),
        };
        QueueToken { state: TokenState::Active(admission), ..token }
    }

    fn ended(token: QueueToken, ending: EndReason) -> QueueToken {
        QueueToken { state: TokenState::Ended(ending), ..token }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_queue_is_kept_as_it_was_written(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let ids = [ConcertId(999), sale.concert_id];
        let mut queue = uow.queues().lock_queues(&ids).await.unwrap().remove(0);
        assert_eq!((queue.settings, queue.last_decision_at), (QueueSettings::default(), at(0)));
        // Those who join must not wait for those who book, who share the concert.
        assert!(is_locked(&pool, "queues", "concert_id", sale.concert_id.0).await);
        assert!(!is_locked(&pool, "concerts", "id", sale.concert_id.0).await);
        assert!(!is_locked(&pool, "performances", "id", sale.performance_id.0).await);
        queue.settings.mode = QueueMode::Paused;
        // Later than a TIMESTAMP can be.
        queue.settings.sales_open_at = Some(at(1_000_000_000));
        (queue.last_number, queue.last_place, queue.head, queue.departed_count) = (4, 3, 2, 1);
        uow.queues().update_queue(&queue).await.unwrap();
        uow.queues().update_queue(&queue).await.unwrap();
        let found = uow.queues().find_queue(sale.concert_id).await.unwrap().unwrap();
        assert_eq!(found.settings, queue.settings);
        assert_eq!((found.last_number, found.last_place, found.head, found.departed_count), (4, 3, 2, 1));
        let absent = uow.queues().update_queue(&Queue::new(ConcertId(999), at(0))).await;
        assert!(matches!(absent, Err(RepositoryError::Contention { .. })), "{absent:?}");
        uow.concerts().delete_concert(sale.concert_id, at(1)).await.unwrap();
        assert!(uow.queues().find_queue(sale.concert_id).await.unwrap().is_none());
        assert!(uow.queues().lock_queues(&ids).await.unwrap().is_empty());
        assert!(uow.queues().lock_queues(&[]).await.unwrap().is_empty());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_user_has_one_live_token_per_concert(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let first = join(&pool, uow.queues(), sale.concert_id, 1).await[0];
        uow.commit().await.unwrap();
        let id = QueueTokenId::new(sale.concert_id, 2).unwrap();
        let second = QueueToken { id, place: Some(2), ..first };
        let refused = database.begin().await.unwrap().queues().insert_tokens(&[second]).await;
        let Err(RepositoryError::NotUnique { constraint }) = refused else { panic!("{refused:?}") };
        assert_eq!(constraint, "uq_queue_tokens_live");

        let mut uow = database.begin().await.unwrap();
        uow.queues().update_tokens(&[ended(first, EndReason::Left)], at(1)).await.unwrap();
        uow.queues().insert_tokens(&[second]).await.unwrap();
        uow.queues().insert_tokens(&[]).await.unwrap();
        let live = uow.queues().lock_tokens_of_joining(sale.concert_id, &[first.user_id], false).await.unwrap();
        assert_eq!(live, [second]);
        assert_eq!(uow.queues().lock_tokens_of(first.user_id).await.unwrap(), [second]);
        assert!(uow.queues().lock_tokens_of_joining(sale.concert_id, &[], true).await.unwrap().is_empty());
        assert_eq!(uow.queues().list_departed(sale.concert_id).await.unwrap(), [1]);
        assert_eq!(uow.queues().list_departed_since(sale.concert_id, at(1)).await.unwrap(), [1]);
        assert!(uow.queues().list_departed_since(sale.concert_id, at(2)).await.unwrap().is_empty());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_token_is_kept_through_its_life(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let queues = uow.queues();
        let tokens = join(&pool, queues, sale.concert_id, 3).await;
        let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
        assert_eq!(queues.lock_tokens(&ids).await.unwrap(), tokens);

        let admitted = [active(tokens[0], 60), active(tokens[1], 60)];
        queues.update_tokens(&admitted, at(0)).await.unwrap();
        assert_eq!(queues.list_tokens(&ids[..2]).await.unwrap(), admitted);
        // A deadline that is past is not moved, and a token that waits is not touched.
        queues.claim_tokens(&ids[..2], at(60)).await.unwrap();
        assert_eq!(queues.list_tokens(&ids[..2]).await.unwrap(), admitted);
        queues.claim_tokens(&[ids[0], ids[2]], at(59)).await.unwrap();
        queues.claim_tokens(&[], at(59)).await.unwrap();
        let found = queues.list_tokens(&ids).await.unwrap();
        let TokenState::Active(claimed) = found[0].state else { panic!("{found:?}") };
        assert_eq!((claimed.claimed_at, claimed.lapses_at), (Some(at(59)), at(600)));
        let last = at(600) - TimeDelta::microseconds(1);
        for (now, used) in [(at(59), &ids[..1]), (last, &ids[..1]), (at(600), &[])] {
            let used: Vec<_> = used.iter().map(|id| (*id, tokens[0].user_id)).collect();
            assert_eq!(queues.list_claimed_active(&ids, now).await.unwrap(), used, "{now}");
        }
        assert_eq!(found[1..], [admitted[1], tokens[2]]);

        queues.update_tokens(&[ended(tokens[0], EndReason::Completed)], at(70)).await.unwrap();
        queues.update_tokens(&[ended(tokens[0], EndReason::Completed)], at(80)).await.unwrap();
        queues.update_tokens(&[], at(80)).await.unwrap();
        assert_eq!(queues.list_tokens(&ids[..1]).await.unwrap(), [ended(tokens[0], EndReason::Completed)]);
        assert!(queues.list_claimed_active(&ids, at(80)).await.unwrap().is_empty());
        assert!(queues.list_claimed_active(&[], at(80)).await.unwrap().is_empty());
        assert!(queues.list_tokens(&[]).await.unwrap().is_empty());
        uow.commit().await.unwrap();
        let kept: (Instant, Instant) =
            sqlx::query_as("SELECT admitted_at, ended_at FROM queue_tokens WHERE status = 'COMPLETED'")
                .fetch_one(&pool)
                .await
                .unwrap();
        assert_eq!(kept, (at(0), at(70)));
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn active_tokens_change_while_somebody_else_has_the_queue(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, uow.queues(), sale.concert_id, 4).await;
        let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
        let admitted: Vec<_> = tokens.iter().map(|token| active(*token, 60)).collect();
        uow.queues().update_tokens(&admitted, at(0)).await.unwrap();
        uow.commit().await.unwrap();

        let mut joining = database.begin().await.unwrap();
        joining.queues().lock_queues(&[sale.concert_id]).await.unwrap();
        // Whoever books has locked the tokens and must not wait for the queue, which comes before tokens.
        let mut booking = database.begin().await.unwrap();
        let queues = booking.queues();
        queues.lock_tokens(&ids).await.unwrap();
        let endings = [EndReason::Completed, EndReason::Left];
        let ended: Vec<_> = tokens.iter().zip(endings).map(|(token, ending)| ended(*token, ending)).collect();
        let held = [active(tokens[2], 70), active(tokens[3], 80)];
        let changed: Vec<_> = ended.into_iter().chain(held).collect();
        queues.update_tokens(&changed, at(50)).await.unwrap();
        assert_eq!(queues.list_tokens(&ids).await.unwrap(), changed);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn the_waiting_are_listed_by_place(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let queues = uow.queues();
        let tokens = join(&pool, queues, sale.concert_id, 3).await;
        let scheduled = |token| QueueToken { state: TokenState::Scheduled, place: None, ..token };
        let before_the_draw: Vec<_> = tokens.iter().copied().map(scheduled).collect();
        queues.update_tokens(&before_the_draw, at(0)).await.unwrap();
        assert!(queues.list_waiting(sale.concert_id, 0, 2).await.unwrap().is_empty());
        let drawn: Vec<_> =
            tokens.iter().zip([3, 1, 2]).map(|(token, place)| QueueToken { place: Some(place), ..*token }).collect();
        queues.update_tokens(&drawn, at(0)).await.unwrap();
        assert_eq!(queues.list_waiting(sale.concert_id, 0, 2).await.unwrap(), [drawn[1], drawn[2]]);
        assert_eq!(queues.list_waiting(sale.concert_id, 1, 9).await.unwrap(), [drawn[2], drawn[0]]);
        uow.commit().await.unwrap();

        let mut uow = database.begin().await.unwrap();
        uow.queues().list_waiting(sale.concert_id, 0, 9).await.unwrap();
        assert!(!is_locked(&pool, "queue_tokens", "id", tokens[1].id.0).await);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn presence_is_written_of_those_in_line_while_somebody_else_has_the_queue(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let id = sale.concert_id;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, uow.queues(), id, 4).await;
        let admitted = active(tokens[3], 60);
        uow.queues().update_tokens(&[admitted], at(0)).await.unwrap();
        uow.commit().await.unwrap();

        let mut ticking = database.begin().await.unwrap();
        ticking.queues().lock_queues(&[id]).await.unwrap();
        let mut uow = database.begin().await.unwrap();
        let queues = uow.queues();
        let present = |number: usize, seconds| (tokens[number].id, tokens[number].user_id, at(seconds));
        let somebody_else = (tokens[1].id, tokens[0].user_id, at(9));
        let presence = [present(2, 9), present(3, 9), present(0, 5), somebody_else, present(2, 7)];
        queues.update_presence(&presence).await.unwrap();
        queues.update_presence(&[]).await.unwrap();
        let until = |token, seconds| QueueToken { present_until: Some(at(seconds)), ..token };
        let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
        let expected = [until(tokens[0], 5), tokens[1], until(tokens[2], 7), admitted];
        assert_eq!(queues.list_tokens(&ids).await.unwrap(), expected);

        let returned = async |queues: &mut dyn QueueRepository, head, seconds, limit| {
            queues.list_present_before_head(id, head, at(seconds), limit).await.unwrap()
        };
        assert_eq!(returned(queues, 3, 4, 9).await, [expected[0], expected[2]]);
        assert_eq!(returned(queues, 3, 4, 1).await, [expected[0]]);
        assert_eq!(returned(queues, 2, 4, 9).await, [expected[0]]);
        assert_eq!(returned(queues, 3, 5, 9).await, [expected[2]]);
        assert!(returned(queues, 3, 7, 9).await.is_empty());
        assert_eq!(queues.count_present(id, at(4), 9).await.unwrap(), 2);
        assert_eq!(queues.count_present(id, at(4), 1).await.unwrap(), 1);
        assert_eq!(queues.count_present(id, at(5), 9).await.unwrap(), 1);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn lapsed_tokens_expire_unless_another_transaction_holds_them(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let id = sale.concert_id;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, uow.queues(), id, 4).await;
        uow.queues().update_tokens(&[active(tokens[0], 60), active(tokens[1], 60)], at(0)).await.unwrap();
        uow.queues().update_tokens(&[active(tokens[2], 61)], at(0)).await.unwrap();
        uow.commit().await.unwrap();

        let mut holder = database.begin().await.unwrap();
        holder.queues().lock_tokens(&[tokens[0].id]).await.unwrap();
        let mut uow = database.begin().await.unwrap();
        assert_eq!(uow.queues().expire_lapsed(id, at(60), 9).await.unwrap(), 1);
        let expired = uow.queues().list_tokens(&[tokens[1].id]).await.unwrap();
        assert_eq!(expired, [ended(tokens[1], EndReason::Expired)]);
        assert_eq!(uow.queues().count_active(id).await.unwrap(), 2);
        let counts = uow.queues().live_counts(id, at(60)).await.unwrap();
        assert_eq!(counts, LiveCounts { waiting: 1, active: 1, admitted_last_minute: 0 });
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_queue_is_due_when_there_is_something_to_do(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let id = sale.concert_id;
        let mut uow = database.begin().await.unwrap();
        let queues = uow.queues();
        let due = async |queues: &mut dyn QueueRepository, seconds| {
            let occupied = queues.list_occupied(at(seconds)).await.unwrap();
            occupied.into_iter().map(|queue| (queue.concert_id, queue.due)).next()
        };
        assert_eq!(due(queues, 0).await, None);
        let token = join(&pool, queues, id, 1).await[0];
        assert_eq!(due(queues, 0).await, Some((id, Some(TickReason::Admission))));

        let mut queue = queues.find_queue(id).await.unwrap().unwrap();
        // Passed over, and back until 9.
        queue.head = 1;
        queues.update_queue(&queue).await.unwrap();
        assert_eq!(due(queues, 0).await, Some((id, None)));
        queues.update_presence(&[(token.id, token.user_id, at(9))]).await.unwrap();
        assert_eq!(due(queues, 8).await, Some((id, Some(TickReason::Admission))));
        assert_eq!(due(queues, 9).await, Some((id, None)));

        queue.settings.mode = QueueMode::Paused;
        queues.update_queue(&queue).await.unwrap();
        assert_eq!(due(queues, 8).await, Some((id, None)));
        queues.update_tokens(&[active(token, 60)], at(0)).await.unwrap();
        assert_eq!(due(queues, 59).await, Some((id, None)));
        assert_eq!(due(queues, 60).await, Some((id, Some(TickReason::Admission))));

        queue.settings.sales_open_at = Some(at(5));
        queues.update_queue(&queue).await.unwrap();
        let scheduled = QueueToken { state: TokenState::Scheduled, place: None, ..token };
        queues.update_tokens(&[scheduled], at(0)).await.unwrap();
        assert_eq!(due(queues, 4).await, Some((id, None)));
        assert_eq!(due(queues, 5).await, Some((id, Some(TickReason::Admission))));
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_queue_ends_with_its_concert_and_is_looked_at_no_more(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let id = sale.concert_id;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, uow.queues(), id, 2).await;
        let due = async |uow: &mut dyn UnitOfWork, seconds| {
            uow.queues().list_occupied(at(seconds)).await.unwrap().into_iter().next().map(|queue| queue.due)
        };
        assert_eq!(due(&mut *uow, 86_399).await, Some(Some(TickReason::Admission)));
        assert_eq!(due(&mut *uow, 86_400).await, Some(Some(TickReason::End)));
        let mut queue = uow.queues().lock_queue(id).await.unwrap().unwrap();
        assert_eq!(queue.ends_at, Some(at(86_400)));
        // Without a performance that isn't cancelled, the last of those that are is what counts.
        uow.concerts().cancel_performance(sale.performance_id, at(1)).await.unwrap();
        assert_eq!(due(&mut *uow, 86_400).await, Some(Some(TickReason::End)));
        uow.concerts().delete_concert(id, at(1)).await.unwrap();
        assert_eq!(due(&mut *uow, 1).await, Some(Some(TickReason::End)));
        assert!(uow.queues().find_queue(id).await.unwrap().is_none());
        assert_eq!(uow.queues().lock_queue(id).await.unwrap().unwrap().ends_at, Some(at(1)));

        assert_eq!(uow.queues().claim_live(id, 1).await.unwrap(), tokens[..1]);
        uow.queues().update_tokens(&[ended(tokens[0], EndReason::Expired)], at(2)).await.unwrap();
        assert!(uow.queues().has_live(id).await.unwrap());
        uow.queues().update_tokens(&[ended(tokens[1], EndReason::Left)], at(2)).await.unwrap();
        assert!(!uow.queues().has_live(id).await.unwrap());
        assert_eq!(due(&mut *uow, 1).await, Some(Some(TickReason::End)), "it is still to be written down");
        queue.ended_number = queue.last_number;
        uow.queues().update_queue(&queue).await.unwrap();
        assert_eq!(due(&mut *uow, 1).await, None);
        // A version of the server that doesn't know of it gives out another token.
        queue.last_number += 1;
        uow.queues().update_queue(&queue).await.unwrap();
        assert!(due(&mut *uow, 1).await.is_some());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn admissions_of_one_instant_add_up(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let queues = uow.queues();
        let record = |seconds, admitted, active| AdmissionRecord {
            concert_id: sale.concert_id,
            admitted_at: at(seconds),
            admitted,
            active,
            settings: QueueSettings::default(),
        };
        for record in [record(0, 3, 3), record(10, 2, 5), record(10, 4, 9)] {
            queues.insert_admission(&record).await.unwrap();
        }
        assert_eq!(queues.count_admitted(sale.concert_id, at(-1), at(99)).await.unwrap(), 9);
        assert_eq!(queues.count_admitted(sale.concert_id, at(0), at(99)).await.unwrap(), 6);
        assert_eq!(queues.count_admitted(sale.concert_id, at(10), at(99)).await.unwrap(), 0);
        assert_eq!(queues.count_admitted(sale.concert_id, at(-1), at(10)).await.unwrap(), 3);
        assert_eq!(queues.live_counts(sale.concert_id, at(65)).await.unwrap().admitted_last_minute, 6);
        assert_eq!(queues.delete_admissions(at(10), 9).await.unwrap(), 1);
        assert_eq!(queues.delete_admissions(at(11), 0).await.unwrap(), 0);
        assert_eq!(queues.count_admitted(sale.concert_id, at(-1), at(99)).await.unwrap(), 6);
    }
}
