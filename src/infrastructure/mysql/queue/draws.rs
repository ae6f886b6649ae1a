//! The entrants, order and places of draws.

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::AssertSqlSafe;

use super::{
    super::{
        rows_by_id::BindAll,
        sql::{padded, placeholder_list, to_row_count},
        unit_of_work::Session,
    },
    rows::digest,
};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, QueueTokenId},
    queue::{DrawRepository, Drawn, Entrant},
    repository_error::RepositoryError,
};

/// Maximum of drawn tokens in one statement, whose cost grows with the square of their number.
const TOKENS_PER_STATEMENT: usize = 512;

/// The range of ids of a concert's tokens up to the number `last_number`.
fn id_range(concert_id: ConcertId, last_number: u32) -> (u64, u64) {
    let first = QueueTokenId::new(concert_id, 0).map_or(u64::MAX, |id| id.0);
    (first, first.saturating_add(u64::from(last_number)))
}

#[async_trait]
impl DrawRepository for Session {
    async fn count_entrants(&mut self, concert_id: ConcertId, last_number: u32) -> Result<u32, RepositoryError> {
        let (first, last) = id_range(concert_id, last_number);
        let found: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM queue_tokens FORCE INDEX (PRIMARY) WHERE id BETWEEN ? AND ? AND entrant IS NOT NULL",
        )
        .bind(first)
        .bind(last)
        .fetch_one(self.connection())
        .await?;
        to_row_count(found)
    }

    async fn list_entrants(&mut self, concert_id: ConcertId, last_number: u32) -> Result<Vec<Drawn>, RepositoryError> {
        let (first, last) = id_range(concert_id, last_number);
        let mut found = sqlx::query_as::<_, (u64, Vec<u8>)>(
            "SELECT id, entrant FROM queue_tokens FORCE INDEX (PRIMARY) \
             WHERE id BETWEEN ? AND ? AND entrant IS NOT NULL ORDER BY id",
        )
        .bind(first)
        .bind(last)
        .fetch(self.connection());
        let mut entrants = Vec::new();
        while let Some((id, entrant)) = found.try_next().await? {
            entrants.push(Drawn { id: QueueTokenId(id), entrant: Entrant::new(digest(&entrant)?) });
        }
        Ok(entrants)
    }

    async fn list_drawn(
        &mut self,
        concert_id: ConcertId,
        rank: u32,
        limit: u32,
    ) -> Result<Vec<Entrant>, RepositoryError> {
        let parts: Vec<(u32, Vec<u8>)> = sqlx::query_as(
            "SELECT first_rank, entrants FROM draw_entrants \
             WHERE concert_id = ? AND first_rank > ? AND first_rank <= ? ORDER BY first_rank",
        )
        .bind(concert_id.0)
        .bind(rank)
        .bind(rank.saturating_add(limit))
        .fetch_all(self.connection())
        .await?;
        let mut entrants = Vec::new();
        for (first_rank, bytes) in parts {
            if first_rank as usize != rank as usize + entrants.len() + 1 {
                break;
            }
            for bytes in bytes.chunks(32) {
                entrants.push(Entrant::new(digest(bytes)?));
            }
        }
        Ok(entrants)
    }

    async fn insert_drawn(
        &mut self,
        concert_id: ConcertId,
        first_rank: u32,
        drawn: &[Drawn],
    ) -> Result<(), RepositoryError> {
        let bytes: Vec<u8> = drawn.iter().flat_map(|drawn| *drawn.entrant.bytes()).collect();
        sqlx::query("INSERT INTO draw_entrants (concert_id, first_rank, entrants) VALUES (?, ?, ?)")
            .bind(concert_id.0)
            .bind(first_rank)
            .bind(bytes)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn list_unsealed(&mut self, key: u32, limit: u32) -> Result<Vec<ConcertId>, RepositoryError> {
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT q.concert_id FROM queues q WHERE q.drawn_at IS NULL AND (q.draw_seed IS NOT NULL \
             OR (q.draw_sealed_seed IS NOT NULL AND SUBSTRING(q.draw_sealed_seed, 1, 4) <> ?)) \
             AND (SELECT c.deleted_at IS NULL FROM concerts c WHERE c.id = q.concert_id) \
             ORDER BY q.concert_id LIMIT ?",
        )
        .bind(key.to_be_bytes().to_vec())
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        Ok(ids.into_iter().map(ConcertId).collect())
    }

    async fn write_places(&mut self, drawn: &[Drawn], first_place: u32, now: Instant) -> Result<u32, RepositoryError> {
        let mut before = first_place - 1;
        for drawn in drawn.chunks(TOKENS_PER_STATEMENT) {
            // FIELD finds a repeated id at its first position.
            let padded = padded(drawn.iter().map(|drawn| drawn.id.0));
            let list = placeholder_list(padded.len());
            let text = format!(
                "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET place = ? + FIELD(id, {}), \
                 lapses_at = IF(status = 'LEFT', ?, lapses_at), status = IF(status = 'SCHEDULED', 'WAITING', status) \
                 WHERE id IN {list} AND place IS NULL",
                list.trim_matches(['(', ')'])
            );
            let query = sqlx::query(AssertSqlSafe(text)).bind(before);
            let query = query.bind_all(padded.iter().copied()).bind(now).bind_all(padded);
            if query.execute(self.connection()).await?.rows_affected() != drawn.len() as u64 {
                return Err(RepositoryError::stale("an entrant"));
            }
            before += u32::try_from(drawn.len()).unwrap_or(u32::MAX);
        }
        let Some(concert_id) = drawn.first().map(|drawn| drawn.id.concert()) else { return Ok(0) };
        let left: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM queue_tokens WHERE concert_id = ? AND status = 'LEFT' AND place BETWEEN ? AND ?",
        )
        .bind(concert_id.0)
        .bind(first_place)
        .bind(before)
        .fetch_one(self.connection())
        .await?;
        to_row_count(left)
    }
}
