//! SQL of payments.

use async_trait::async_trait;
use rust_decimal::Decimal;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    error::{corrupt, require_rows},
    rows_by_id::BindAll,
    sql,
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    id::{BookingId, PaymentId, UserId},
    page::{Page, PageRequest},
    payment::{Payment, PaymentRepository, PaymentState},
    points::Points,
    repository_error::RepositoryError,
};

/// The columns, in the order of an insert.
macro_rules! columns {
    () => {
        "id, booking_id, user_id, amount, status, paid_at, refunded_at"
    };
}

// The primary key. No lock.
const FIND: &str = concat!("SELECT ", columns!(), " FROM payments WHERE id = ? AND user_id = ?");

// ix_payments_user, backwards. No lock.
const LIST_OF: &str =
    concat!("SELECT ", columns!(), " FROM payments WHERE user_id = ? AND id < ? ORDER BY id DESC LIMIT ?");

#[derive(sqlx::FromRow)]
struct PaymentRow {
    id: Uuid,
    booking_id: Uuid,
    user_id: Uuid,
    amount: Decimal,
    status: String,
    paid_at: Instant,
    refunded_at: Option<Instant>,
}

impl TryFrom<PaymentRow> for Payment {
    type Error = RepositoryError;

    fn try_from(row: PaymentRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            id: PaymentId(row.id),
            booking_id: BookingId(row.booking_id),
            user_id: UserId(row.user_id),
            amount: points(row.amount)?,
            state: match (row.status.as_str(), row.refunded_at) {
                ("COMPLETED", None) => PaymentState::Completed,
                ("REFUNDED", Some(at)) => PaymentState::Refunded(at),
                other => return Err(corrupt("the state of a payment", other)),
            },
            paid_at: row.paid_at,
        })
    }
}

fn points(amount: Decimal) -> Result<Points, RepositoryError> {
    Points::new(amount).map_err(|_| corrupt("the amount of a payment", amount))
}

#[async_trait]
impl PaymentRepository for Session {
    async fn insert(&mut self, payments: &[Payment]) -> Result<(), RepositoryError> {
        for part in sql::parts(payments, sql::ROWS_PER_STATEMENT) {
            let rows = sql::placeholder_rows(7, part.len());
            let text = format!(concat!("INSERT INTO payments (", columns!(), ") VALUES {}"), rows);
            let mut query = sqlx::query(AssertSqlSafe(text));
            for payment in part {
                let refunded_at = match payment.state {
                    PaymentState::Completed => None,
                    PaymentState::Refunded(at) => Some(at),
                };
                query = query
                    .bind(payment.id.0)
                    .bind(payment.booking_id.0)
                    .bind(payment.user_id.0)
                    .bind(payment.amount.as_decimal())
                    .bind(payment.state.name())
                    .bind(payment.paid_at)
                    .bind(refunded_at);
            }
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn refund(&mut self, ids: &[PaymentId], now: Instant) -> Result<(), RepositoryError> {
        // By the primary key also while the table is small: a scan would lock other users' payments.
        let text = |ids: &str| {
            format!(
                "UPDATE payments FORCE INDEX (PRIMARY) SET status = 'REFUNDED', refunded_at = ? \
                 WHERE status = 'COMPLETED' AND id IN {ids}"
            )
        };
        let found =
            self.write_by_id(ids.iter().map(|id| id.0), text, |query, ids| query.bind(now).bind_all(ids)).await?;
        require_rows(found, ids.len(), "a payment")
    }

    async fn list_amounts(&mut self, ids: &[PaymentId]) -> Result<Vec<(PaymentId, Points)>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let padded = sql::padded(ids.iter().map(|id| id.0));
        let text = format!("SELECT id, amount FROM payments WHERE id IN {}", sql::placeholder_list(padded.len()));
        let rows: Vec<(Uuid, Decimal)> =
            sqlx::query_as(AssertSqlSafe(text)).bind_all(padded).fetch_all(self.connection()).await?;
        if rows.len() != ids.len() {
            return Err(corrupt("the number of payments", (rows.len(), ids.len())));
        }
        rows.into_iter().map(|(id, amount)| Ok((PaymentId(id), points(amount)?))).collect()
    }

    async fn find(&mut self, user_id: UserId, id: PaymentId) -> Result<Option<Payment>, RepositoryError> {
        let row: Option<PaymentRow> =
            sqlx::query_as(FIND).bind(id.0).bind(user_id.0).fetch_optional(self.connection()).await?;
        row.map(Payment::try_from).transpose()
    }

    async fn list_page(
        &mut self,
        user_id: UserId,
        page: PageRequest<PaymentId>,
    ) -> Result<Page<Payment>, RepositoryError> {
        let rows: Vec<PaymentRow> = sqlx::query_as(LIST_OF)
            .bind(user_id.0)
            .bind(page.after.map_or(Uuid::max(), |id| id.0))
            .bind(page.rows_to_read())
            .fetch_all(self.connection())
            .await?;
        let payments = rows.into_iter().map(Payment::try_from).collect::<Result<_, _>>()?;
        Ok(Page::of(payments, page.limit))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::*;
    use crate::{
        domain::unit_of_work::Database,
        infrastructure::mysql::{MySqlDatabase, fixtures},
    };

    fn payment(id: u128, user_id: UserId, booking_id: BookingId) -> Payment {
        Payment {
            id: PaymentId(Uuid::from_u128(id)),
            booking_id,
            user_id,
            amount: fixtures::points("50000.50"),
            state: PaymentState::Completed,
            paid_at: fixtures::at(1),
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_users_payments_are_listed_newest_first_a_page_at_a_time(pool: MySqlPool) {
        let (jin, mina) = (fixtures::insert_user(&pool, 1).await, fixtures::insert_user(&pool, 2).await);
        let hall = fixtures::insert_hall(&pool, 4).await;
        let mut payments = vec![];
        for (index, (id, user_id)) in [(11, jin), (12, jin), (13, jin), (14, mina)].into_iter().enumerate() {
            let booking_id = fixtures::insert_booking(&pool, user_id, &hall, index, "50000.50").await;
            payments.push(payment(id, user_id, booking_id));
        }
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        uow.payments().insert(&[]).await.unwrap();
        uow.payments().insert(&payments).await.unwrap();

        assert_eq!(uow.payments().find(jin, payments[0].id).await.unwrap(), Some(payments[0]));
        assert_eq!(uow.payments().find(mina, payments[0].id).await.unwrap(), None);
        let page = uow.payments().list_page(jin, PageRequest::first(2)).await.unwrap();
        assert_eq!((page.items, page.has_more), (vec![payments[2], payments[1]], true));
        let next = PageRequest { after: Some(payments[1].id), limit: 2 };
        let page = uow.payments().list_page(jin, next).await.unwrap();
        assert_eq!((page.items, page.has_more), (vec![payments[0]], false));
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_booking_is_paid_once_and_exactly(pool: MySqlPool) {
        let jin = fixtures::insert_user(&pool, 1).await;
        let hall = fixtures::insert_hall(&pool, 1).await;
        let booking_id = fixtures::insert_booking(&pool, jin, &hall, 0, "50000.50").await;
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();

        let too_little = Payment { amount: fixtures::points("50000.49"), ..payment(10, jin, booking_id) };
        let refused = uow.payments().insert(&[too_little]).await;
        assert!(matches!(refused, Err(RepositoryError::Storage(_))), "{refused:?}");

        uow.payments().insert(&[payment(11, jin, booking_id)]).await.unwrap();
        let refused = uow.payments().insert(&[payment(12, jin, booking_id)]).await.unwrap_err();
        assert!(
            matches!(&refused, RepositoryError::NotUnique { constraint } if constraint == "uq_payments_booking"),
            "{refused:?}"
        );
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_payment_is_refunded_once(pool: MySqlPool) {
        let jin = fixtures::insert_user(&pool, 1).await;
        let hall = fixtures::insert_hall(&pool, 3).await;
        let mut payments = vec![];
        for (index, id) in [11, 12, 13].into_iter().enumerate() {
            let booking_id = fixtures::insert_booking(&pool, jin, &hall, index, "50000.50").await;
            payments.push(payment(id, jin, booking_id));
        }
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        uow.payments().insert(&payments).await.unwrap();
        let ids: Vec<_> = payments.iter().map(|payment| payment.id).collect();

        let mut paid = uow.payments().list_amounts(&ids).await.unwrap();
        paid.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(paid, ids.iter().map(|id| (*id, fixtures::points("50000.50"))).collect::<Vec<_>>());
        let unknown = uow.payments().list_amounts(&[ids[0], PaymentId(Uuid::nil())]).await;
        assert!(matches!(unknown, Err(RepositoryError::Corrupt(_))), "{unknown:?}");

        uow.payments().refund(&[], fixtures::at(2)).await.unwrap();
        // Three ids are bound as four: the repeated one must not count twice.
        uow.payments().refund(&ids, fixtures::at(2)).await.unwrap();
        let found = uow.payments().find(jin, ids[0]).await.unwrap().unwrap();
        assert_eq!(found.state, PaymentState::Refunded(fixtures::at(2)));
        let again = uow.payments().refund(&ids[..1], fixtures::at(3)).await;
        assert!(matches!(again, Err(RepositoryError::Contention { .. })), "{again:?}");
    }
}
