//! The locks and reads of best-available selection.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::super::{
    rows_by_id::BindAll,
    sql::{IDS_PER_STATEMENT, padded, placeholder_list},
    unit_of_work::Session,
};
use crate::domain::{
    booking::ChoiceRepository,
    clock::Instant,
    id::{PerformanceId, SeatId},
    repository_error::RepositoryError,
};

#[async_trait]
impl ChoiceRepository for Session {
    async fn lock_choices(&mut self, performance_ids: &[PerformanceId]) -> Result<(), RepositoryError> {
        // One by one, so that they are locked in this order. A row is locked exclusively, new or not. It is changed, so
        // that two choices at different nodes of a cluster conflict.
        for id in performance_ids {
            sqlx::query(
                "INSERT INTO seat_choices (performance_id) VALUES (?) \
                 ON DUPLICATE KEY UPDATE write_count = write_count + 1",
            )
            .bind(id.0)
            .execute(self.connection())
            .await?;
        }
        Ok(())
    }

    async fn delete_choices(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        // Scans the table, which has few rows: those of past performances are deleted.
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT c.performance_id FROM seat_choices c STRAIGHT_JOIN performances p ON p.id = c.performance_id \
             WHERE p.starts_at < ? LIMIT ?",
        )
        .bind(horizon)
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        let ids = self.claim_by_id("seat_choices", "performance_id", ids).await?;
        self.write_by_id(
            ids,
            |ids| format!("DELETE FROM seat_choices WHERE performance_id IN {ids}"),
            BindAll::bind_all,
        )
        .await
    }

    async fn list_taken_seats(
        &mut self,
        performance_id: PerformanceId,
        now: Instant,
    ) -> Result<Vec<SeatId>, RepositoryError> {
        // The index covers the query.
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT seat_id FROM seat_claims FORCE INDEX (ix_seat_claims_changed) \
             WHERE performance_id = ? AND (held_until IS NULL OR held_until > ?)",
        )
        .bind(performance_id.0)
        .bind(now)
        .fetch_all(self.connection())
        .await?;
        Ok(ids.into_iter().map(SeatId).collect())
    }

    async fn claim_seats(&mut self, ids: &[SeatId]) -> Result<Vec<SeatId>, RepositoryError> {
        let mut claimed = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_PER_STATEMENT) {
            let ids = padded(ids.iter().map(|id| id.0));
            // By the primary key: another access path would lock other seats, too.
            let text = format!(
                "SELECT id FROM seats FORCE INDEX (PRIMARY) WHERE id IN {} ORDER BY id FOR UPDATE SKIP LOCKED",
                placeholder_list(ids.len())
            );
            let query = sqlx::query_scalar(AssertSqlSafe(text)).bind_all(ids);
            let ids: Vec<u64> = query.fetch_all(self.connection()).await?;
            claimed.extend(ids.into_iter().map(SeatId));
        }
        Ok(claimed)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::super::super::fixtures_catalogue::{at, database, hold, is_locked, payment, sale, user, write};
    use crate::domain::{booking::BookingState, unit_of_work::Database};

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn one_transaction_at_a_time_selects_seats_of_a_performance(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let ids = [sale.performance_id];
        // The row is new the first time, and exists the second time.
        for _ in 0..2 {
            let mut first = database.begin().await.unwrap();
            first.concerts().share_performances(&ids).await.unwrap();
            first.choices().lock_choices(&ids).await.unwrap();
            let mut second = database.begin().await.unwrap();
            second.concerts().share_performances(&ids).await.unwrap();
            second.seat_claims().lock_seats(&[(sale.seats[0].id, sale.performance_id)]).await.unwrap();
            let mut waiting = Box::pin(async move {
                second.choices().lock_choices(&ids).await.unwrap();
                second.commit().await.unwrap();
            });
            assert!(futures::poll!(&mut waiting).is_pending());
            first.commit().await.unwrap();
            waiting.await;
        }
        assert!(!is_locked(&pool, "seat_choices", "performance_id", sale.performance_id.0).await);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn seats_are_taken_while_they_are_held_and_once_they_are_sold(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let user = user(&pool, 1).await;
        let mut bookings = [sale.booking(1, user, 0, 2), sale.booking(2, user, 3, 1), sale.booking(3, user, 5, 2)];
        bookings[0].held_until = at(200);
        hold(&database, &bookings).await;
        let mut uow = database.begin().await.unwrap();
        let payment_id = payment(&pool, &bookings[1], at(10)).await;
        bookings[1].state = BookingState::Confirmed { at: at(10), payment_id };
        bookings[2].state = BookingState::Cancelled { at: at(10) };
        write(&mut uow, &bookings[1..], at(10)).await;
        uow.commit().await.unwrap();
        let mut repositories = database.read().await.unwrap();
        for (instant, taken) in [(199, vec![0, 1, 3]), (200, vec![3]), (9_999, vec![3])] {
            let mut found = repositories.choices().list_taken_seats(sale.performance_id, at(instant)).await.unwrap();
            found.sort_unstable();
            assert_eq!(found, taken.into_iter().map(|seat: usize| sale.seats[seat].id).collect::<Vec<_>>());
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn seats_are_locked_except_those_that_another_transaction_has_locked(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let [first, second, third] = [0, 1, 2].map(|seat| sale.seats[seat].id);
        let mut other = database.begin().await.unwrap();
        other.seat_claims().lock_seats(&[(second, sale.performance_id)]).await.unwrap();
        let mut uow = database.begin().await.unwrap();
        assert_eq!(uow.choices().claim_seats(&[third, second, first]).await.unwrap(), [first, third]);
        assert_eq!(uow.choices().claim_seats(&[]).await.unwrap(), []);
        drop(other);
        assert!(is_locked(&pool, "seats", "id", first.0).await);
        assert!(!is_locked(&pool, "seats", "id", sale.seats[3].id.0).await);
    }
}
