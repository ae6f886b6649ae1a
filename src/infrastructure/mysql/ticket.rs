//! SQL of the uses of tickets.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    rows_by_id::BindAll,
    sql::{padded, placeholder_list},
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    id::{BookingId, SeatId},
    repository_error::RepositoryError,
    ticket::{TicketRepository, UsedTicket},
};

// The primary key begins with the booking. No lock.
const LIST_USED: &str = "SELECT seat_id, admitted_at FROM used_tickets WHERE booking_id = ?";

// The primary key.
//
// A cluster of databases replicates changes, not locks: a use and a refund at different nodes must change the same row,
// or both would succeed. The booking comes before the use, so that a second use is refused as a conflict, not as a
// duplicate.
const TOUCH_BOOKING: &str = "UPDATE bookings SET write_count = write_count + 1 WHERE id = ?";

// The foreign keys lock the rows of the booking's seat, the payment and the administrator in share mode.
const INSERT_USE: &str = "INSERT INTO used_tickets (booking_id, seat_id, payment_id, admitted_at, admitted_by) \
                          VALUES (?, ?, ?, ?, ?)";

#[async_trait]
impl TicketRepository for Session {
    async fn list_used(&mut self, booking_id: BookingId) -> Result<Vec<(SeatId, Instant)>, RepositoryError> {
        let rows: Vec<(u64, Instant)> =
            sqlx::query_as(LIST_USED).bind(booking_id.0).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(|(seat, at)| (SeatId(seat), at)).collect())
    }

    async fn list_bookings_with_uses(&mut self, ids: &[BookingId]) -> Result<Vec<BookingId>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // The primary key begins with the booking. No lock.
        let ids = padded(ids.iter().map(|id| id.0));
        let text =
            format!("SELECT DISTINCT booking_id FROM used_tickets WHERE booking_id IN {}", placeholder_list(ids.len()));
        let found: Vec<Uuid> =
            sqlx::query_scalar(AssertSqlSafe(text)).bind_all(ids).fetch_all(self.connection()).await?;
        Ok(found.into_iter().map(BookingId).collect())
    }

    async fn insert_use(&mut self, used: &UsedTicket) -> Result<(), RepositoryError> {
        sqlx::query(TOUCH_BOOKING).bind(used.booking_id.0).execute(self.connection()).await?;
        sqlx::query(INSERT_USE)
            .bind(used.booking_id.0)
            .bind(used.seat_id.0)
            .bind(used.payment_id.0)
            .bind(used.admitted_at)
            .bind(used.admitted_by.0)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
