//! SQL of draws.

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::AssertSqlSafe;

use super::{
    queue_rows::{count, digest},
    sql::{list, padded},
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, QueueTokenId},
    queue::{DrawRepository, Entrant},
    repository_error::RepositoryError,
};

/// How many drawn tokens one statement places: what it takes grows with the square.
const TOKENS_PER_PLACING: usize = 512;

/// The ids of a concert's tokens: up to the `last_number`th, which may not be there yet.
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
        count(found)
    }

    async fn list_entrants(
        &mut self,
        concert_id: ConcertId,
        last_number: u32,
    ) -> Result<Vec<(QueueTokenId, Entrant)>, RepositoryError> {
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
            entrants.push((QueueTokenId(id), Entrant::new(digest(&entrant)?)));
        }
        Ok(entrants)
    }

    async fn list_drawn(
        &mut self,
        concert_id: ConcertId,
        place: u32,
        limit: u32,
    ) -> Result<Vec<(u32, Entrant)>, RepositoryError> {
        let drawn: Vec<(u32, Vec<u8>)> = sqlx::query_as(
            "SELECT place, entrant FROM queue_tokens FORCE INDEX (uq_queue_tokens_place) \
             WHERE concert_id = ? AND place > ? AND place <= ? AND entrant IS NOT NULL ORDER BY place",
        )
        .bind(concert_id.0)
        .bind(place)
        .bind(place.saturating_add(limit))
        .fetch_all(self.connection())
        .await?;
        drawn.into_iter().map(|(place, entrant)| Ok((place, Entrant::new(digest(&entrant)?)))).collect()
    }

    async fn write_places(
        &mut self,
        ids: &[QueueTokenId],
        first_place: u32,
        now: Instant,
    ) -> Result<u32, RepositoryError> {
        let mut before = first_place - 1;
        for ids in ids.chunks(TOKENS_PER_PLACING) {
            // A repeated id is found where it stands first.
            let padded = padded(ids.iter().map(|id| id.0));
            let list = list(padded.len());
            let text = format!(
                "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET place = ? + FIELD(id, {}), \
                 lapses_at = IF(status = 'LEFT', ?, lapses_at), status = IF(status = 'SCHEDULED', 'WAITING', status) \
                 WHERE id IN {list} AND place IS NULL",
                list.trim_matches(['(', ')'])
            );
            let query = sqlx::query(AssertSqlSafe(text)).bind(before);
            let query = padded.iter().fold(query, |query, id| query.bind(*id)).bind(now);
            let query = padded.iter().fold(query, |query, id| query.bind(*id));
            if query.execute(self.connection()).await?.rows_affected() != ids.len() as u64 {
                return Err(RepositoryError::stale("an entrant"));
            }
            before += u32::try_from(ids.len()).unwrap_or(u32::MAX);
        }
        let Some(concert_id) = ids.first().map(|id| id.concert()) else { return Ok(0) };
        let left: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM queue_tokens WHERE concert_id = ? AND status = 'LEFT' AND place BETWEEN ? AND ?",
        )
        .bind(concert_id.0)
        .bind(first_place)
        .bind(before)
        .fetch_one(self.connection())
        .await?;
        count(left)
    }
}
