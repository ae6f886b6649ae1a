//! The rows of claims on seats.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{
    super::{
        error::require_rows,
        rows_by_id::{BindAll, Statement},
        sql::{IDS_PER_STATEMENT, datetime, padded, parts, placeholder_list, placeholder_rows},
        unit_of_work::Session,
    },
    SEATS_PER_STATEMENT,
    changes::{BookingChanges, booking_ids, case_expression, portions, seat_count, seat_ids},
    rows::{CLAIM, ClaimRow, LockedSeatRow},
};
use crate::domain::{
    booking::{BLOCK_END, Booking, Claim, ClaimDeadline, SeatClaim, SeatClaimRepository},
    clock::Instant,
    concert::Seat,
    id::{PerformanceId, SeatId},
    repository_error::RepositoryError,
};

impl Session {
    async fn sell_claims(&mut self, bookings: &[&Booking], now: Instant) -> Result<(), RepositoryError> {
        let (seats, ids) = (padded(seat_ids(bookings)), padded(booking_ids(bookings)));
        let text = format!(
            "UPDATE seat_claims c FORCE INDEX (PRIMARY) STRAIGHT_JOIN payments p ON p.booking_id = c.booking_id \
             SET c.held_until = NULL, c.payment_id = p.id, c.changed_at = ? \
             WHERE c.seat_id IN {} AND c.booking_id IN {}",
            placeholder_list(seats.len()),
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(now);
        let query = query.bind_all(seats);
        let query = query.bind_all(ids);
        let found = query.execute(self.connection()).await?.rows_affected();
        require_rows(found, seat_count(bookings), "a seat claim")
    }

    async fn extend_claims(&mut self, bookings: &[&Booking], now: Instant) -> Result<(), RepositoryError> {
        let seats = padded(seat_ids(bookings));
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
        let query = query.bind(now).bind_all(seats);
        let query = query.bind_all(deadlines.into_iter().map(|(id, _)| id));
        let found = query.execute(self.connection()).await?.rows_affected();
        require_rows(found, seat_count(bookings), "a seat claim")
    }

    /// Releases the bookings' claims. A seat that another booking has claimed since isn't changed.
    async fn release_claims(&mut self, bookings: &[&Booking], now: Instant) -> Result<(), RepositoryError> {
        let (seats, ids) = (padded(seat_ids(bookings)), padded(booking_ids(bookings)));
        let text = format!(
            "UPDATE seat_claims FORCE INDEX (PRIMARY) SET held_until = ?, payment_id = NULL, changed_at = ? \
             WHERE seat_id IN {} AND booking_id IN {}",
            placeholder_list(seats.len()),
            placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(now).bind(now);
        let query = query.bind_all(seats);
        query.bind_all(ids).execute(self.connection()).await?;
        Ok(())
    }
}

/// Translates the error of a seat that another transaction has claimed first into contention.
fn stale_if_claimed(error: sqlx::Error) -> RepositoryError {
    match RepositoryError::from(error) {
        RepositoryError::NotUnique { .. } => RepositoryError::stale("a seat claim"),
        other => other,
    }
}

#[async_trait]
impl SeatClaimRepository for Session {
    async fn lock_seats(
        &mut self,
        seats: &[(SeatId, PerformanceId)],
    ) -> Result<Vec<(Seat, Option<Claim>)>, RepositoryError> {
        let mut seats = seats.to_vec();
        seats.sort_unstable();
        let mut locked = Vec::with_capacity(seats.len());
        for seats in seats.chunks(IDS_PER_STATEMENT) {
            let seats = padded(seats.iter().copied());
            // The derived table finds the seats that belong to their performance; with a limit, it locks nothing it
            // reads. The seats found are locked in its order by primary key, regardless of statistics: any other access
            // path would lock other seats, too.
            let text = format!(
                "SELECT s.id, s.performance_id, s.section, s.row_name, s.row_rank, s.number, s.grade, s.price, \
                 c.booking_id, c.held_until FROM (SELECT a.id FROM seats a FORCE INDEX (PRIMARY) WHERE a.id IN {} \
                 AND (a.id, a.performance_id) IN ({}) ORDER BY a.id LIMIT {IDS_PER_STATEMENT}) requested \
                 STRAIGHT_JOIN seats s FORCE INDEX (PRIMARY) ON s.id = requested.id \
                 LEFT JOIN seat_claims c FORCE INDEX (PRIMARY) ON c.seat_id = s.id FOR UPDATE",
                placeholder_list(seats.len()),
                placeholder_rows(2, seats.len())
            );
            let query = sqlx::query_as(AssertSqlSafe(text));
            let query = query.bind_all(seats.iter().map(|(seat, _)| seat.0));
            let query = seats.iter().fold(query, |query, (seat, performance)| query.bind(seat.0).bind(performance.0));
            let rows: Vec<LockedSeatRow> = query.fetch_all(self.connection()).await?;
            for row in rows {
                locked.push(row.seat()?);
            }
        }
        Ok(locked)
    }

    async fn list_performances(
        &mut self,
        seat_ids: &[SeatId],
    ) -> Result<Vec<(SeatId, PerformanceId)>, RepositoryError> {
        let mut performances = Vec::with_capacity(seat_ids.len());
        for ids in seat_ids.chunks(IDS_PER_STATEMENT) {
            let ids = padded(ids.iter().map(|id| id.0));
            let text = format!(
                "SELECT id, performance_id FROM seats FORCE INDEX (PRIMARY) WHERE id IN {}",
                placeholder_list(ids.len())
            );
            let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
            let rows: Vec<(u64, u64)> = query.fetch_all(self.connection()).await?;
            performances.extend(rows.into_iter().map(|(seat, id)| (SeatId(seat), PerformanceId(id))));
        }
        Ok(performances)
    }

    async fn lock_claims(&mut self, seat_ids: &[SeatId]) -> Result<Vec<SeatClaim>, RepositoryError> {
        let mut seat_ids = seat_ids.to_vec();
        seat_ids.sort_unstable();
        let mut claims = Vec::with_capacity(seat_ids.len());
        for ids in seat_ids.chunks(IDS_PER_STATEMENT) {
            let ids = padded(ids.iter().map(|id| id.0));
            // Each seat before its claim: a claim is only written under the lock of its seat.
            let text = format!(
                "SELECT c.seat_id, c.booking_id, c.held_until FROM seats s FORCE INDEX (PRIMARY) \
                 STRAIGHT_JOIN seat_claims c FORCE INDEX (PRIMARY) ON c.seat_id = s.id \
                 WHERE s.id IN {} ORDER BY s.id FOR UPDATE",
                placeholder_list(ids.len())
            );
            let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
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
            let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
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
        // The index covers the query. It is forced, since most claims of a large performance are old, regardless of
        // statistics.
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
            // Without the index a small table would be scanned, and the scan waits for the locks of other transactions.
            let text = format!(
                "DELETE c FROM seat_claims c FORCE INDEX (PRIMARY) WHERE c.seat_id IN {} AND c.held_until <= ?",
                placeholder_list(ids.len())
            );
            let query = sqlx::query(AssertSqlSafe(text)).bind_all(ids);
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
            query.execute(self.connection()).await.map_err(stale_if_claimed)?;
        }
        Ok(())
    }

    async fn insert_blocks(
        &mut self,
        performance_id: PerformanceId,
        seat_ids: &[SeatId],
        now: Instant,
    ) -> Result<(), RepositoryError> {
        for part in parts(seat_ids, SEATS_PER_STATEMENT) {
            let text = format!(
                "INSERT INTO seat_claims (seat_id, performance_id, held_until, changed_at) VALUES {}",
                placeholder_rows(4, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for seat in part {
                query = query.bind(seat.0).bind(performance_id.0).bind(datetime(BLOCK_END)).bind(now);
            }
            query.execute(self.connection()).await.map_err(stale_if_claimed)?;
        }
        Ok(())
    }

    async fn release_blocks(&mut self, seat_ids: &[SeatId], now: Instant) -> Result<(), RepositoryError> {
        let text = |ids: &str| {
            format!(
                "UPDATE seat_claims FORCE INDEX (PRIMARY) SET held_until = ?, changed_at = ? \
                 WHERE seat_id IN {ids} AND booking_id IS NULL AND held_until = ?"
            )
        };
        let ids = seat_ids.iter().map(|id| id.0);
        let bind = |query: Statement, ids| query.bind(now).bind(now).bind_all(ids).bind(datetime(BLOCK_END));
        let found = self.write_by_id(ids, text, bind).await?;
        require_rows(found, seat_ids.len(), "a blocked seat")
    }

    async fn update_claims(&mut self, bookings: &[Booking], now: Instant) -> Result<(), RepositoryError> {
        let changes = BookingChanges::of(bookings);
        let confirmed: Vec<_> = changes.confirmed.into_values().flatten().collect();
        for bookings in portions(&confirmed) {
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
        // The claims of expired bookings ended at their deadline: there is nothing to write.
        Ok(())
    }
}
