//! The pages of exports.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime};
use sqlx::FromRow;
use uuid::Uuid;

use super::{point::LedgerRow, sql::datetime, unit_of_work::Session};
use crate::domain::{
    booking::BookingRepository,
    clock::Instant,
    export::{ExportPosition, ExportRange, ExportRepository, ExportedBooking, ExportedTransaction, ExportedUser},
    id::BookingId,
    repository_error::RepositoryError,
    text::{Email, Name},
};

// ix_bookings_created from the position on; the other rows by primary key. No lock.
const BOOKINGS: &str = "SELECT b.id, u.email, u.name, c.title, p.starts_at \
     FROM bookings b FORCE INDEX (ix_bookings_created) STRAIGHT_JOIN users u ON u.id = b.user_id \
     STRAIGHT_JOIN performances p ON p.id = b.performance_id STRAIGHT_JOIN concerts c ON c.id = p.concert_id \
     WHERE b.created_at >= ? AND b.created_at < ? AND (b.created_at > ? OR b.id > ?) \
     ORDER BY b.created_at, b.id LIMIT ?";

// ix_point_transactions_created from the position on; the users by primary key. No lock.
const TRANSACTIONS: &str = "SELECT t.id, t.user_id, t.version, t.type, t.amount, t.balance_after, t.booking_id, t.payment_id, \
     t.created_at, u.email, u.name FROM point_transactions t FORCE INDEX (ix_point_transactions_created) \
     STRAIGHT_JOIN users u ON u.id = t.user_id \
     WHERE t.created_at >= ? AND t.created_at < ? AND (t.created_at > ? OR t.id > ?) \
     ORDER BY t.created_at, t.id LIMIT ?";

/// The columns of an account. A deleted one has no address.
#[derive(FromRow)]
struct UserRow {
    email: Option<String>,
    name: String,
}

impl UserRow {
    fn user(self) -> Option<ExportedUser> {
        let email = self.email?;
        Some(ExportedUser { email: Email::stored(email), name: Name::stored(self.name) })
    }
}

#[derive(FromRow)]
struct BookingDetailsRow {
    id: Uuid,
    title: String,
    starts_at: Instant,
    #[sqlx(flatten)]
    user: UserRow,
}

#[derive(FromRow)]
struct TransactionRow {
    #[sqlx(flatten)]
    entry: LedgerRow,
    #[sqlx(flatten)]
    user: UserRow,
}

/// The last second that a DATETIME can have.
const END_OF_TIME: i64 = 253_402_300_799;

/// The values to bind of a page: its first instant, its end, and the id behind which it begins at its first instant.
fn bounds(range: ExportRange, after: Option<ExportPosition>) -> (NaiveDateTime, NaiveDateTime, Uuid) {
    let (from, id) = after.unwrap_or((range.from.unwrap_or_default(), Uuid::nil()));
    let to = range.to.or(DateTime::from_timestamp(END_OF_TIME, 0)).unwrap_or_default();
    (datetime(from), datetime(to), id)
}

#[async_trait]
impl ExportRepository for Session {
    async fn list_bookings(
        &mut self,
        range: ExportRange,
        after: Option<ExportPosition>,
        limit: u32,
    ) -> Result<Vec<ExportedBooking>, RepositoryError> {
        let (from, to, id) = bounds(range, after);
        let query = sqlx::query_as(BOOKINGS).bind(from).bind(to).bind(from).bind(id).bind(limit);
        let rows: Vec<BookingDetailsRow> = query.fetch_all(self.connection()).await?;
        let ids: Vec<_> = rows.iter().map(|row| BookingId(row.id)).collect();
        let bookings = BookingRepository::list(self, &ids).await?;
        let mut bookings: HashMap<_, _> = bookings.into_iter().map(|booking| (booking.id.0, booking)).collect();
        let exported = |row: BookingDetailsRow| {
            // Bookings are never deleted, so each is found again.
            let booking = bookings.remove(&row.id)?;
            Some(ExportedBooking {
                booking,
                user: row.user.user(),
                title: Name::stored(row.title),
                starts_at: row.starts_at,
            })
        };
        Ok(rows.into_iter().filter_map(exported).collect())
    }

    async fn list_transactions(
        &mut self,
        range: ExportRange,
        after: Option<ExportPosition>,
        limit: u32,
    ) -> Result<Vec<ExportedTransaction>, RepositoryError> {
        let (from, to, id) = bounds(range, after);
        let query = sqlx::query_as(TRANSACTIONS).bind(from).bind(to).bind(from).bind(id).bind(limit);
        let rows: Vec<TransactionRow> = query.fetch_all(self.connection()).await?;
        let exported =
            |row: TransactionRow| Ok(ExportedTransaction { entry: row.entry.try_into()?, user: row.user.user() });
        rows.into_iter().map(exported).collect()
    }
}
