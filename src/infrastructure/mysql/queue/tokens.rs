//! The rows of tokens.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    super::{
        rows_by_id::BindAll,
        sql::{padded, placeholder_list, to_row_count},
        unit_of_work::Session,
    },
    rows::{TOKEN, tokens},
    token_writes::TOKENS_PER_CASE,
};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, QueueTokenId, UserId},
    queue::{EndReason, QueueToken, QueueTokenRepository, TokenState},
    repository_error::RepositoryError,
};

impl Session {
    /// Tokens by id, with a locking clause or without.
    async fn tokens_by_id(&mut self, ids: &[QueueTokenId], lock: &str) -> Result<Vec<QueueToken>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text =
            format!("{TOKEN} FORCE INDEX (PRIMARY) WHERE id IN {} ORDER BY id{lock}", placeholder_list(ids.len()));
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        tokens(query.fetch_all(self.connection()).await?)
    }

    pub(super) async fn count_tokens(&mut self, id: ConcertId, status: &str) -> Result<u32, RepositoryError> {
        let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM queue_tokens WHERE concert_id = ? AND status = ?")
            .bind(id.0)
            .bind(status)
            .fetch_one(self.connection())
            .await?;
        to_row_count(found)
    }
}

#[async_trait]
impl QueueTokenRepository for Session {
    async fn list_departed(&mut self, id: ConcertId) -> Result<Vec<u32>, RepositoryError> {
        // The index covers the query, in order.
        Ok(sqlx::query_scalar(
            "SELECT place FROM queue_tokens FORCE INDEX (ix_queue_tokens_waiting) \
             WHERE concert_id = ? AND status = 'LEFT' AND place > 0 ORDER BY place",
        )
        .bind(id.0)
        .fetch_all(self.connection())
        .await?)
    }

    async fn list_departed_since(&mut self, id: ConcertId, since: Instant) -> Result<Vec<u32>, RepositoryError> {
        // For a token that was left, lapses_at is that instant: the index finds the latest ones, however many there
        // are.
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

    async fn delete_ended_tokens(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        // A place that was left and that the head hasn't reached still counts for those behind it. A draw reads its
        // entrants from the tokens until all of its places are written.
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT t.id FROM queue_tokens t FORCE INDEX (ix_queue_tokens_ended) \
             STRAIGHT_JOIN queues q ON q.concert_id = t.concert_id \
             WHERE t.ended_at < ? AND (t.place IS NULL OR t.place <= q.head) \
             AND ((q.sales_open_at IS NULL OR q.drawn_at IS NOT NULL) \
             AND COALESCE(q.draw_placed >= q.entrant_count, TRUE)) ORDER BY t.ended_at LIMIT ?",
        )
        .bind(horizon)
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        // Claimed apart from the join, which would lock the queues, too.
        let ids = self.claim_by_id("queue_tokens", "id", ids).await?;
        self.write_by_id(
            ids,
            |ids| format!("DELETE FROM queue_tokens WHERE id IN {ids} AND ended_at < ?"),
            |query, ids| query.bind_all(ids).bind(horizon),
        )
        .await
    }

    async fn insert_tokens(&mut self, tokens: &[QueueToken]) -> Result<(), RepositoryError> {
        // New tokens are live; one that has ended already ended when it was issued.
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
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
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
        let query = query.bind_all(user_ids);
        let ids: Vec<u64> = query.fetch_all(self.connection()).await?;
        let ids: Vec<_> = ids.into_iter().map(QueueTokenId).collect();
        let mut tokens = self.lock_tokens(&ids).await?;
        let was_left = |token: &QueueToken| token.state == TokenState::Ended(EndReason::Left) && token.place.is_none();
        tokens.retain(|token| !matches!(token.state, TokenState::Ended(_)) || (or_left && was_left(token)));
        Ok(tokens)
    }

    async fn claim_live(&mut self, concert_id: ConcertId, limit: u32) -> Result<Vec<QueueToken>, RepositoryError> {
        // In the index's order, that of the statuses, so that no other rows are locked.
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
        // Reading the ids first, without a lock, keeps the order of locks: an index by user would lock in its own.
        let ids: Vec<_> = ids.into_iter().map(QueueTokenId).collect();
        let mut tokens = self.lock_tokens(&ids).await?;
        tokens.retain(|token| !matches!(token.state, TokenState::Ended(_)));
        Ok(tokens)
    }

    async fn list_waiting(
        &mut self,
        concert_id: ConcertId,
        head: u32,
        limit: u32,
    ) -> Result<Vec<QueueToken>, RepositoryError> {
        // In the index's order, so that no more than `limit` rows are read.
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
        // The index contains the place, so users who are present further back cost no row. Absent users, whose number
        // grows, aren't read.
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
        self.write_by_id(
            ids,
            |ids| {
                format!(
                    "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET status = 'EXPIRED', ended_at = ? WHERE id IN {ids}"
                )
            },
            |query, ids| query.bind(now).bind_all(ids),
        )
        .await
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
        // The rows exist, since they are locked. A revived token loses its end.
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
        // Ascending over all statements, which lock their rows in the order of the primary key.
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
            query.bind_all(rows.into_iter().map(|(id, _)| id)).execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn claim_tokens(&mut self, ids: &[QueueTokenId], now: Instant) -> Result<(), RepositoryError> {
        self.write_by_id(
            ids.iter().map(|id| id.0),
            |ids| {
                format!(
                    "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET claimed_at = ?, lapses_at = expires_at \
                     WHERE id IN {ids} AND status = 'ACTIVE' AND claimed_at IS NULL AND lapses_at > ?"
                )
            },
            |query, ids| query.bind(now).bind_all(ids).bind(now),
        )
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::MySqlPool;

    use super::{
        super::{
            super::fixtures_catalogue::{at, database, is_locked, sale},
            test_tokens::{active, ended, join},
        },
        *,
    };
    use crate::domain::{queue::LiveCounts, unit_of_work::Database};

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_user_has_one_live_token_per_concert(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let first = join(&pool, &mut *uow, sale.concert_id, 1).await[0];
        uow.commit().await.unwrap();
        let id = QueueTokenId::new(sale.concert_id, 2).unwrap();
        let second = QueueToken { id, place: Some(2), ..first };
        let refused = database.begin().await.unwrap().queue_tokens().insert_tokens(&[second]).await;
        let Err(RepositoryError::NotUnique { constraint }) = refused else { panic!("{refused:?}") };
        assert_eq!(constraint, "uq_queue_tokens_live");

        let mut uow = database.begin().await.unwrap();
        uow.queue_tokens().update_tokens(&[ended(first, EndReason::Left)], at(1)).await.unwrap();
        uow.queue_tokens().insert_tokens(&[second]).await.unwrap();
        uow.queue_tokens().insert_tokens(&[]).await.unwrap();
        let live = uow.queue_tokens().lock_tokens_of_joining(sale.concert_id, &[first.user_id], false).await.unwrap();
        assert_eq!(live, [second]);
        assert_eq!(uow.queue_tokens().lock_tokens_of(first.user_id).await.unwrap(), [second]);
        assert!(uow.queue_tokens().lock_tokens_of_joining(sale.concert_id, &[], true).await.unwrap().is_empty());
        assert_eq!(uow.queue_tokens().list_departed(sale.concert_id).await.unwrap(), [1]);
        assert_eq!(uow.queue_tokens().list_departed_since(sale.concert_id, at(1)).await.unwrap(), [1]);
        assert!(uow.queue_tokens().list_departed_since(sale.concert_id, at(2)).await.unwrap().is_empty());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_token_is_read_as_it_was_written_through_its_life(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, &mut *uow, sale.concert_id, 3).await;
        let stored = uow.queue_tokens();
        let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
        assert_eq!(stored.lock_tokens(&ids).await.unwrap(), tokens);

        let admitted = [active(tokens[0], 60), active(tokens[1], 60)];
        stored.update_tokens(&admitted, at(0)).await.unwrap();
        assert_eq!(stored.list_tokens(&ids[..2]).await.unwrap(), admitted);
        // A past deadline isn't moved, and a waiting token isn't changed.
        stored.claim_tokens(&ids[..2], at(60)).await.unwrap();
        assert_eq!(stored.list_tokens(&ids[..2]).await.unwrap(), admitted);
        stored.claim_tokens(&[ids[0], ids[2]], at(59)).await.unwrap();
        stored.claim_tokens(&[], at(59)).await.unwrap();
        let found = stored.list_tokens(&ids).await.unwrap();
        let TokenState::Active(claimed) = found[0].state else { panic!("{found:?}") };
        assert_eq!((claimed.claimed_at, claimed.lapses_at), (Some(at(59)), at(600)));
        let last = at(600) - TimeDelta::microseconds(1);
        for (now, used) in [(at(59), &ids[..1]), (last, &ids[..1]), (at(600), &[])] {
            let used: Vec<_> = used.iter().map(|id| (*id, tokens[0].user_id)).collect();
            assert_eq!(stored.list_claimed_active(&ids, now).await.unwrap(), used, "{now}");
        }
        assert_eq!(found[1..], [admitted[1], tokens[2]]);

        stored.update_tokens(&[ended(tokens[0], EndReason::Completed)], at(70)).await.unwrap();
        stored.update_tokens(&[ended(tokens[0], EndReason::Completed)], at(80)).await.unwrap();
        stored.update_tokens(&[], at(80)).await.unwrap();
        assert_eq!(stored.list_tokens(&ids[..1]).await.unwrap(), [ended(tokens[0], EndReason::Completed)]);
        assert!(stored.list_claimed_active(&ids, at(80)).await.unwrap().is_empty());
        assert!(stored.list_claimed_active(&[], at(80)).await.unwrap().is_empty());
        assert!(stored.list_tokens(&[]).await.unwrap().is_empty());
        uow.commit().await.unwrap();
        let kept: (Instant, Instant) =
            sqlx::query_as("SELECT admitted_at, ended_at FROM queue_tokens WHERE status = 'COMPLETED'")
                .fetch_one(&pool)
                .await
                .unwrap();
        assert_eq!(kept, (at(0), at(70)));
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn active_tokens_can_be_changed_while_another_transaction_locks_the_queue(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, &mut *uow, sale.concert_id, 4).await;
        let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
        let admitted: Vec<_> = tokens.iter().map(|token| active(*token, 60)).collect();
        uow.queue_tokens().update_tokens(&admitted, at(0)).await.unwrap();
        uow.commit().await.unwrap();

        let mut joining = database.begin().await.unwrap();
        joining.queues().lock_queues(&[sale.concert_id]).await.unwrap();
        // A booking has locked the tokens and must not wait for the queue, which comes before tokens in the lock order.
        let mut booking = database.begin().await.unwrap();
        let stored = booking.queue_tokens();
        stored.lock_tokens(&ids).await.unwrap();
        let endings = [EndReason::Completed, EndReason::Left];
        let ended: Vec<_> = tokens.iter().zip(endings).map(|(token, ending)| ended(*token, ending)).collect();
        let held = [active(tokens[2], 70), active(tokens[3], 80)];
        let changed: Vec<_> = ended.into_iter().chain(held).collect();
        stored.update_tokens(&changed, at(50)).await.unwrap();
        assert_eq!(stored.list_tokens(&ids).await.unwrap(), changed);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn waiting_tokens_are_listed_by_place(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, &mut *uow, sale.concert_id, 3).await;
        let stored = uow.queue_tokens();
        let scheduled = |token| QueueToken { state: TokenState::Scheduled, place: None, ..token };
        let before_the_draw: Vec<_> = tokens.iter().copied().map(scheduled).collect();
        stored.update_tokens(&before_the_draw, at(0)).await.unwrap();
        assert!(stored.list_waiting(sale.concert_id, 0, 2).await.unwrap().is_empty());
        let drawn: Vec<_> =
            tokens.iter().zip([3, 1, 2]).map(|(token, place)| QueueToken { place: Some(place), ..*token }).collect();
        stored.update_tokens(&drawn, at(0)).await.unwrap();
        assert_eq!(stored.list_waiting(sale.concert_id, 0, 2).await.unwrap(), [drawn[1], drawn[2]]);
        assert_eq!(stored.list_waiting(sale.concert_id, 1, 9).await.unwrap(), [drawn[2], drawn[0]]);
        uow.commit().await.unwrap();

        let mut uow = database.begin().await.unwrap();
        uow.queue_tokens().list_waiting(sale.concert_id, 0, 9).await.unwrap();
        assert!(!is_locked(&pool, "queue_tokens", "id", tokens[1].id.0).await);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn presence_of_waiting_users_can_be_written_while_another_transaction_locks_the_queue(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let id = sale.concert_id;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, &mut *uow, id, 4).await;
        let admitted = active(tokens[3], 60);
        uow.queue_tokens().update_tokens(&[admitted], at(0)).await.unwrap();
        uow.commit().await.unwrap();

        let mut ticking = database.begin().await.unwrap();
        ticking.queues().lock_queues(&[id]).await.unwrap();
        let mut uow = database.begin().await.unwrap();
        let stored = uow.queue_tokens();
        let present = |number: usize, seconds| (tokens[number].id, tokens[number].user_id, at(seconds));
        let another_user = (tokens[1].id, tokens[0].user_id, at(9));
        let presence = [present(2, 9), present(3, 9), present(0, 5), another_user, present(2, 7)];
        stored.update_presence(&presence).await.unwrap();
        stored.update_presence(&[]).await.unwrap();
        let until = |token, seconds| QueueToken { present_until: Some(at(seconds)), ..token };
        let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
        let expected = [until(tokens[0], 5), tokens[1], until(tokens[2], 7), admitted];
        assert_eq!(stored.list_tokens(&ids).await.unwrap(), expected);

        let returned = async |stored: &mut dyn QueueTokenRepository, head, seconds, limit| {
            stored.list_present_before_head(id, head, at(seconds), limit).await.unwrap()
        };
        assert_eq!(returned(stored, 3, 4, 9).await, [expected[0], expected[2]]);
        assert_eq!(returned(stored, 3, 4, 1).await, [expected[0]]);
        assert_eq!(returned(stored, 2, 4, 9).await, [expected[0]]);
        assert_eq!(returned(stored, 3, 5, 9).await, [expected[2]]);
        assert!(returned(stored, 3, 7, 9).await.is_empty());
        assert_eq!(stored.count_present(id, at(4), 9).await.unwrap(), 2);
        assert_eq!(stored.count_present(id, at(4), 1).await.unwrap(), 1);
        assert_eq!(stored.count_present(id, at(5), 9).await.unwrap(), 1);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn lapsed_tokens_expire_unless_another_transaction_holds_them(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let id = sale.concert_id;
        let mut uow = database.begin().await.unwrap();
        let tokens = join(&pool, &mut *uow, id, 4).await;
        uow.queue_tokens().update_tokens(&[active(tokens[0], 60), active(tokens[1], 60)], at(0)).await.unwrap();
        uow.queue_tokens().update_tokens(&[active(tokens[2], 61)], at(0)).await.unwrap();
        uow.commit().await.unwrap();

        let mut holder = database.begin().await.unwrap();
        holder.queue_tokens().lock_tokens(&[tokens[0].id]).await.unwrap();
        let mut uow = database.begin().await.unwrap();
        assert_eq!(uow.queue_tokens().expire_lapsed(id, at(60), 9).await.unwrap(), 1);
        let expired = uow.queue_tokens().list_tokens(&[tokens[1].id]).await.unwrap();
        assert_eq!(expired, [ended(tokens[1], EndReason::Expired)]);
        assert_eq!(uow.queue_tokens().count_active(id).await.unwrap(), 2);
        let counts = uow.queues().live_counts(id, at(60)).await.unwrap();
        assert_eq!(counts, LiveCounts { waiting: 1, active: 1, admitted_last_minute: 0 });
    }
}
