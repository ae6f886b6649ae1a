//! The record of admissions.

use async_trait::async_trait;

use super::super::{sql::to_row_count, unit_of_work::Session};
use crate::domain::{
    clock::Instant,
    id::ConcertId,
    queue::{AdmissionRecord, AdmissionRepository},
    repository_error::RepositoryError,
};

#[async_trait]
impl AdmissionRepository for Session {
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
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::{
        super::super::fixtures_catalogue::{at, database, sale},
        *,
    };
    use crate::domain::{queue::QueueSettings, unit_of_work::Database};

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn admissions_of_one_instant_add_up(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let record = |seconds, admitted, active| AdmissionRecord {
            concert_id: sale.concert_id,
            admitted_at: at(seconds),
            admitted,
            active,
            settings: QueueSettings::default(),
        };
        for record in [record(0, 3, 3), record(10, 2, 5), record(10, 4, 9)] {
            uow.admissions().insert_admission(&record).await.unwrap();
        }
        assert_eq!(uow.admissions().count_admitted(sale.concert_id, at(-1), at(99)).await.unwrap(), 9);
        assert_eq!(uow.admissions().count_admitted(sale.concert_id, at(0), at(99)).await.unwrap(), 6);
        assert_eq!(uow.admissions().count_admitted(sale.concert_id, at(10), at(99)).await.unwrap(), 0);
        assert_eq!(uow.admissions().count_admitted(sale.concert_id, at(-1), at(10)).await.unwrap(), 3);
        assert_eq!(uow.queues().live_counts(sale.concert_id, at(65)).await.unwrap().admitted_last_minute, 6);
        assert_eq!(uow.admissions().delete_admissions(at(10), 9).await.unwrap(), 1);
        assert_eq!(uow.admissions().delete_admissions(at(11), 0).await.unwrap(), 0);
        assert_eq!(uow.admissions().count_admitted(sale.concert_id, at(-1), at(99)).await.unwrap(), 6);
    }
}
