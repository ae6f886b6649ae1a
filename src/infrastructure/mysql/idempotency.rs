//! SQL of idempotency keys.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{error::corrupt, rows_by_id::BindAll, sql, unit_of_work::Session};
use crate::domain::{
    clock::Instant,
    id::UserId,
    idempotency::{Answer, IdempotencyRecord, IdempotencyRepository, KeyDigest},
    repository_error::RepositoryError,
};

// ix_idempotency_keys_created. Locks the records found, and skips locked ones, which another instance deletes.
const CLAIM_OLDER: &str = "SELECT digest FROM idempotency_keys FORCE INDEX (ix_idempotency_keys_created) \
                           WHERE created_at < ? ORDER BY created_at LIMIT ? FOR UPDATE SKIP LOCKED";

#[derive(sqlx::FromRow)]
struct IdempotencyRow {
    digest: Vec<u8>,
    user_id: Uuid,
    fingerprint: Vec<u8>,
    status: u16,
    body: Vec<u8>,
    created_at: Instant,
}

impl TryFrom<IdempotencyRow> for IdempotencyRecord {
    type Error = RepositoryError;

    fn try_from(row: IdempotencyRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            digest: row.digest.try_into().map_err(|digest| corrupt("the digest of an idempotency key", digest))?,
            user_id: UserId(row.user_id),
            fingerprint: row.fingerprint.try_into().map_err(|digest| corrupt("a fingerprint", digest))?,
            answer: Answer { status: row.status, body: row.body },
            created_at: row.created_at,
        })
    }
}

#[async_trait]
impl IdempotencyRepository for Session {
    async fn list(&mut self, digests: &[KeyDigest]) -> Result<Vec<IdempotencyRecord>, RepositoryError> {
        if digests.is_empty() {
            return Ok(vec![]);
        }
        let digests = sql::padded(digests);
        let text = format!(
            "SELECT digest, user_id, fingerprint, status, body, created_at FROM idempotency_keys WHERE digest IN {}",
            sql::placeholder_list(digests.len())
        );
        let query = sqlx::query_as::<_, IdempotencyRow>(AssertSqlSafe(text));
        let query = query.bind_all(digests.into_iter().map(<[u8; 32]>::as_slice));
        let rows = query.fetch_all(self.connection()).await?;
        rows.into_iter().map(IdempotencyRecord::try_from).collect()
    }

    async fn insert(&mut self, records: &[IdempotencyRecord]) -> Result<(), RepositoryError> {
        // Always in the same order: two transactions with the same keys wait for each other without a deadlock.
        let mut records: Vec<_> = records.iter().collect();
        records.sort_unstable_by_key(|record| record.digest);
        for records in sql::parts(&records, sql::rows_per_statement()) {
            let text = format!(
                "INSERT INTO idempotency_keys (digest, user_id, fingerprint, status, body, created_at) VALUES {}",
                sql::placeholder_rows(6, records.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for record in records {
                query = query
                    .bind(record.digest.as_slice())
                    .bind(record.user_id.0)
                    .bind(record.fingerprint.as_slice())
                    .bind(record.answer.status)
                    .bind(record.answer.body.as_slice())
                    .bind(record.created_at);
            }
            match query.execute(self.connection()).await.map_err(RepositoryError::from) {
                Ok(_) => {}
                // The caller repeats the transaction, and finds the recorded answer.
                Err(RepositoryError::NotUnique { .. }) => return Err(RepositoryError::stale("an idempotency key")),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn delete_older(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        let digests: Vec<Vec<u8>> =
            sqlx::query_scalar(CLAIM_OLDER).bind(horizon).bind(limit).fetch_all(self.connection()).await?;
        let text = |digests: &str| format!("DELETE FROM idempotency_keys WHERE digest IN {digests}");
        self.write_by_id(digests, text, BindAll::bind_all).await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{MySqlPool, Row};

    use super::*;
    use crate::{
        domain::unit_of_work::Database,
        infrastructure::mysql::{MySqlDatabase, fixtures},
    };

    fn record(digest: u8, seconds: i64) -> IdempotencyRecord {
        IdempotencyRecord {
            digest: [digest; 32],
            user_id: UserId(Uuid::from_u128(1)),
            fingerprint: [9; 32],
            answer: Answer { status: 201, body: b"{\"b\":1, \"a\":\xff}".to_vec() },
            created_at: fixtures::at(seconds),
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn answers_come_back_byte_for_byte(pool: MySqlPool) {
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let keys = uow.idempotency();
        keys.insert(&[]).await.unwrap();
        keys.insert(&[record(3, 3), record(1, 1), record(2, 2)]).await.unwrap();

        assert!(keys.list(&[]).await.unwrap().is_empty());
        let mut found = keys.list(&[[1; 32], [4; 32], [3; 32]]).await.unwrap();
        found.sort_unstable_by_key(|record| record.digest);
        assert_eq!(found.len(), 2);
        for (found, expected) in found.iter().zip([record(1, 1), record(3, 3)]) {
            assert_eq!((found.digest, found.user_id), (expected.digest, expected.user_id));
            assert_eq!((found.fingerprint, found.created_at), (expected.fingerprint, expected.created_at));
            assert_eq!(found.answer, expected.answer);
        }
    }

    /// Batches have any size, and a connection keeps few prepared statements.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn batches_of_every_size_are_stored_by_a_few_statements(pool: MySqlPool) {
        let mut session = Session::Plain(pool.acquire().await.unwrap());
        let mut digest = 0_u32;
        for size in 1..=128 {
            let records: Vec<_> = std::iter::repeat_with(|| {
                digest += 1;
                let mut record = record(0, 1);
                record.digest[..4].copy_from_slice(&digest.to_be_bytes());
                record
            })
            .take(size)
            .collect();
            session.insert(&records).await.unwrap();
            let digests: Vec<_> = records.iter().map(|record| record.digest).collect();
            assert_eq!(IdempotencyRepository::list(&mut session, &digests).await.unwrap().len(), size);
        }
        let status = sqlx::raw_sql("SHOW SESSION STATUS LIKE 'Com_stmt_prepare'");
        let row = status.fetch_one(session.connection()).await.unwrap();
        let prepared: u32 = row.get_unchecked::<String, _>(1).parse().unwrap();
        assert!(prepared <= 50, "{prepared} statements were prepared");
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_key_is_recorded_once_and_the_second_transaction_waits_for_the_first(pool: MySqlPool) {
        let database = MySqlDatabase::new(pool);
        let mut first = database.begin().await.unwrap();
        let mut second = database.begin().await.unwrap();
        first.idempotency().insert(&[record(1, 1)]).await.unwrap();

        let records = [record(2, 2), record(1, 2)];
        let (refused, committed) = tokio::join!(second.idempotency().insert(&records), first.commit());
        committed.unwrap();
        assert!(matches!(refused, Err(RepositoryError::Contention { what: "an idempotency key", .. })), "{refused:?}");
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn old_keys_are_deleted_oldest_first_a_few_at_a_time(pool: MySqlPool) {
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let keys = uow.idempotency();
        keys.insert(&[record(1, 1), record(2, 2), record(3, 3), record(4, 4)]).await.unwrap();
        assert_eq!(keys.delete_older(fixtures::at(4), 2).await.unwrap(), 2);
        assert_eq!(keys.list(&[[1; 32], [2; 32], [3; 32]]).await.unwrap().len(), 1);
        assert_eq!(keys.delete_older(fixtures::at(4), 2).await.unwrap(), 1);
        assert_eq!(keys.list(&[[4; 32]]).await.unwrap().len(), 1);
    }
}
