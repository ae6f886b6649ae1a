//! Searches for bookings of all users.

use sqlx::{FromRow, MySql, QueryBuilder};

use super::{
    super::unit_of_work::Session,
    rows::{BookingRow, DETAILS},
};
use crate::domain::{
    booking::{BookingDetails, BookingSearch},
    clock::Instant,
    id::BookingId,
    page::{Page, PageRequest},
    repository_error::RepositoryError,
    text::Email,
};

#[derive(FromRow)]
struct DetailsRow {
    #[sqlx(flatten)]
    booking: BookingRow,
    email: Option<String>,
}

/// Adds the condition of a status at an instant.
pub(super) fn push_status(query: &mut QueryBuilder<MySql>, status: Option<&'static str>, now: Instant) {
    match status {
        Some("PENDING") => {
            query.push(" AND status = 'PENDING' AND held_until > ").push_bind(now);
        }
        Some("EXPIRED") => {
            query.push(" AND (status = 'EXPIRED' OR (status = 'PENDING' AND held_until <= ");
            query.push_bind(now).push("))");
        }
        Some(status) => {
            query.push(" AND status = ").push_bind(status);
        }
        None => {}
    }
}

/// Adds a query for the ids of a page, as `found_id`. It reads the entries of one index: of the user, in order; of the
/// performances; of the status; else the primary key, backwards. A performance's or status's entries are sorted,
/// without their rows.
fn push_ids(query: &mut QueryBuilder<MySql>, search: &BookingSearch, page: PageRequest<BookingId>, now: Instant) {
    if let Some(user_id) = search.user_id {
        query.push("SELECT b.id AS found_id FROM bookings b FORCE INDEX (ix_bookings_user) WHERE b.user_id = ");
        query.push_bind(user_id.0);
        if let Some(id) = search.concert_id {
            query.push(" AND b.concert_id = ").push_bind(id.0);
        }
        if let Some(id) = search.performance_id {
            query.push(" AND b.performance_id = ").push_bind(id.0);
        }
    } else if search.concert_id.is_some() || search.performance_id.is_some() {
        query.push(
            "SELECT b.id AS found_id FROM performances p STRAIGHT_JOIN bookings b \
             FORCE INDEX (ix_bookings_performance) ON b.performance_id = p.id WHERE TRUE",
        );
        if let Some(id) = search.concert_id {
            query.push(" AND p.concert_id = ").push_bind(id.0);
        }
        if let Some(id) = search.performance_id {
            query.push(" AND p.id = ").push_bind(id.0);
        }
    } else {
        let index = if search.status.is_some() { "ix_bookings_expiry" } else { "PRIMARY" };
        query.push(format!("SELECT b.id AS found_id FROM bookings b FORCE INDEX ({index}) WHERE TRUE"));
    }
    push_status(query, search.status, now);
    if let Some(after) = page.after {
        query.push(" AND b.id < ").push_bind(after.0);
    }
    query.push(" ORDER BY b.id DESC LIMIT ").push_bind(page.rows_to_read());
}

impl Session {
    pub(super) async fn search_bookings(
        &mut self,
        search: &BookingSearch,
        page: PageRequest<BookingId>,
        now: Instant,
    ) -> Result<Page<BookingDetails>, RepositoryError> {
        let mut query = QueryBuilder::new(format!("{DETAILS} FROM ("));
        push_ids(&mut query, search, page, now);
        query.push(") found STRAIGHT_JOIN bookings b FORCE INDEX (PRIMARY) ON b.id = found_id ORDER BY b.id DESC");
        let rows = query.build_query_as().fetch_all(self.connection()).await?;
        Ok(Page::of(self.with_details(rows).await?, page.limit))
    }

    pub(super) async fn find_booking_details(
        &mut self,
        id: BookingId,
    ) -> Result<Option<BookingDetails>, RepositoryError> {
        let mut query = QueryBuilder::new(format!("{DETAILS} FROM bookings b WHERE b.id = "));
        query.push_bind(id.0);
        let rows = query.build_query_as().fetch_all(self.connection()).await?;
        Ok(self.with_details(rows).await?.pop())
    }

    async fn with_details(&mut self, rows: Vec<DetailsRow>) -> Result<Vec<BookingDetails>, RepositoryError> {
        let (rows, emails): (Vec<_>, Vec<_>) = rows.into_iter().map(|row| (row.booking, row.email)).unzip();
        let bookings = self.with_seats(rows).await?;
        let details = |(booking, email): (_, Option<_>)| BookingDetails { booking, email: email.map(Email::stored) };
        Ok(bookings.into_iter().zip(emails).map(details).collect())
    }
}
