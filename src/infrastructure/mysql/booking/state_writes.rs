//! Writes of the states of bookings.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    super::{
        error::require_rows,
        rows_by_id::{BindAll, Statement},
        sql::{padded, placeholder_list},
        unit_of_work::Session,
    },
    changes::{booking_ids, case_expression},
};
use crate::domain::{booking::Booking, clock::Instant, language::Language, repository_error::RepositoryError};

impl Session {
    /// Writes the deadlines of extended holds, and returns the number of rows found. It finds bookings that are pending
    /// in the table: also those extended and then paid or cancelled in this transaction, not those extended earlier.
    pub(super) async fn write_extensions(&mut self, bookings: &[&Booking]) -> Result<u64, RepositoryError> {
        if bookings.is_empty() {
            return Ok(0);
        }
        let deadlines = padded(bookings.iter().map(|booking| (booking.id.0, booking.held_until)));
        let text = format!(
            "UPDATE bookings FORCE INDEX (PRIMARY) SET extended = TRUE, held_until = {} \
             WHERE id IN {} AND status = 'PENDING'",
            case_expression("id", deadlines.len()),
            placeholder_list(deadlines.len())
        );
        let query = sqlx::query(AssertSqlSafe(text));
        let query = deadlines.iter().fold(query, |query, (id, deadline)| query.bind(*id).bind(*deadline));
        let query = query.bind_all(deadlines.into_iter().map(|(id, _)| id));
        Ok(query.execute(self.connection()).await?.rows_affected())
    }

    pub(super) async fn write_confirmed(
        &mut self,
        bookings: &[&Booking],
        language: Option<Language>,
    ) -> Result<(), RepositoryError> {
        let text = |ids: &str| {
            format!(
                "UPDATE bookings b FORCE INDEX (PRIMARY) STRAIGHT_JOIN payments p ON p.booking_id = b.id \
                 SET b.status = 'CONFIRMED', b.payment_id = p.id, b.confirmed_at = p.paid_at, b.language = ? \
                 WHERE b.id IN {ids} AND b.status = 'PENDING'"
            )
        };
        let bind = |query: Statement, ids| query.bind(language.map(Language::tag)).bind_all(ids);
        self.write_states(bookings, text, bind).await
    }

    pub(super) async fn write_expired(&mut self, bookings: &[&Booking]) -> Result<(), RepositoryError> {
        let text = |ids: &str| {
            format!(
                "UPDATE bookings FORCE INDEX (PRIMARY) SET status = 'EXPIRED' WHERE id IN {ids} AND status = 'PENDING'"
            )
        };
        self.write_states(bookings, text, BindAll::bind_all).await
    }

    pub(super) async fn write_cancelled(
        &mut self,
        bookings: &[&Booking],
        at: Instant,
        language: Option<Language>,
    ) -> Result<(), RepositoryError> {
        let text = |ids: &str| {
            format!(
                "UPDATE bookings FORCE INDEX (PRIMARY) SET status = 'CANCELLED', cancelled_at = ?, language = ? \
                 WHERE id IN {ids} AND status = 'PENDING'"
            )
        };
        let bind = |query: Statement, ids| query.bind(at).bind(language.map(Language::tag)).bind_all(ids);
        self.write_states(bookings, text, bind).await
    }

    /// Writes refunded bookings. One that is paid and refunded in the same transaction is still pending in the table;
    /// its payment is stored, as for every confirmed booking.
    pub(super) async fn write_refunded(
        &mut self,
        bookings: &[&Booking],
        at: Instant,
        language: Option<Language>,
    ) -> Result<(), RepositoryError> {
        let text = |ids: &str| {
            format!(
                "UPDATE bookings b FORCE INDEX (PRIMARY) STRAIGHT_JOIN payments p ON p.booking_id = b.id \
                 SET b.status = 'REFUNDED', b.payment_id = p.id, b.confirmed_at = p.paid_at, b.cancelled_at = ?, \
                 b.language = ? WHERE b.id IN {ids} AND b.status IN ('PENDING', 'CONFIRMED')"
            )
        };
        let bind = |query: Statement, ids| query.bind(at).bind(language.map(Language::tag)).bind_all(ids);
        self.write_states(bookings, text, bind).await
    }

    /// Writes the rows of these bookings. [`RepositoryError::Contention`] if one isn't in the state that was read.
    async fn write_states(
        &mut self,
        bookings: &[&Booking],
        text: impl FnOnce(&str) -> String + Send,
        bind: impl FnOnce(Statement, Vec<Uuid>) -> Statement + Send,
    ) -> Result<(), RepositoryError> {
        let found = self.write_by_id(booking_ids(bookings), text, bind).await?;
        require_rows(found, bookings.len(), "a booking")
    }
}
