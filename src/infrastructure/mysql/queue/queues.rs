//! The rows of queues.

use async_trait::async_trait;
use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, MySql, mysql::MySqlArguments, query::Query};

use super::{
    super::{
        error::require_rows,
        rows_by_id::BindAll,
        sql::{datetime, padded, placeholder_list, to_row_count},
        unit_of_work::Session,
    },
    rows::{ANY_QUEUE, OF_CONCERT, QueueRow, revealed_seed, sealed_seed},
};
use crate::domain::{
    clock::Instant,
    id::ConcertId,
    queue::{AdmissionRepository, LiveCounts, OccupiedQueue, Queue, QueueRepository},
    repository_error::RepositoryError,
};

/// The columns written for new and changed queues alike; [`bind_queue`] binds them.
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
    /// A queue by the primary key, with a locking clause. The concert may be deleted.
    async fn any_queue(&mut self, id: ConcertId, lock: &str) -> Result<Option<Queue>, RepositoryError> {
        let row: Option<QueueRow> = sqlx::query_as(AssertSqlSafe(format!("{ANY_QUEUE} = ? {lock}")))
            .bind(id.0)
            .fetch_optional(self.connection())
            .await?;
        row.map(Queue::try_from).transpose()
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
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let rows: Vec<QueueRow> = query.fetch_all(self.connection()).await?;
        rows.into_iter().map(Queue::try_from).collect()
    }

    async fn lock_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError> {
        self.any_queue(id, "FOR UPDATE").await
    }

    async fn claim_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError> {
        self.any_queue(id, "FOR UPDATE SKIP LOCKED").await
    }

    async fn update_queue(&mut self, queue: &Queue) -> Result<(), RepositoryError> {
        // The row changes even if no value does, so that two writes at different nodes of a cluster conflict.
        let text = format!("UPDATE queues SET {QUEUE_VALUES}, write_count = write_count + 1 WHERE concert_id = ?");
        let result = bind_queue(sqlx::query(AssertSqlSafe(text)), queue).execute(self.connection()).await?;
        require_rows(result.rows_affected(), 1, "a queue")
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
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::{
        super::super::fixtures_catalogue::{at, database, is_locked, sale},
        *,
    };
    use crate::domain::{
        queue::{QueueMode, QueueSettings},
        unit_of_work::Database,
    };

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_queue_is_read_as_it_was_written(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let ids = [ConcertId(999), sale.concert_id];
        let mut queue = uow.queues().lock_queues(&ids).await.unwrap().remove(0);
        assert_eq!((queue.settings, queue.last_decision_at), (QueueSettings::default(), at(0)));
        // A join must not wait for a booking, which locks the concert in share mode.
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

    /// On a cluster of databases, two writes at different nodes conflict only if both change the row.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_write_of_equal_values_changes_the_row(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let queue = uow.queues().lock_queue(sale.concert_id).await.unwrap().unwrap();
        uow.queues().update_queue(&queue).await.unwrap();
        uow.queues().update_queue(&queue).await.unwrap();
        uow.commit().await.unwrap();
        let writes = "SELECT CAST(write_count AS SIGNED) FROM queues WHERE concert_id = ?";
        let writes: i64 = sqlx::query_scalar(writes).bind(sale.concert_id.0).fetch_one(&pool).await.unwrap();
        assert_eq!(writes, 2);
    }
}
