//! The repository of venues, concerts, performances and seats.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, MySql, QueryBuilder};

use super::{
    super::{
        error::{corrupt, require_rows},
        rows_by_id::BindAll,
        sql::{datetime, padded, placeholder_list, placeholder_rows},
        unit_of_work::Session,
    },
    rows::{
        CONCERT, CONCERT_AND_VENUE, ConcertRow, PERFORMANCE, PERFORMANCE_ALONE, PerformanceRow, SEAT, SeatRow,
        VenueRow, into_all,
    },
    search::concerts_query,
};
use crate::domain::{
    clock::Instant,
    concert::{
        Concert, ConcertFields, ConcertFilter, ConcertRepository, Occupancy, PERFORMANCE_LENGTH, Performance,
        PerformanceSales, Seat, Seating, Section, Venue, row_name,
    },
    id::{ConcertId, PerformanceId, VenueId},
    page::{Page, PageRequest},
    repository_error::RepositoryError,
    text::Name,
};

/// Maximum of seats in one insert: within 65,535 bound values, and so that 100,000 seats are never in memory at once.
///
/// Fewer would be slower: over TLS each long statement waits 45 ms for an acknowledgement, since sqlx leaves Nagle's
/// algorithm on.
const SEATS_PER_INSERT: usize = 4_096;

impl Session {
    /// Updates the columns of a concert that are derived from its performances. The caller has locked the concert:
    /// without the lock, concurrent changes of its performances would miss each other.
    ///
    /// The row changes even if these columns don't, so that two changes at different nodes of a cluster conflict.
    async fn refresh_concert(&mut self, id: ConcertId) -> Result<(), RepositoryError> {
        sqlx::query(
            "UPDATE concerts c LEFT JOIN (SELECT concert_id, MIN(starts_at) AS first_at, MAX(starts_at) AS last_at, \
             MIN(min_price) AS min_price, MAX(max_price) AS max_price FROM performances \
             WHERE concert_id = ? AND cancelled_at IS NULL GROUP BY concert_id) p ON p.concert_id = c.id \
             SET c.first_performance_at = p.first_at, c.last_performance_at = p.last_at, \
             c.min_price = p.min_price, c.max_price = p.max_price, c.write_count = c.write_count + 1, \
             c.listed_at = COALESCE(p.first_at, '9999-12-31 00:00:00') WHERE c.id = ?",
        )
        .bind(id.0)
        .bind(id.0)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn insert_section(&mut self, id: PerformanceId, section: &Section) -> Result<(), RepositoryError> {
        let mut places = (1..=section.rows)
            .flat_map(|rank| (1..=section.seats_per_row).map(move |number| (rank, number)))
            .peekable();
        while places.peek().is_some() {
            let chunk: Vec<_> = places.by_ref().take(SEATS_PER_INSERT).collect();
            let text = format!(
                "INSERT INTO seats (performance_id, section, row_name, row_rank, number, grade, price) VALUES {}",
                placeholder_rows(7, chunk.len())
            );
            // The last chunk may have any length, so its statement isn't kept prepared.
            let mut query = sqlx::query(AssertSqlSafe(text)).persistent(chunk.len() == SEATS_PER_INSERT);
            for (rank, number) in chunk {
                query = query.bind(id.0).bind(section.name.as_str()).bind(row_name(rank)).bind(rank).bind(number);
                query = query.bind(section.grade.as_str()).bind(section.price.as_decimal());
            }
            query.execute(self.connection()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl ConcertRepository for Session {
    async fn insert_venue(&mut self, name: &Name, address: &Name, now: Instant) -> Result<Venue, RepositoryError> {
        let result = sqlx::query("INSERT INTO venues (name, address, created_at) VALUES (?, ?, ?)")
            .bind(name.as_str())
            .bind(address.as_str())
            .bind(now)
            .execute(self.connection())
            .await?;
        Ok(Venue { id: VenueId(result.last_insert_id()), name: name.clone(), address: address.clone() })
    }

    async fn list_venues(&mut self, page: PageRequest<VenueId>) -> Result<Page<Venue>, RepositoryError> {
        let rows: Vec<VenueRow> =
            sqlx::query_as("SELECT id, name, address FROM venues WHERE id > ? ORDER BY id LIMIT ?")
                .bind(page.after.map_or(0, |id| id.0))
                .bind(page.rows_to_read())
                .fetch_all(self.connection())
                .await?;
        Ok(Page::of(into_all(rows)?, page.limit))
    }

    async fn find_venue(&mut self, id: VenueId) -> Result<Option<Venue>, RepositoryError> {
        let row: Option<VenueRow> = sqlx::query_as("SELECT id, name, address FROM venues WHERE id = ?")
            .bind(id.0)
            .fetch_optional(self.connection())
            .await?;
        row.map(Venue::try_from).transpose()
    }

    async fn insert_concert(&mut self, fields: &ConcertFields, now: Instant) -> Result<ConcertId, RepositoryError> {
        let result = sqlx::query(
            "INSERT INTO concerts (title, artist, category, description, listed_at, created_at) \
             VALUES (?, ?, ?, ?, '9999-12-31 00:00:00', ?)",
        )
        .bind(fields.title.as_str())
        .bind(fields.artist.as_str())
        .bind(fields.category.as_str())
        .bind(fields.description.as_str())
        .bind(now)
        .execute(self.connection())
        .await?;
        Ok(ConcertId(result.last_insert_id()))
    }

    async fn find_concert(&mut self, id: ConcertId) -> Result<Option<Concert>, RepositoryError> {
        let row: Option<ConcertRow> =
            sqlx::query_as(AssertSqlSafe(format!("{CONCERT} WHERE c.id = ? AND c.deleted_at IS NULL")))
                .bind(id.0)
                .fetch_optional(self.connection())
                .await?;
        row.map(Concert::try_from).transpose()
    }

    async fn lock_concert(&mut self, id: ConcertId) -> Result<Option<Concert>, RepositoryError> {
        let text = format!("{CONCERT} WHERE c.id = ? AND c.deleted_at IS NULL FOR UPDATE");
        let row: Option<ConcertRow> =
            sqlx::query_as(AssertSqlSafe(text)).bind(id.0).fetch_optional(self.connection()).await?;
        row.map(Concert::try_from).transpose()
    }

    async fn list_concerts(&mut self, filter: &ConcertFilter, now: Instant) -> Result<Page<Concert>, RepositoryError> {
        let mut query = concerts_query(filter, now);
        let rows: Vec<ConcertRow> = query.build_query_as().fetch_all(self.connection()).await?;
        Ok(Page::of(into_all(rows)?, filter.page.limit))
    }

    async fn update_concert(&mut self, id: ConcertId, fields: &ConcertFields) -> Result<(), RepositoryError> {
        let result = sqlx::query(
            "UPDATE concerts SET title = ?, artist = ?, category = ?, description = ? \
             WHERE id = ? AND deleted_at IS NULL",
        )
        .bind(fields.title.as_str())
        .bind(fields.artist.as_str())
        .bind(fields.category.as_str())
        .bind(fields.description.as_str())
        .bind(id.0)
        .execute(self.connection())
        .await?;
        require_rows(result.rows_affected(), 1, "a concert")
    }

    async fn delete_concert(&mut self, id: ConcertId, now: Instant) -> Result<(), RepositoryError> {
        let result = sqlx::query("UPDATE concerts SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
            .bind(now)
            .bind(id.0)
            .execute(self.connection())
            .await?;
        require_rows(result.rows_affected(), 1, "a concert")
    }

    async fn insert_performance(
        &mut self,
        concert_id: ConcertId,
        venue_id: VenueId,
        starts_at: Instant,
        seating: &Seating,
        now: Instant,
    ) -> Result<PerformanceId, RepositoryError> {
        let (min_price, max_price) = seating.prices();
        let result = sqlx::query(
            "INSERT INTO performances (concert_id, venue_id, starts_at, total_seats, min_price, max_price, created_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(concert_id.0)
        .bind(venue_id.0)
        .bind(datetime(starts_at))
        .bind(seating.seat_count())
        .bind(min_price.as_decimal())
        .bind(max_price.as_decimal())
        .bind(now)
        .execute(self.connection())
        .await?;
        let id = PerformanceId(result.last_insert_id());
        for section in seating.sections() {
            self.insert_section(id, section).await?;
        }
        self.refresh_concert(concert_id).await?;
        Ok(id)
    }

    async fn find_performance(&mut self, id: PerformanceId) -> Result<Option<Performance>, RepositoryError> {
        let row: Option<PerformanceRow> =
            sqlx::query_as(AssertSqlSafe(format!("{PERFORMANCE}{CONCERT_AND_VENUE} WHERE p.id = ?")))
                .bind(id.0)
                .fetch_optional(self.connection())
                .await?;
        row.map(Performance::try_from).transpose()
    }

    async fn share_performances(&mut self, ids: &[PerformanceId]) -> Result<Vec<Performance>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text =
            format!("{PERFORMANCE_ALONE} AND p.id IN {} ORDER BY p.id LOCK IN SHARE MODE", placeholder_list(ids.len()));
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let rows: Vec<PerformanceRow> = query.fetch_all(self.connection()).await?;
        into_all(rows)
    }

    async fn list_performances(
        &mut self,
        concert_id: ConcertId,
        now: Instant,
        page: PageRequest<(Instant, PerformanceId)>,
    ) -> Result<Page<Performance>, RepositoryError> {
        let mut query: QueryBuilder<MySql> = QueryBuilder::new(PERFORMANCE);
        query.push(CONCERT_AND_VENUE).push(" WHERE p.concert_id = ").push_bind(concert_id.0);
        query.push(" AND p.cancelled_at IS NULL AND p.starts_at > ").push_bind(now);
        if let Some((starts_at, id)) = page.after {
            query.push(" AND (p.starts_at > ").push_bind(datetime(starts_at));
            query
                .push(" OR (p.starts_at = ")
                .push_bind(datetime(starts_at))
                .push(" AND p.id > ")
                .push_bind(id.0)
                .push("))");
        }
        query.push(" ORDER BY p.starts_at, p.id LIMIT ").push_bind(page.rows_to_read());
        let rows: Vec<PerformanceRow> = query.build_query_as().fetch_all(self.connection()).await?;
        Ok(Page::of(into_all(rows)?, page.limit))
    }

    async fn list_future_performances(
        &mut self,
        concert_ids: &[ConcertId],
        now: Instant,
    ) -> Result<Vec<(ConcertId, PerformanceId, u32)>, RepositoryError> {
        if concert_ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(concert_ids.iter().map(|id| id.0));
        let text = format!(
            "SELECT p.concert_id, p.id, p.total_seats, p.sales_end_at FROM performances p \
             JOIN concerts c ON c.id = p.concert_id AND c.deleted_at IS NULL \
             WHERE p.concert_id IN {} AND p.cancelled_at IS NULL AND p.starts_at > ? \
             ORDER BY p.concert_id, p.starts_at, p.id",
            placeholder_list(ids.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let rows: Vec<(u64, u64, u32, Option<Instant>)> = query.bind(now).fetch_all(self.connection()).await?;
        let typed = |(concert, performance, seats, end): (u64, u64, u32, Option<Instant>)| {
            let on_sale = if end.is_some_and(|end| end <= now) { 0 } else { seats };
            (ConcertId(concert), PerformanceId(performance), on_sale)
        };
        Ok(rows.into_iter().map(typed).collect())
    }

    async fn lock_performance(&mut self, id: PerformanceId) -> Result<Option<Performance>, RepositoryError> {
        let text = format!("{PERFORMANCE_ALONE} AND p.id = ? FOR UPDATE");
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(id.0);
        let row: Option<PerformanceRow> = query.fetch_optional(self.connection()).await?;
        row.map(Performance::try_from).transpose()
    }

    async fn update_schedule(&mut self, performance: &Performance) -> Result<(), RepositoryError> {
        let result = sqlx::query("UPDATE performances SET starts_at = ?, sales_end_at = ? WHERE id = ?")
            .bind(datetime(performance.starts_at))
            .bind(performance.sales_end_at.map(datetime))
            .bind(performance.id.0)
            .execute(self.connection())
            .await?;
        require_rows(result.rows_affected(), 1, "a performance")?;
        self.refresh_concert(performance.concert_id).await
    }

    async fn cancel_performance(&mut self, id: PerformanceId, now: Instant) -> Result<(), RepositoryError> {
        let result = sqlx::query("UPDATE performances SET cancelled_at = ? WHERE id = ? AND cancelled_at IS NULL")
            .bind(now)
            .bind(id.0)
            .execute(self.connection())
            .await?;
        if result.rows_affected() == 0 {
            return Ok(());
        }
        let concert_id: u64 = sqlx::query_scalar("SELECT concert_id FROM performances WHERE id = ?")
            .bind(id.0)
            .fetch_one(self.connection())
            .await?;
        self.refresh_concert(ConcertId(concert_id)).await
    }

    async fn cancel_performances_of(
        &mut self,
        concert_id: ConcertId,
        now: Instant,
    ) -> Result<Vec<(PerformanceId, Instant)>, RepositoryError> {
        let earliest = datetime(now - PERFORMANCE_LENGTH);
        // ix_performances_concert, as below. These columns change only under the concert's lock.
        let text = "SELECT id, starts_at FROM performances \
                    WHERE concert_id = ? AND starts_at > ? AND cancelled_at IS NULL ORDER BY id";
        let query = sqlx::query_as(text).bind(concert_id.0).bind(earliest);
        let cancelled: Vec<(u64, Instant)> = query.fetch_all(self.connection()).await?;
        let text = "UPDATE performances SET cancelled_at = ? \
                    WHERE concert_id = ? AND starts_at > ? AND cancelled_at IS NULL";
        let query = sqlx::query(text).bind(now).bind(concert_id.0).bind(earliest);
        let result = query.execute(self.connection()).await?;
        require_rows(result.rows_affected(), cancelled.len(), "performances")?;
        self.refresh_concert(concert_id).await?;
        Ok(cancelled.into_iter().map(|(id, starts_at)| (PerformanceId(id), starts_at)).collect())
    }

    async fn list_unfinished_cancellations(
        &mut self,
        after: Option<PerformanceId>,
        limit: u32,
    ) -> Result<Vec<PerformanceId>, RepositoryError> {
        // ix_performances_cancelled has few entries.
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT p.id FROM performances p FORCE INDEX (ix_performances_cancelled) WHERE p.cancelled_at IS NOT NULL \
             AND p.id > ? AND EXISTS (SELECT 1 FROM bookings b WHERE b.performance_id = p.id \
             AND b.status IN ('PENDING', 'CONFIRMED')) ORDER BY p.id LIMIT ?",
        )
        .bind(after.map_or(0, |id| id.0))
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        Ok(ids.into_iter().map(PerformanceId).collect())
    }

    async fn list_occupancy(&mut self, ids: &[PerformanceId], now: Instant) -> Result<Vec<Occupancy>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text = format!(
            "SELECT performance_id, COUNT(*) FROM seat_claims WHERE performance_id IN {} \
             AND (held_until IS NULL OR held_until > ?) GROUP BY performance_id",
            placeholder_list(ids.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let rows: Vec<(u64, i64)> = query.bind(now).fetch_all(self.connection()).await?;
        let occupancy = |(id, count)| {
            let claimed = u32::try_from(count).map_err(|_| corrupt("a count of claims", count))?;
            Ok(Occupancy { performance_id: PerformanceId(id), claimed })
        };
        rows.into_iter().map(occupancy).collect()
    }

    async fn list_sales(
        &mut self,
        ids: &[PerformanceId],
        now: Instant,
    ) -> Result<Vec<PerformanceSales>, RepositoryError> {
        self.read_sales(ids, now).await
    }

    async fn list_seats(&mut self, id: PerformanceId) -> Result<Vec<Seat>, RepositoryError> {
        let text = format!("{SEAT} WHERE performance_id = ? ORDER BY section, row_rank, number");
        let rows: Vec<SeatRow> = sqlx::query_as(AssertSqlSafe(text)).bind(id.0).fetch_all(self.connection()).await?;
        into_all(rows)
    }
}
