//! SQL of bookings and of the claims on seats.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, MySql, QueryBuilder, mysql::MySqlQueryResult};
use uuid::Uuid;

use super::{
    booking_rows::{BOOKING, BookedSeatRow, BookingRow, CLAIM, ClaimRow, LockedSeatRow, OpenRow, StateRow, points},
    error::corrupt,
    sql::{IDS_PER_STATEMENT, ROWS_PER_STATEMENT, datetime, padded, parts, placeholder_list, placeholder_rows},
    unit_of_work::Session,
};
use crate::domain::{
    booking::{
        BookedSeat, Booking, BookingFilter, BookingRepository, BookingState, Claim, ClaimDeadline, HeldBooking,
        OpenBooking, SeatClaim,
    },
    clock::Instant,
    concert::{PERFORMANCE_LENGTH, Seat},
    id::{BookingId, ConcertId, PerformanceId, SeatId, UserId},
    page::Page,
    repository_error::RepositoryError,
};

/// How many seats one statement stores: two of each command of a full batch, and more.
const SEATS_PER_STATEMENT: usize = 512;

fn to_row_count(value: i64) -> Result<u32, RepositoryError> {
    u32::try_from(value).map_err(|_| corrupt("a count", value))
}

/// Every row must have been found as it was read.
fn require_rows(result: &MySqlQueryResult, expected: usize, what: &'static str) -> Result<(), RepositoryError> {
    if usize::try_from(result.rows_affected()) == Ok(expected) { Ok(()) } else { Err(RepositoryError::stale(what)) }
}

/// Bookings sorted by what is to be written of them.
#[derive(Default)]
struct BookingChanges<'a> {
    held_longer: Vec<&'a Booking>,
    confirmed: Vec<&'a Booking>,
    expired: Vec<&'a Booking>,
    /// All of a call have one instant; should they not, each instant is its own statement.
    cancelled: BTreeMap<Instant, Vec<&'a Booking>>,
    refunded: BTreeMap<Instant, Vec<&'a Booking>>,
}

impl<'a> BookingChanges<'a> {
    fn of(bookings: &'a [Booking]) -> Self {
        let mut changes = Self::default();
        for booking in bookings {
            match booking.state {
                // A pending booking changes in one way only: it is held longer.
                BookingState::Pending => changes.held_longer.push(booking),
                BookingState::Confirmed { .. } => changes.confirmed.push(booking),
                BookingState::Expired => changes.expired.push(booking),
                BookingState::Cancelled { at } => changes.cancelled.entry(at).or_default().push(booking),
                BookingState::Refunded { at, .. } => changes.refunded.entry(at).or_default().push(booking),
            }
        }
        changes
    }
}

fn booking_ids(bookings: &[&Booking]) -> Vec<Uuid> {
    padded(bookings.iter().map(|booking| booking.id.0))
}

fn seat_ids(bookings: &[&Booking]) -> Vec<u64> {
    padded(bookings.iter().flat_map(|booking| booking.seat_ids()).map(|id| id.0))
}

/// How many claims bookings have: a seat that two of them claim counts twice, and so is found out.
fn seat_count(bookings: &[&Booking]) -> usize {
    bookings.iter().map(|booking| booking.seats.len()).sum()
}

/// The bookings in portions whose seats one statement can name.
fn portions<'a, 'b>(bookings: &'b [&'a Booking]) -> Vec<&'b [&'a Booking]> {
    let (mut portions, mut start, mut seats) = (Vec::new(), 0, 0);
    for (index, booking) in bookings.iter().enumerate() {
        if seats + booking.seats.len() > IDS_PER_STATEMENT {
            portions.push(&bookings[start..index]);
            (start, seats) = (index, 0);
        }
        seats += booking.seats.len();
    }
    portions.push(&bookings[start..]);
    portions.retain(|portion| !portion.is_empty());
    portions
}

/// `CASE column WHEN ? THEN ? … END`, for values that differ from row to row: bind each id and its value.
fn case_expression(column: &str, len: usize) -> String {
    format!("CASE {column}{} END", " WHEN ? THEN ?".repeat(len))
}

impl Session {
    async fn with_seats(&mut self, bookings: Vec<BookingRow>) -> Result<Vec<Booking>, RepositoryError> {
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
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
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

    /// The open bookings of these users, by `ix_bookings_limit`; a condition says of which performances.
    async fn select_open(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
        condition: impl FnOnce(&str) -> String,
    ) -> Result<Vec<OpenBooking>, RepositoryError> {
        if user_ids.is_empty() || performance_ids.is_empty() {
            return Ok(Vec::new());
        }
        let user_ids = padded(user_ids.iter().map(|id| id.0));
        let performance_ids = padded(performance_ids.iter().map(|id| id.0));
        let text = format!(
            "SELECT id, user_id, concert_id, performance_id, status, seat_count, held_until, created_at FROM bookings \
             FORCE INDEX (ix_bookings_limit) WHERE user_id IN {} AND {}",
            placeholder_list(user_ids.len()),
            condition(&placeholder_list(performance_ids.len()))
        );
        let query = user_ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let query = performance_ids.iter().fold(query, |query, id| query.bind(*id));
        let rows: Vec<OpenRow> = query.fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(OpenBooking::from).collect())
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

    /// Writes the deadlines of extended holds that are pending in the table: also those that were extended and paid
    /// or given up in one transaction, not those that were extended earlier.
    async fn write_extensions(&mut self, bookings: &[&Booking]) -> Result<MySqlQueryResult, RepositoryError> {
        let deadlines = padded(bookings.iter().map(|booking| (booking.id.0, booking.held_until)));
        let text = format!(
            "UPDATE bookings FORCE INDEX (PRIMARY) SET extended = TRUE, held_until = {} \
             WHERE id IN {} AND status = 'PENDING'",
            case_expression("id", deadlines.len()),
            placeholder_list(deadlines.len())
        );
        let query = sqlx::query(AssertSqlSafe(text));
        let query = deadlines.iter().fold(query, |query, (id, deadline)| query.bind(*id).bind(*deadline));
        let query = deadlines.iter().fold(query, |query, (id, _)| query.bind(*id));
        Ok(query.execute(self.connection()).await?)
    }

    async fn write_confirmed(&mut self, bookings: &[&Booking]) -> Result<(), RepositoryError> {
        let ids = booking_ids(bookings);
        let text = format!(
            "UPDATE bookings b FORCE INDEX (PRIMARY) STRAIGHT_JOIN payments p ON p.booking_id = b.id \
             SET b.status = 'CONFIRMED', b.payment_id = p.id, b.confirmed_at = p.paid_at \
             WHERE b.id IN {} AND b.status = 'PENDING'",
            placeholder_list(ids.len())
        );
        let query = ids.iter().fold(sqlx::query(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let result = query.execute(self.connection()).await?;
        require_rows(&result, bookings.len(), "a booking")
    }

    async fn write_expired(&mut self, bookings: &[&Booking]) -> Result<(), RepositoryError> {
        let ids = booking_ids(bookings);
        let text = format!(
            "UPDATE bookings FORCE INDEX (PRIMARY) SET status = 'EXPIRED' WHERE id IN {} AND status = 'PENDING'",
            placeholder_list(ids.len())
        );
        let query = ids.iter().fold(sqlx::query(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let result = query.execute(self.connection()).await?;
        require_rows(&result, bookings.len(), "a booking")
    }

    async fn write_cancelled(&mut self, bookings: &[&Booking], at: Instant) -> Result<(), RepositoryError> {
        let ids = booking_ids(bookings);
        let text = format!(
            "UPDATE bookings FORCE INDEX (PRIMARY) SET status = 'CANCELLED', cancelled_at = ? \
             WHERE id IN {} AND status = 'PENDING'",
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(at);
        let query = ids.iter().fold(query, |query, id| query.bind(*id));
        let result = query.execute(self.connection()).await?;
        require_rows(&result, bookings.len(), "a booking")
    }

    /// A booking that is paid and given back in one transaction is still pending in the table; it has its payment
    /// there, as every confirmed one has.
    async fn write_refunded(&mut self, bookings: &[&Booking], at: Instant) -> Result<(), RepositoryError> {
        let ids = booking_ids(bookings);
        let text = format!(
            "UPDATE bookings b FORCE INDEX (PRIMARY) STRAIGHT_JOIN payments p ON p.booking_id = b.id \
             SET b.status = 'REFUNDED', b.payment_id = p.id, b.confirmed_at = p.paid_at, b.cancelled_at = ? \
             WHERE b.id IN {} AND b.status IN ('PENDING', 'CONFIRMED')",
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(at);
        let query = ids.iter().fold(query, |query, id| query.bind(*id));
        let result = query.execute(self.connection()).await?;
        require_rows(&result, bookings.len(), "a booking")
    }

    async fn sell_claims(&mut self, bookings: &[&Booking], now: Instant) -> Result<(), RepositoryError> {
        let (seats, ids) = (seat_ids(bookings), booking_ids(bookings));
        let text = format!(
            "UPDATE seat_claims c FORCE INDEX (PRIMARY) STRAIGHT_JOIN payments p ON p.booking_id = c.booking_id \
             SET c.held_until = NULL, c.payment_id = p.id, c.changed_at = ? \
             WHERE c.seat_id IN {} AND c.booking_id IN {}",
            placeholder_list(seats.len()),
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(now);
        let query = seats.iter().fold(query, |query, id| query.bind(*id));
        let query = ids.iter().fold(query, |query, id| query.bind(*id));
        let result = query.execute(self.connection()).await?;
        require_rows(&result, seat_count(bookings), "a seat claim")
    }

    async fn extend_claims(&mut self, bookings: &[&Booking], now: Instant) -> Result<(), RepositoryError> {
        let seats = seat_ids(bookings);
        let deadlines = padded(bookings.iter().map(|booking| (booking.id.0, booking.held_until)));
        let text = format!(
            "UPDATE seat_claims FORCE INDEX (PRIMARY) SET held_until = {}, changed_at = ? \
             WHERE seat_id IN {} AND booking_id IN {} AND payment_id IS NULL",
            case_expression("booking_id", deadlines.len()),
            placeholder_list(seats.len()),
            placeholder_list(deadlines.len())
        );
        let query = sqlx::query(AssertSqlSafe(text));
        let query = deadlines.iter().fold(query, |query, (id, deadline)| query.bind(*id).bind(*deadline));
        let query = seats.iter().fold(query.bind(now), |query, id| query.bind(*id));
        let query = deadlines.iter().fold(query, |query, (id, _)| query.bind(*id));
        let result = query.execute(self.connection()).await?;
        require_rows(&result, seat_count(bookings), "a seat claim")
    }

    /// Releases what is still claimed: a seat that has a new claim isn't theirs to release.
    async fn release_claims(&mut self, bookings: &[&Booking], now: Instant) -> Result<(), RepositoryError> {
        let (seats, ids) = (seat_ids(bookings), booking_ids(bookings));
        let text = format!(
            "UPDATE seat_claims FORCE INDEX (PRIMARY) SET held_until = ?, payment_id = NULL, changed_at = ? \
             WHERE seat_id IN {} AND booking_id IN {}",
            placeholder_list(seats.len()),
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(now).bind(now);
        let query = seats.iter().fold(query, |query, id| query.bind(*id));
        ids.iter().fold(query, |query, id| query.bind(*id)).execute(self.connection()).await?;
        Ok(())
    }
}

#[async_trait]
impl BookingRepository for Session {
    async fn insert(&mut self, bookings: &[Booking]) -> Result<(), RepositoryError> {
        for part in parts(bookings, ROWS_PER_STATEMENT) {
            let text = format!(
                "INSERT INTO bookings (id, user_id, concert_id, performance_id, status, seat_count, total_price, \
                 held_until, extended, created_at) VALUES {}",
                placeholder_rows(10, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for booking in part {
                let seat_count = u32::try_from(booking.seats.len()).unwrap_or(u32::MAX);
                query = query.bind(booking.id.0).bind(booking.user_id.0).bind(booking.concert_id.0);
                query = query.bind(booking.performance_id.0).bind(booking.state.name()).bind(seat_count);
                query = query.bind(booking.total.as_decimal()).bind(booking.held_until).bind(booking.is_extended);
                query = query.bind(booking.created_at);
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
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let bookings = query.fetch_all(self.connection()).await?;
        self.with_seats(bookings).await
    }

    async fn lock(&mut self, bookings: &mut [Booking]) -> Result<(), RepositoryError> {
        if bookings.is_empty() {
            return Ok(());
        }
        let ids = padded(bookings.iter().map(|booking| booking.id.0));
        let text = format!(
            "SELECT id, status, held_until, extended, payment_id, confirmed_at, cancelled_at \
             FROM bookings FORCE INDEX (PRIMARY) WHERE id IN {} ORDER BY id FOR UPDATE",
            placeholder_list(ids.len())
        );
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let rows: Vec<StateRow> = query.fetch_all(self.connection()).await?;
        let rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
        for booking in bookings {
            let row = rows.get(&booking.id.0).ok_or(RepositoryError::stale("a booking"))?;
            booking.state = row.state()?;
            booking.held_until = row.held_until;
            booking.is_extended = row.extended;
        }
        Ok(())
    }

    async fn list_page(&mut self, filter: &BookingFilter) -> Result<Page<Booking>, RepositoryError> {
        let mut query: QueryBuilder<MySql> = QueryBuilder::new(BOOKING);
        query.push(" WHERE user_id = ").push_bind(filter.user_id.0);
        match filter.status {
            Some("PENDING") => {
                query.push(" AND status = 'PENDING' AND held_until > ").push_bind(filter.now);
            }
            Some("EXPIRED") => {
                query.push(" AND (status = 'EXPIRED' OR (status = 'PENDING' AND held_until <= ");
                query.push_bind(filter.now).push("))");
            }
            Some(status) => {
                query.push(" AND status = ").push_bind(status);
            }
            None => {}
        }
        if let Some(before) = filter.before {
            query.push(" AND id < ").push_bind(before.0);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(filter.limit.saturating_add(1));
        let rows = query.build_query_as().fetch_all(self.connection()).await?;
        Ok(Page::of(self.with_seats(rows).await?, filter.limit))
    }

    async fn list_open_of_performances(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
    ) -> Result<Vec<OpenBooking>, RepositoryError> {
        // Users and performances are two lists, since a list of pairs would not use the index; the pairs that weren't
        // asked for are few.
        self.select_open(user_ids, performance_ids, |performances| {
            format!("performance_id IN {performances} AND status IN ('PENDING', 'CONFIRMED')")
        })
        .await
    }

    async fn list_open_of_users(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
    ) -> Result<Vec<OpenBooking>, RepositoryError> {
        self.select_open(user_ids, performance_ids, |performances| {
            format!("(status = 'PENDING' OR (status = 'CONFIRMED' AND performance_id IN {performances}))")
        })
        .await
    }

    async fn list_holds_of_users(
        &mut self,
        user_ids: &[UserId],
        now: Instant,
    ) -> Result<Vec<HeldBooking>, RepositoryError> {
        if user_ids.is_empty() {
            return Ok(Vec::new());
        }
        let user_ids = padded(user_ids.iter().map(|id| id.0));
        let text = format!(
            "SELECT user_id, concert_id, id, held_until FROM bookings FORCE INDEX (ix_bookings_limit) \
             WHERE user_id IN {} AND status = 'PENDING' AND held_until > ?",
            placeholder_list(user_ids.len())
        );
        let query = user_ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let rows: Vec<(Uuid, u64, Uuid, Instant)> = query.bind(now).fetch_all(self.connection()).await?;
        let held = rows.into_iter().map(|(user, concert, id, held_until)| HeldBooking {
            user_id: UserId(user),
            concert_id: ConcertId(concert),
            booking_id: BookingId(id),
            held_until,
        });
        Ok(held.collect())
    }

    async fn user_has_live(&mut self, user_id: UserId, now: Instant) -> Result<bool, RepositoryError> {
        let found: Option<i64> = sqlx::query_scalar(
            // ix_bookings_user; each booking's performance by its primary key.
            "SELECT 1 FROM bookings b STRAIGHT_JOIN performances p ON p.id = b.performance_id WHERE b.user_id = ? \
             AND ((b.status = 'CONFIRMED' AND p.starts_at > ?) OR (b.status = 'PENDING' AND b.held_until > ?)) LIMIT 1",
        )
        .bind(user_id.0)
        .bind(datetime(now - PERFORMANCE_LENGTH))
        .bind(now)
        .fetch_optional(self.connection())
        .await?;
        Ok(found.is_some())
    }

    async fn concert_has_live(&mut self, concert_id: ConcertId, now: Instant) -> Result<bool, RepositoryError> {
        let found: Option<i64> = sqlx::query_scalar(
            // ix_bookings_performance, for each of the concert's performances.
            "SELECT 1 FROM performances p STRAIGHT_JOIN bookings b ON b.performance_id = p.id WHERE p.concert_id = ? \
             AND ((b.status = 'CONFIRMED' AND p.starts_at > ?) OR (b.status = 'PENDING' AND b.held_until > ?)) LIMIT 1",
        )
        .bind(concert_id.0)
        .bind(datetime(now - PERFORMANCE_LENGTH))
        .bind(now)
        .fetch_optional(self.connection())
        .await?;
        Ok(found.is_some())
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
        // Each half in the order of ix_bookings_performance, and no further than the limit.
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
        // In the index's order, so that no more than the first ones are locked.
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
        if !held_longer.is_empty() {
            let result = self.write_extensions(&held_longer).await?;
            require_rows(&result, held_longer.len(), "a booking")?;
        }
        if !others.is_empty() {
            self.write_extensions(&others).await?;
        }
        if !changes.confirmed.is_empty() {
            self.write_confirmed(&changes.confirmed).await?;
        }
        if !changes.expired.is_empty() {
            self.write_expired(&changes.expired).await?;
        }
        for (at, bookings) in &changes.cancelled {
            self.write_cancelled(bookings, *at).await?;
        }
        for (at, bookings) in &changes.refunded {
            self.write_refunded(bookings, *at).await?;
        }
        Ok(())
    }

    async fn lock_seats(
        &mut self,
        seats: &[(SeatId, PerformanceId)],
    ) -> Result<Vec<(Seat, Option<Claim>)>, RepositoryError> {
        let mut seats = seats.to_vec();
        seats.sort_unstable();
        let mut locked = Vec::with_capacity(seats.len());
        for seats in seats.chunks(IDS_PER_STATEMENT) {
            let seats = padded(seats.iter().copied());
            // The seats that are of the performance they are asked for are found without a lock: what a derived table
            // with a limit reads isn't locked. Those are locked, in its order, by the primary keys whatever the
            // statistics say: any other way would lock seats that nobody asked for.
            let text = format!(
                "SELECT s.id, s.performance_id, s.section, s.row_name, s.row_rank, s.number, s.grade, s.price, \
                 c.booking_id, c.held_until FROM (SELECT a.id FROM seats a FORCE INDEX (PRIMARY) WHERE a.id IN {} \
                 AND (a.id, a.performance_id) IN ({}) ORDER BY a.id LIMIT {IDS_PER_STATEMENT}) asked \
                 STRAIGHT_JOIN seats s FORCE INDEX (PRIMARY) ON s.id = asked.id \
                 LEFT JOIN seat_claims c FORCE INDEX (PRIMARY) ON c.seat_id = s.id FOR UPDATE",
                placeholder_list(seats.len()),
                placeholder_rows(2, seats.len())
            );
            let query = sqlx::query_as(AssertSqlSafe(text));
            let query = seats.iter().fold(query, |query, (seat, _)| query.bind(seat.0));
            let query = seats.iter().fold(query, |query, (seat, performance)| query.bind(seat.0).bind(performance.0));
            let rows: Vec<LockedSeatRow> = query.fetch_all(self.connection()).await?;
            for row in rows {
                locked.push(row.seat()?);
            }
        }
        Ok(locked)
    }

    async fn lock_claims(&mut self, seat_ids: &[SeatId]) -> Result<Vec<SeatClaim>, RepositoryError> {
        let mut seat_ids = seat_ids.to_vec();
        seat_ids.sort_unstable();
        let mut claims = Vec::with_capacity(seat_ids.len());
        for ids in seat_ids.chunks(IDS_PER_STATEMENT) {
            let ids = padded(ids.iter().map(|id| id.0));
            // Each seat's row before its claim's: a claim is written under the lock of its seat alone.
            let text = format!(
                "SELECT c.seat_id, c.booking_id, c.held_until FROM seats s FORCE INDEX (PRIMARY) \
                 STRAIGHT_JOIN seat_claims c FORCE INDEX (PRIMARY) ON c.seat_id = s.id \
                 WHERE s.id IN {} ORDER BY s.id FOR UPDATE",
                placeholder_list(ids.len())
            );
            let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
            let rows: Vec<ClaimRow> = query.fetch_all(self.connection()).await?;
            claims.extend(rows.into_iter().map(SeatClaim::from));
        }
        Ok(claims)
    }

    async fn list_claims(&mut self, seat_ids: &[SeatId]) -> Result<Vec<SeatClaim>, RepositoryError> {
        let mut claims = Vec::with_capacity(seat_ids.len());
        for ids in seat_ids.chunks(IDS_PER_STATEMENT) {
            let ids = padded(ids.iter().map(|id| id.0));
            let text = format!("{CLAIM} FORCE INDEX (PRIMARY) WHERE seat_id IN {}", placeholder_list(ids.len()));
            let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
            let rows: Vec<ClaimRow> = query.fetch_all(self.connection()).await?;
            claims.extend(rows.into_iter().map(SeatClaim::from));
        }
        Ok(claims)
    }

    async fn list_claim_deadlines(
        &mut self,
        performance_id: PerformanceId,
        since: Option<Instant>,
    ) -> Result<Vec<ClaimDeadline>, RepositoryError> {
        // By the index, whatever the statistics say: all but a few of a large performance's claims are old. It holds
        // all that is asked for.
        let rows: Vec<(u64, Option<Instant>, Instant)> = sqlx::query_as(
            "SELECT seat_id, held_until, changed_at FROM seat_claims FORCE INDEX (ix_seat_claims_changed) \
             WHERE performance_id = ? AND changed_at >= ?",
        )
        .bind(performance_id.0)
        .bind(datetime(since.unwrap_or_default()))
        .fetch_all(self.connection())
        .await?;
        let term =
            |(seat_id, held_until, changed_at)| ClaimDeadline { seat_id: SeatId(seat_id), held_until, changed_at };
        Ok(rows.into_iter().map(term).collect())
    }

    async fn delete_expired_claims(&mut self, seat_ids: &[SeatId], now: Instant) -> Result<(), RepositoryError> {
        for ids in seat_ids.chunks(IDS_PER_STATEMENT) {
            let ids = padded(ids.iter().map(|id| id.0));
            // A small table would be scanned, and every claim that another transaction has locked waited for.
            let text = format!(
                "DELETE c FROM seat_claims c FORCE INDEX (PRIMARY) WHERE c.seat_id IN {} AND c.held_until <= ?",
                placeholder_list(ids.len())
            );
            let query = ids.iter().fold(sqlx::query(AssertSqlSafe(text)), |query, id| query.bind(*id));
            query.bind(now).execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn insert_claims(&mut self, bookings: &[Booking], now: Instant) -> Result<(), RepositoryError> {
        let claims: Vec<_> =
            bookings.iter().flat_map(|booking| booking.seat_ids().map(move |seat| (seat, booking))).collect();
        for part in parts(&claims, SEATS_PER_STATEMENT) {
            let text = format!(
                "INSERT INTO seat_claims (seat_id, performance_id, booking_id, held_until, changed_at) VALUES {}",
                placeholder_rows(5, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for (seat, booking) in part {
                query = query.bind(seat.0).bind(booking.performance_id.0).bind(booking.id.0);
                query = query.bind(booking.held_until).bind(now);
            }
            query.execute(self.connection()).await.map_err(|error| match RepositoryError::from(error) {
                RepositoryError::NotUnique { .. } => RepositoryError::stale("a seat claim"),
                other => other,
            })?;
        }
        Ok(())
    }

    async fn update_claims(&mut self, bookings: &[Booking], now: Instant) -> Result<(), RepositoryError> {
        let changes = BookingChanges::of(bookings);
        for bookings in portions(&changes.confirmed) {
            self.sell_claims(bookings, now).await?;
        }
        for bookings in portions(&changes.held_longer) {
            self.extend_claims(bookings, now).await?;
        }
        let released: Vec<_> =
            changes.cancelled.into_values().chain(changes.refunded.into_values()).flatten().collect();
        for bookings in portions(&released) {
            self.release_claims(bookings, now).await?;
        }
        // The claims of expired bookings are over by their deadline: there is nothing to write.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::{
        super::fixtures_catalogue::{at, database, hold, is_locked, payment, sale, user, write},
        *,
    };
    use crate::domain::id::PaymentId;
    use crate::domain::{
        booking::{instant_after, live_seats},
        concert::SeatStatus,
        unit_of_work::Database,
    };

    fn is_contention<T>(result: &Result<T, RepositoryError>) -> bool {
        matches!(result, Err(RepositoryError::Contention { .. }))
    }

    fn confirmed(booking: &Booking, payment_id: PaymentId, now: Instant) -> Booking {
        Booking { state: BookingState::Confirmed { at: now, payment_id }, ..booking.clone() }
    }

    fn refunded(booking: &Booking, payment_id: PaymentId, confirmed_at: Instant, now: Instant) -> Booking {
        Booking { state: BookingState::Refunded { confirmed_at, payment_id, at: now }, ..booking.clone() }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn bookings_are_kept_with_their_seats(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let user_id = user(&pool, 1).await;
        let bookings = [sale.booking(1, user_id, 0, 2), sale.booking(2, user_id, 2, 3)];
        hold(&database, &bookings).await;
        let mut uow = database.begin().await.unwrap();
        let mut found = uow.bookings().list(&[bookings[0].id, bookings[1].id]).await.unwrap();
        found.sort_by_key(|booking| booking.id);
        assert_eq!(found, bookings);
        found[0].held_until = at(0);
        uow.bookings().lock(&mut found).await.unwrap();
        assert_eq!(found, bookings);
        assert!(is_locked(&pool, "bookings", "id", bookings[0].id.0).await);
        let mut absent = [sale.booking(3, user_id, 5, 1)];
        assert!(is_contention(&uow.bookings().lock(&mut absent).await));
        assert!(uow.bookings().list(&[]).await.unwrap().is_empty());
        uow.bookings().lock(&mut []).await.unwrap();
        uow.bookings().insert(&[]).await.unwrap();
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_users_bookings_are_listed_newest_first_as_they_are_now(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let user_id = user(&pool, 1).await;
        let bookings: Vec<_> =
            (1..=4u8).map(|number| sale.booking(u128::from(number), user_id, usize::from(number), 1)).collect();
        hold(&database, &bookings).await;
        let mut uow = database.begin().await.unwrap();
        let expired = Booking { state: BookingState::Expired, ..bookings[0].clone() };
        let cancelled = Booking { state: BookingState::Cancelled { at: at(9) }, ..bookings[1].clone() };
        write(&mut uow, &[expired, cancelled], at(9)).await;
        let all = BookingFilter { user_id, status: None, now: at(299), before: None, limit: 2 };
        for (filter, expected, more) in [
            (all, vec![4, 3], true),
            (BookingFilter { before: Some(bookings[2].id), ..all }, vec![2, 1], false),
            (BookingFilter { status: Some("PENDING"), ..all }, vec![4, 3], false),
            (BookingFilter { status: Some("EXPIRED"), ..all }, vec![1], false),
            (BookingFilter { status: Some("EXPIRED"), now: at(300), limit: 9, ..all }, vec![4, 3, 1], false),
            (BookingFilter { status: Some("PENDING"), now: at(300), ..all }, vec![], false),
            (BookingFilter { status: Some("CANCELLED"), ..all }, vec![2], false),
        ] {
            let page = uow.bookings().list_page(&filter).await.unwrap();
            let ids: Vec<_> = page.items.iter().map(|booking| booking.id.0.as_u128()).collect();
            assert_eq!((ids, page.has_more), (expected, more), "{filter:?}");
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_seat_has_one_live_claim_and_an_old_one_makes_way(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let user_id = user(&pool, 1).await;
        let first = sale.booking(1, user_id, 0, 2);
        hold(&database, std::slice::from_ref(&first)).await;
        let second = Booking { held_until: at(900), ..sale.booking(2, user_id, 1, 2) };
        let mut uow = database.begin().await.unwrap();
        uow.bookings().insert(std::slice::from_ref(&second)).await.unwrap();
        uow.bookings().insert_claims(&[], at(0)).await.unwrap();
        uow.commit().await.unwrap();
        let seats: Vec<_> = second.seat_ids().collect();
        let mut early = database.begin().await.unwrap();
        early.bookings().delete_expired_claims(&seats, at(299)).await.unwrap();
        assert!(is_contention(&early.bookings().insert_claims(std::slice::from_ref(&second), at(299)).await));
        drop(early);

        let mut uow = database.begin().await.unwrap();
        uow.bookings().delete_expired_claims(&[], at(300)).await.unwrap();
        uow.bookings().delete_expired_claims(&seats, at(300)).await.unwrap();
        uow.bookings().insert_claims(std::slice::from_ref(&second), at(300)).await.unwrap();
        let seats: Vec<_> = sale.seats[..3].iter().map(|seat| seat.id).collect();
        let mut claims = uow.bookings().list_claims(&seats).await.unwrap();
        claims.sort_by_key(|claim| claim.seat_id);
        let holders: Vec<_> = claims.iter().map(|it| (it.claim.booking_id, it.claim.held_until)).collect();
        let (mine, theirs) = ((first.id, Some(at(300))), (second.id, Some(at(900))));
        assert_eq!(holders, [mine, theirs, theirs]);
        let mut terms = uow.bookings().list_claim_deadlines(sale.performance_id, None).await.unwrap();
        terms.sort_by_key(|term| term.seat_id);
        let instants: Vec<_> = terms.iter().map(|it| (it.held_until, it.changed_at)).collect();
        assert_eq!(instants[1..], [(Some(at(900)), at(300)); 2]);
        // Its seat is another's now: what is extended or paid must have it, what is given up must leave it alone.
        let ids: Vec<_> = first.seat_ids().collect();
        let cancelled = Booking { state: BookingState::Cancelled { at: at(301) }, ..first.clone() };
        uow.bookings().update_claims(&[cancelled], at(301)).await.unwrap();
        let claims = uow.bookings().list_claims(&ids).await.unwrap();
        let statuses: Vec<_> = claims.iter().map(|it| it.claim.status_at(at(301))).collect();
        assert_eq!(statuses, [SeatStatus::Available, SeatStatus::Held]);
        assert!(is_contention(&uow.bookings().update_claims(&[first], at(301)).await));
        assert!(uow.bookings().list_claims(&[]).await.unwrap().is_empty());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_paid_booking_is_confirmed_and_its_seats_are_sold(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let user_id = user(&pool, 1).await;
        let bookings = [sale.booking(1, user_id, 0, 2), sale.booking(2, user_id, 2, 1)];
        hold(&database, &bookings).await;
        let paid_with = payment(&pool, &bookings[0], at(20)).await;
        let paid = confirmed(&bookings[0], paid_with, at(20));
        let extended = Booking { is_extended: true, held_until: at(420), ..bookings[1].clone() };
        let mut uow = database.begin().await.unwrap();
        write(&mut uow, &[paid.clone(), extended.clone()], at(20)).await;
        let mut found = uow.bookings().list(&[paid.id, extended.id]).await.unwrap();
        found.sort_by_key(|booking| booking.id);
        assert_eq!(found, [paid.clone(), extended.clone()]);
        let terms = uow.bookings().list_claim_deadlines(sale.performance_id, None).await.unwrap();
        let until: HashMap<_, _> = terms.iter().map(|it| (it.seat_id, it.held_until)).collect();
        let expected = [(0, None), (1, None), (2, Some(at(420)))];
        assert_eq!(until, expected.map(|(seat, until)| (sale.seats[seat].id, until)).into());
        // Neither is pending in the table any more, or has what it takes.
        assert!(is_contention(&uow.bookings().update(std::slice::from_ref(&paid)).await));
        let unpaid = confirmed(&bookings[1], paid_with, at(20));
        assert!(is_contention(&uow.bookings().update(std::slice::from_ref(&unpaid)).await));
        assert!(is_contention(&uow.bookings().update_claims(&[unpaid], at(20)).await));
        let gone = Booking { id: BookingId(Uuid::from_u128(9)), ..extended };
        assert!(is_contention(&uow.bookings().update(&[gone]).await));

        let given_back = refunded(&bookings[0], paid_with, at(20), at(30));
        write(&mut uow, std::slice::from_ref(&given_back), at(30)).await;
        assert_eq!(uow.bookings().list(&[paid.id]).await.unwrap(), [given_back]);
        let claims = uow.bookings().list_claims(&[sale.seats[0].id]).await.unwrap();
        assert_eq!(claims[0].claim.held_until, Some(at(30)));
        // The first two seats were given back at 30, the third held longer at 20.
        for (since, count) in [(at(20), 3), (at(21), 2), (at(30), 2), (at(31), 0)] {
            let terms = uow.bookings().list_claim_deadlines(sale.performance_id, Some(since)).await.unwrap();
            assert_eq!(terms.len(), count, "{since}");
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn what_happens_in_one_transaction_is_written_whole(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let user_id = user(&pool, 1).await;
        let bookings: Vec<_> =
            (1..=3u8).map(|number| sale.booking(u128::from(number), user_id, usize::from(number), 1)).collect();
        hold(&database, &bookings).await;
        let extended = |booking: &Booking| Booking { is_extended: true, held_until: at(420), ..booking.clone() };
        let paid_with = [payment(&pool, &bookings[0], at(20)).await, payment(&pool, &bookings[1], at(20)).await];
        let written = [
            confirmed(&extended(&bookings[0]), paid_with[0], at(20)),
            refunded(&extended(&bookings[1]), paid_with[1], at(20), at(20)),
            Booking { state: BookingState::Cancelled { at: at(20) }, ..extended(&bookings[2]) },
        ];
        let mut uow = database.begin().await.unwrap();
        write(&mut uow, &written, at(20)).await;
        let mut found = uow.bookings().list(&bookings.iter().map(|it| it.id).collect::<Vec<_>>()).await.unwrap();
        found.sort_by_key(|booking| booking.id);
        assert_eq!(found, written);
        let terms = uow.bookings().list_claim_deadlines(sale.performance_id, None).await.unwrap();
        let sold: Vec<_> = terms.iter().filter(|it| it.held_until.is_none()).collect();
        assert_eq!((sold.len(), sold[0].seat_id), (1, sale.seats[1].id));
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn the_schema_refuses_what_is_sold_but_not_paid(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let booking = sale.booking(1, user(&pool, 1).await, 0, 1);
        hold(&database, &[booking]).await;
        for statement in [
            "UPDATE seat_claims SET held_until = NULL",
            "UPDATE bookings SET status = 'CONFIRMED'",
            "UPDATE bookings SET status = 'CONFIRMED', confirmed_at = created_at, payment_id = id",
            "UPDATE bookings SET status = 'CANCELLED'",
        ] {
            let error = sqlx::query(statement).execute(&pool).await.unwrap_err();
            let database_error = error.as_database_error().unwrap();
            assert!(
                database_error.is_check_violation() || database_error.is_foreign_key_violation(),
                "{statement}: {database_error}"
            );
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn expired_holds_are_claimed_by_one_transaction_each(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let user_id = user(&pool, 1).await;
        let first = sale.booking(1, user_id, 0, 1);
        let second = Booking { held_until: at(299), ..sale.booking(2, user_id, 1, 2) };
        let third = Booking { held_until: at(301), ..sale.booking(3, user_id, 3, 1) };
        hold(&database, &[first.clone(), second.clone(), third]).await;
        let mut one = database.begin().await.unwrap();
        let claimed = one.bookings().claim_expired(at(300), 1).await.unwrap();
        assert_eq!(claimed, std::slice::from_ref(&second));
        let mut other = database.begin().await.unwrap();
        assert_eq!(other.bookings().claim_expired(at(300), 9).await.unwrap(), [first]);
        assert!(!is_locked(&pool, "seats", "id", sale.seats[1].id.0).await);

        let expired = Booking { state: BookingState::Expired, ..second };
        write(&mut one, std::slice::from_ref(&expired), at(300)).await;
        one.commit().await.unwrap();
        let mut uow = database.begin().await.unwrap();
        assert!(is_contention(&uow.bookings().update(&[expired]).await));
        uow.bookings().update(&[]).await.unwrap();
        uow.bookings().update_claims(&[], at(0)).await.unwrap();
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn live_bookings_are_counted_until_their_deadline(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let (buyer, other) = (user(&pool, 1).await, user(&pool, 2).await);
        let bookings = [sale.booking(1, buyer, 0, 2), sale.booking(2, buyer, 2, 1)];
        hold(&database, &bookings).await;
        let paid_with = payment(&pool, &bookings[0], at(20)).await;
        let mut uow = database.begin().await.unwrap();
        write(&mut uow, &[confirmed(&bookings[0], paid_with, at(20))], at(20)).await;
        let bookings_of = uow.bookings();
        let (here, elsewhere) = (sale.performance_id, PerformanceId(999));
        let open = bookings_of.list_open_of_performances(&[buyer, other], &[here, elsewhere]).await.unwrap();
        for (now, seats) in [(299, 3), (300, 2)] {
            assert_eq!(live_seats(&open, buyer, here, at(now)), seats);
            assert_eq!(live_seats(&open, buyer, elsewhere, at(now)), 0);
            assert_eq!(live_seats(&open, other, here, at(now)), 0);
        }
        assert_eq!(instant_after(&open, at(-9)), bookings[1].created_at);
        let mut everywhere = bookings_of.list_open_of_users(&[buyer], &[here]).await.unwrap();
        everywhere.sort_unstable_by_key(|booking| booking.id);
        assert_eq!(everywhere, [OpenBooking { held_until: None, ..(&bookings[0]).into() }, (&bookings[1]).into()]);
        let pending = bookings_of.list_open_of_users(&[buyer, other], &[elsewhere]).await.unwrap();
        assert_eq!(pending, [OpenBooking::from(&bookings[1])]);
        assert_eq!(bookings_of.list_open_of_performances(&[buyer], &[elsewhere]).await.unwrap(), []);
        let held = bookings_of.list_holds_of_users(&[buyer, other], at(299)).await.unwrap();
        let expected = HeldBooking {
            user_id: buyer,
            concert_id: sale.concert_id,
            booking_id: bookings[1].id,
            held_until: at(300),
        };
        assert_eq!(held, [expected]);
        assert!(bookings_of.list_holds_of_users(&[buyer], at(300)).await.unwrap().is_empty());
        assert!(bookings_of.list_holds_of_users(&[], at(0)).await.unwrap().is_empty());
        assert_eq!(bookings_of.list_open_of_performances(&[], &[here]).await.unwrap(), []);
        assert!(bookings_of.user_has_live(buyer, at(300)).await.unwrap());
        assert!(!bookings_of.user_has_live(other, at(0)).await.unwrap());
        assert!(bookings_of.concert_has_live(sale.concert_id, at(300)).await.unwrap());
        assert!(!bookings_of.concert_has_live(ConcertId(999), at(0)).await.unwrap());
        assert_eq!(bookings_of.count_open_of_performance(here).await.unwrap(), 2);
        assert_eq!(bookings_of.list_open_of_performance(here, None, 1).await.unwrap().len(), 1);
        assert_eq!(bookings_of.list_open_of_performance(here, None, 9).await.unwrap().len(), 2);
        assert_eq!(bookings_of.count_open_of_performance(elsewhere).await.unwrap(), 0);
    }
}
