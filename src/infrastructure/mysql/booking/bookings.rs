//! The rows of bookings and of their seats.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, MySql, QueryBuilder, mysql::MySqlArguments, query::QueryAs};
use uuid::Uuid;

use super::{
    super::{
        error::require_rows,
        rows_by_id::BindAll,
        sql::{ROWS_PER_STATEMENT, padded, parts, placeholder_list, placeholder_rows, to_row_count},
        unit_of_work::Session,
    },
    SEATS_PER_STATEMENT,
    changes::BookingChanges,
    rows::{BOOKING, BookedSeatRow, BookingRow, OpenRow, StateRow, points},
    search,
};
use crate::domain::{
    booking::{BookedSeat, Booking, BookingDetails, BookingRepository, BookingSearch, BookingState, OpenBooking},
    clock::Instant,
    id::{BookingId, ConcertId, PerformanceId, SeatId, UserId},
    page::{Page, PageRequest},
    repository_error::RepositoryError,
};

/// The open bookings of these users that meet a condition, by `ix_bookings_limit`. No lock. The caller binds the
/// condition's values.
fn select_open(user_ids: &[UserId], condition: &str) -> QueryAs<'static, MySql, OpenRow, MySqlArguments> {
    let user_ids = padded(user_ids.iter().map(|id| id.0));
    let text = format!(
        "SELECT id, user_id, concert_id, performance_id, status, seat_count, complimentary, held_until, created_at \
         FROM bookings \
         FORCE INDEX (ix_bookings_limit) WHERE user_id IN {} AND {condition}",
        placeholder_list(user_ids.len())
    );
    sqlx::query_as(AssertSqlSafe(text)).bind_all(user_ids)
}

fn open_bookings(rows: Vec<OpenRow>) -> Vec<OpenBooking> {
    rows.into_iter().map(OpenBooking::from).collect()
}

impl Session {
    /// The open bookings of these users that meet a condition on these performances. The condition is made from the
    /// placeholders of their ids.
    async fn list_open(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
        condition: impl FnOnce(&str) -> String + Send,
    ) -> Result<Vec<OpenBooking>, RepositoryError> {
        if user_ids.is_empty() || performance_ids.is_empty() {
            return Ok(Vec::new());
        }
        let performance_ids = padded(performance_ids.iter().map(|id| id.0));
        let condition = condition(&placeholder_list(performance_ids.len()));
        let query = select_open(user_ids, &condition).bind_all(performance_ids);
        Ok(open_bookings(query.fetch_all(self.connection()).await?))
    }

    /// Adds the seats to rows of bookings, and keeps their order. No lock.
    pub(super) async fn with_seats(&mut self, bookings: Vec<BookingRow>) -> Result<Vec<Booking>, RepositoryError> {
        if bookings.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(bookings.iter().map(|row| row.state.id));
        let text = format!(
            "SELECT bs.booking_id, bs.seat_id, s.section, s.row_name, s.number, s.grade, bs.price \
             FROM booking_seats bs STRAIGHT_JOIN seats s ON s.id = bs.seat_id WHERE bs.booking_id IN {} \
             ORDER BY bs.booking_id, bs.seat_id",
            placeholder_list(ids.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let rows: Vec<BookedSeatRow> = query.fetch_all(self.connection()).await?;
        let mut seats: HashMap<Uuid, Vec<BookedSeat>> = HashMap::new();
        for row in rows {
            seats.entry(row.booking_id).or_default().push(BookedSeat {
                id: SeatId(row.seat_id),
                section: row.section,
                row: row.row_name,
                number: row.number,
                grade: row.grade,
                price: points(row.price)?,
            });
        }
        let whole = |row: BookingRow| {
            let seats = seats.remove(&row.state.id).unwrap_or_default();
            row.booking(seats)
        };
        bookings.into_iter().map(whole).collect()
    }

    async fn insert_booked_seats(&mut self, seats: &[(BookingId, &BookedSeat)]) -> Result<(), RepositoryError> {
        for part in parts(seats, SEATS_PER_STATEMENT) {
            let text = format!(
                "INSERT INTO booking_seats (booking_id, seat_id, price) VALUES {}",
                placeholder_rows(3, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for (booking_id, seat) in part {
                query = query.bind(booking_id.0).bind(seat.id.0).bind(seat.price.as_decimal());
            }
            query.execute(self.connection()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl BookingRepository for Session {
    async fn insert(&mut self, bookings: &[Booking]) -> Result<(), RepositoryError> {
        for part in parts(bookings, ROWS_PER_STATEMENT) {
            let text = format!(
                "INSERT INTO bookings (id, user_id, concert_id, performance_id, status, seat_count, total_price, \
                 held_until, extended, complimentary, created_at) VALUES {}",
                placeholder_rows(11, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for booking in part {
                let seat_count = u32::try_from(booking.seats.len()).unwrap_or(u32::MAX);
                query = query.bind(booking.id.0).bind(booking.user_id.0).bind(booking.concert_id.0);
                query = query.bind(booking.performance_id.0).bind(booking.state.name()).bind(seat_count);
                query = query.bind(booking.total.as_decimal()).bind(booking.held_until).bind(booking.is_extended);
                query = query.bind(booking.is_complimentary).bind(booking.created_at);
            }
            query.execute(self.connection()).await?;
        }
        let seats: Vec<_> =
            bookings.iter().flat_map(|booking| booking.seats.iter().map(|seat| (booking.id, seat))).collect();
        self.insert_booked_seats(&seats).await
    }

    async fn list(&mut self, ids: &[BookingId]) -> Result<Vec<Booking>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text = format!("{BOOKING} FORCE INDEX (PRIMARY) WHERE id IN {}", placeholder_list(ids.len()));
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let bookings = query.fetch_all(self.connection()).await?;
        self.with_seats(bookings).await
    }

    async fn lock(&mut self, bookings: &mut [Booking]) -> Result<(), RepositoryError> {
        if bookings.is_empty() {
            return Ok(());
        }
        let ids = padded(bookings.iter().map(|booking| booking.id.0));
        let text = format!(
            "SELECT id, status, held_until, extended, payment_id, confirmed_at, cancelled_at, language \
             FROM bookings FORCE INDEX (PRIMARY) WHERE id IN {} ORDER BY id FOR UPDATE",
            placeholder_list(ids.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let rows: Vec<StateRow> = query.fetch_all(self.connection()).await?;
        let rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
        for booking in bookings {
            let row = rows.get(&booking.id.0).ok_or(RepositoryError::stale("a booking"))?;
            booking.state = row.state()?;
            booking.held_until = row.held_until;
            booking.is_extended = row.extended;
            booking.language = row.language()?;
        }
        Ok(())
    }

    async fn list_page(
        &mut self,
        user_id: UserId,
        status: Option<&'static str>,
        page: PageRequest<BookingId>,
        now: Instant,
    ) -> Result<Page<Booking>, RepositoryError> {
        let mut query: QueryBuilder<MySql> = QueryBuilder::new(BOOKING);
        query.push(" WHERE user_id = ").push_bind(user_id.0);
        search::push_status(&mut query, status, now);
        if let Some(after) = page.after {
            query.push(" AND id < ").push_bind(after.0);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows_to_read());
        let rows = query.build_query_as().fetch_all(self.connection()).await?;
        Ok(Page::of(self.with_seats(rows).await?, page.limit))
    }

    async fn search(
        &mut self,
        search: &BookingSearch,
        page: PageRequest<BookingId>,
        now: Instant,
    ) -> Result<Page<BookingDetails>, RepositoryError> {
        self.search_bookings(search, page, now).await
    }

    async fn find_details(&mut self, id: BookingId) -> Result<Option<BookingDetails>, RepositoryError> {
        self.find_booking_details(id).await
    }

    async fn list_open_of_performances(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
    ) -> Result<Vec<OpenBooking>, RepositoryError> {
        // Two lists, since a list of pairs wouldn't use the index. Few of the pairs found weren't requested.
        let condition = |ids: &str| format!("performance_id IN {ids} AND status IN ('PENDING', 'CONFIRMED')");
        self.list_open(user_ids, performance_ids, condition).await
    }

    async fn list_open_of_users(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
    ) -> Result<Vec<OpenBooking>, RepositoryError> {
        let condition =
            |ids: &str| format!("(status = 'PENDING' OR (status = 'CONFIRMED' AND performance_id IN {ids}))");
        self.list_open(user_ids, performance_ids, condition).await
    }

    async fn list_holds_of_users(
        &mut self,
        user_ids: &[UserId],
        now: Instant,
    ) -> Result<Vec<OpenBooking>, RepositoryError> {
        if user_ids.is_empty() {
            return Ok(Vec::new());
        }
        let query = select_open(user_ids, "status = 'PENDING' AND held_until > ?").bind(now);
        Ok(open_bookings(query.fetch_all(self.connection()).await?))
    }

    async fn user_has_live(&mut self, user_id: UserId, now: Instant) -> Result<bool, RepositoryError> {
        // ix_bookings_user; each booking's performance by its primary key.
        let mut query = QueryBuilder::new(
            "SELECT 1 FROM bookings b STRAIGHT_JOIN performances p ON p.id = b.performance_id WHERE b.user_id = ",
        );
        query.push_bind(user_id.0);
        self.any_is_live(query, now).await
    }

    async fn concert_has_live(&mut self, concert_id: ConcertId, now: Instant) -> Result<bool, RepositoryError> {
        // ix_bookings_performance, for each of the concert's performances.
        let mut query = QueryBuilder::new(
            "SELECT 1 FROM performances p STRAIGHT_JOIN bookings b ON b.performance_id = p.id WHERE p.concert_id = ",
        );
        query.push_bind(concert_id.0);
        self.any_is_live(query, now).await
    }

    async fn count_open_of_performance(&mut self, performance_id: PerformanceId) -> Result<u32, RepositoryError> {
        let found: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM bookings WHERE performance_id = ? AND status IN ('PENDING', 'CONFIRMED')",
        )
        .bind(performance_id.0)
        .fetch_one(self.connection())
        .await?;
        to_row_count(found)
    }

    async fn list_open_of_performance(
        &mut self,
        performance_id: PerformanceId,
        after: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<BookingId>, RepositoryError> {
        // Each half reads ix_bookings_performance in order, up to the limit.
        let half = |status| {
            format!(
                "(SELECT id FROM bookings FORCE INDEX (ix_bookings_performance) \
                 WHERE performance_id = ? AND status = '{status}' AND id > ? ORDER BY id LIMIT ?)"
            )
        };
        let text = format!("{} UNION ALL {} ORDER BY id LIMIT ?", half("PENDING"), half("CONFIRMED"));
        let after = after.map_or(Uuid::nil(), |id| id.0);
        let mut query = sqlx::query_scalar(AssertSqlSafe(text));
        for _ in 0..2 {
            query = query.bind(performance_id.0).bind(after).bind(limit);
        }
        let ids: Vec<Uuid> = query.bind(limit).fetch_all(self.connection()).await?;
        Ok(ids.into_iter().map(BookingId).collect())
    }

    async fn claim_expired(&mut self, now: Instant, limit: u32) -> Result<Vec<Booking>, RepositoryError> {
        // In the index's order, so that no more than `limit` rows are locked.
        let text = format!(
            "{BOOKING} FORCE INDEX (ix_bookings_expiry) WHERE status = 'PENDING' AND held_until <= ? \
             ORDER BY held_until LIMIT ? FOR UPDATE SKIP LOCKED"
        );
        let rows = sqlx::query_as(AssertSqlSafe(text)).bind(now).bind(limit).fetch_all(self.connection()).await?;
        self.with_seats(rows).await
    }

    async fn update(&mut self, bookings: &[Booking]) -> Result<(), RepositoryError> {
        let changes = BookingChanges::of(bookings);
        let (held_longer, others): (Vec<_>, Vec<_>) =
            bookings.iter().filter(|booking| booking.is_extended).partition(|it| it.state == BookingState::Pending);
        let found = self.write_extensions(&held_longer).await?;
        require_rows(found, held_longer.len(), "a booking")?;
        self.write_extensions(&others).await?;
        for (language, bookings) in &changes.confirmed {
            self.write_confirmed(bookings, *language).await?;
        }
        self.write_expired(&changes.expired).await?;
        for ((at, language), bookings) in &changes.cancelled {
            self.write_cancelled(bookings, *at, *language).await?;
        }
        for ((at, language), bookings) in &changes.refunded {
            self.write_refunded(bookings, *at, *language).await?;
        }
        Ok(())
    }
}
