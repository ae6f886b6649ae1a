//! SQL of venues, concerts, performances and seats.

use async_trait::async_trait;
use chrono::NaiveDateTime;
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, FromRow, MySql, QueryBuilder};

use super::{
    error::corrupt,
    sql::{datetime, padded, placeholder_list, placeholder_rows},
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    concert::{
        Concert, ConcertFields, ConcertFilter, ConcertRepository, Occupancy, PERFORMANCE_LENGTH, Performance,
        PerformanceStatus, Seat, Seating, Section, Venue, row_name,
    },
    id::{ConcertId, PerformanceId, SeatId, VenueId},
    page::Page,
    points::Points,
    repository_error::RepositoryError,
    text::Name,
};

/// How many seats one statement stores: below the 65,535 values that one can carry, and few enough that a performance of
/// 100,000 seats is never in memory at once. Not fewer: over TLS each long statement waits 45 ms for an acknowledgement,
/// since sqlx leaves Nagle's algorithm on.
const SEATS_PER_INSERT: usize = 4_096;

const CONCERT: &str = "SELECT id, title, artist, category, description, first_performance_at, last_performance_at, \
     min_price, max_price, listed_at FROM concerts c";

const PERFORMANCE: &str = "SELECT p.id, p.concert_id, p.starts_at, p.total_seats, p.min_price, p.max_price, \
     p.cancelled_at, p.venue_id, v.name AS venue_name, v.address AS venue_address FROM performances p";

/// Performances come first in every plan, and what belongs to them by primary key. For reads without a lock.
const CONCERT_AND_VENUE: &str = " STRAIGHT_JOIN concerts c FORCE INDEX (PRIMARY) \
     ON c.id = p.concert_id AND c.deleted_at IS NULL STRAIGHT_JOIN venues v FORCE INDEX (PRIMARY) ON v.id = p.venue_id";

/// The same with the rest in scalar subqueries, so that a locking read locks performances alone: whoever books doesn't
/// wait while a performance with all of its seats is added to the concert.
const PERFORMANCE_ALONE: &str = "SELECT p.id, p.concert_id, p.starts_at, p.total_seats, p.min_price, p.max_price, \
     p.cancelled_at, p.venue_id, (SELECT v.name FROM venues v WHERE v.id = p.venue_id) AS venue_name, \
     (SELECT v.address FROM venues v WHERE v.id = p.venue_id) AS venue_address \
     FROM performances p FORCE INDEX (PRIMARY) WHERE (SELECT c.deleted_at IS NULL FROM concerts c WHERE c.id = p.concert_id)";

const SEAT: &str = "SELECT id, performance_id, section, row_name, row_rank, number, grade, price FROM seats";

#[derive(FromRow)]
struct VenueRow {
    id: u64,
    name: String,
    address: String,
}

impl TryFrom<VenueRow> for Venue {
    type Error = RepositoryError;

    fn try_from(row: VenueRow) -> Result<Self, RepositoryError> {
        Ok(Self { id: VenueId(row.id), name: Name::stored(row.name), address: Name::stored(row.address) })
    }
}

#[derive(FromRow)]
struct ConcertRow {
    id: u64,
    title: String,
    artist: String,
    category: String,
    description: String,
    first_performance_at: Option<Instant>,
    last_performance_at: Option<Instant>,
    min_price: Option<Decimal>,
    max_price: Option<Decimal>,
    listed_at: Instant,
}

impl TryFrom<ConcertRow> for Concert {
    type Error = RepositoryError;

    fn try_from(row: ConcertRow) -> Result<Self, RepositoryError> {
        let fields = ConcertFields {
            title: Name::stored(row.title),
            artist: Name::stored(row.artist),
            category: Name::stored(row.category),
            description: row.description,
        };
        let prices = row.min_price.zip(row.max_price);
        Ok(Self {
            id: ConcertId(row.id),
            fields,
            first_and_last: row.first_performance_at.zip(row.last_performance_at),
            prices: prices.map(|(min, max)| Ok::<_, RepositoryError>((price(min)?, price(max)?))).transpose()?,
            listed_at: row.listed_at,
        })
    }
}

#[derive(FromRow)]
struct PerformanceRow {
    id: u64,
    concert_id: u64,
    starts_at: Instant,
    total_seats: u32,
    min_price: Decimal,
    max_price: Decimal,
    cancelled_at: Option<Instant>,
    venue_id: u64,
    venue_name: String,
    venue_address: String,
}

impl TryFrom<PerformanceRow> for Performance {
    type Error = RepositoryError;

    fn try_from(row: PerformanceRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            id: PerformanceId(row.id),
            concert_id: ConcertId(row.concert_id),
            venue: Venue {
                id: VenueId(row.venue_id),
                name: Name::stored(row.venue_name),
                address: Name::stored(row.venue_address),
            },
            starts_at: row.starts_at,
            total_seats: row.total_seats,
            prices: (price(row.min_price)?, price(row.max_price)?),
            status: row.cancelled_at.map_or(PerformanceStatus::Scheduled, PerformanceStatus::Cancelled),
        })
    }
}

#[derive(FromRow)]
pub(super) struct SeatRow {
    id: u64,
    performance_id: u64,
    section: String,
    row_name: String,
    row_rank: u16,
    number: u16,
    grade: String,
    price: Decimal,
}

impl TryFrom<SeatRow> for Seat {
    type Error = RepositoryError;

    fn try_from(row: SeatRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            id: SeatId(row.id),
            performance_id: PerformanceId(row.performance_id),
            section: row.section,
            row: row.row_name,
            row_rank: row.row_rank,
            number: row.number,
            grade: row.grade,
            price: price(row.price)?,
        })
    }
}

fn price(amount: Decimal) -> Result<Points, RepositoryError> {
    Points::new(amount).map_err(|_| corrupt("a price", amount))
}

fn into_all<Row, T: TryFrom<Row, Error = RepositoryError>>(rows: Vec<Row>) -> Result<Vec<T>, RepositoryError> {
    rows.into_iter().map(T::try_from).collect()
}

/// A `LIKE` pattern, to be used with `ESCAPE '!'`, for texts that contain `part`. The escape character is not the
/// backslash, whose meaning depends on the server's SQL mode.
fn containing(part: &str) -> String {
    let mut pattern = String::from("%");
    for character in part.chars() {
        if matches!(character, '!' | '%' | '_') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// Concerts by dates, past ones included, in the order of their first performance; without dates what is to come.
fn concerts_query(filter: &ConcertFilter, now: Instant) -> QueryBuilder<MySql> {
    if filter.from.is_none() && filter.to.is_none() {
        return upcoming_query(filter, datetime(now));
    }
    let mut query = QueryBuilder::new(CONCERT);
    query.push(" WHERE c.deleted_at IS NULL");
    push_words(&mut query, filter);
    push_dates(&mut query, filter.from.map(datetime), filter.to.map(datetime));
    push_page(&mut query, filter, "c.listed_at", "c.id");
    query
}

/// Only concerts with a performance in `from..to`, by what their own rows say of the first and the last one:
/// `ix_concerts_last` or `ix_concerts_listed`, whichever leaves less to read. With both bounds the performance may be
/// neither of them: it is looked for in `ix_performances_concert`, one concert at a time, and no further than the page;
/// an `EXISTS` would be turned into a list of all performances between the two.
fn push_dates(query: &mut QueryBuilder<MySql>, from: Option<NaiveDateTime>, to: Option<NaiveDateTime>) {
    if let Some(from) = from {
        query.push(" AND c.last_performance_at >= ").push_bind(from);
    }
    if let Some(to) = to {
        // Those without a performance are listed at the end of time, which isn't late enough for every `to`.
        query.push(" AND c.listed_at < ").push_bind(to).push(" AND c.first_performance_at IS NOT NULL");
    }
    if let (Some(from), Some(to)) = (from, to) {
        query.push(
            " AND (SELECT p.id FROM performances p FORCE INDEX (ix_performances_concert) \
             WHERE p.concert_id = c.id AND p.cancelled_at IS NULL",
        );
        query.push(" AND p.starts_at >= ").push_bind(from).push(" AND p.starts_at < ").push_bind(to);
        query.push(" LIMIT 1) IS NOT NULL");
    }
}

/// Concerts in the order of the next performance that hasn't begun, then those without a performance.
///
/// Those whose first performance is to come are read in the order of `ix_concerts_listed`, no further than the page. Those
/// that have begun and go on are few at any time: `ix_concerts_last` finds them, and `ix_performances_concert` the next
/// performance of each.
fn upcoming_query(filter: &ConcertFilter, now: NaiveDateTime) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("(");
    query.push(CONCERT).push(" WHERE c.deleted_at IS NULL AND c.listed_at > ").push_bind(now);
    push_words(&mut query, filter);
    push_page(&mut query, filter, "c.listed_at", "c.id");
    query.push(
        ") UNION ALL (SELECT id, title, artist, category, description, first_performance_at, last_performance_at, \
         min_price, max_price, next_at AS listed_at FROM (SELECT c.id, c.title, c.artist, c.category, c.description, \
         c.first_performance_at, c.last_performance_at, c.min_price, c.max_price, \
         (SELECT p.starts_at FROM performances p FORCE INDEX (ix_performances_concert) \
         WHERE p.concert_id = c.id AND p.cancelled_at IS NULL AND p.starts_at > ",
    );
    query.push_bind(now).push(" ORDER BY p.starts_at LIMIT 1) AS next_at FROM concerts c WHERE c.deleted_at IS NULL");
    query.push(" AND c.listed_at <= ").push_bind(now).push(" AND c.last_performance_at > ").push_bind(now);
    push_words(&mut query, filter);
    query.push(") running WHERE next_at IS NOT NULL");
    push_page(&mut query, filter, "next_at", "id");
    query.push(") ORDER BY listed_at, id LIMIT ").push_bind(one_more(filter.limit));
    query
}

fn push_words(query: &mut QueryBuilder<MySql>, filter: &ConcertFilter) {
    if let Some(category) = &filter.category {
        query.push(" AND c.category = ").push_bind(category.clone());
    }
    if let Some(part) = &filter.query {
        let pattern = containing(part);
        query.push(" AND (c.title LIKE ").push_bind(pattern.clone()).push(" ESCAPE '!'");
        query.push(" OR c.artist LIKE ").push_bind(pattern).push(" ESCAPE '!')");
    }
}

/// The next page behind `after`, in the order of these two columns.
fn push_page(query: &mut QueryBuilder<MySql>, filter: &ConcertFilter, at: &'static str, id: &'static str) {
    if let Some((listed_at, concert_id)) = filter.after {
        query.push(" AND (").push(at).push(" > ").push_bind(datetime(listed_at));
        query.push(" OR (").push(at).push(" = ").push_bind(datetime(listed_at));
        query.push(" AND ").push(id).push(" > ").push_bind(concert_id.0).push("))");
    }
    query.push(" ORDER BY ").push(at).push(", ").push(id).push(" LIMIT ").push_bind(one_more(filter.limit));
}

/// One row more than a page has tells whether another page follows.
fn one_more(limit: u32) -> u32 {
    limit.saturating_add(1)
}

impl Session {
    /// Brings what a concert's row repeats of its performances up to date. Its row must be locked: two transactions
    /// that change performances of one concert would otherwise each miss the other's.
    async fn refresh_concert(&mut self, id: ConcertId) -> Result<(), RepositoryError> {
        sqlx::query(
            "UPDATE concerts c LEFT JOIN (SELECT concert_id, MIN(starts_at) AS first_at, MAX(starts_at) AS last_at, \
             MIN(min_price) AS min_price, MAX(max_price) AS max_price FROM performances \
             WHERE concert_id = ? AND cancelled_at IS NULL GROUP BY concert_id) p ON p.concert_id = c.id \
             SET c.first_performance_at = p.first_at, c.last_performance_at = p.last_at, \
             c.min_price = p.min_price, c.max_price = p.max_price, \
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
            // The last chunk's size is any size: not worth a place in the statement cache.
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

    async fn list_venues(&mut self, after: Option<VenueId>, limit: u32) -> Result<Page<Venue>, RepositoryError> {
        let rows: Vec<VenueRow> =
            sqlx::query_as("SELECT id, name, address FROM venues WHERE id > ? ORDER BY id LIMIT ?")
                .bind(after.map_or(0, |id| id.0))
                .bind(one_more(limit))
                .fetch_all(self.connection())
                .await?;
        Ok(Page::of(into_all(rows)?, limit))
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
        Ok(Page::of(into_all(rows)?, filter.limit))
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
        if result.rows_affected() == 1 { Ok(()) } else { Err(RepositoryError::stale("a concert")) }
    }

    async fn delete_concert(&mut self, id: ConcertId, now: Instant) -> Result<(), RepositoryError> {
        let result = sqlx::query("UPDATE concerts SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
            .bind(now)
            .bind(id.0)
            .execute(self.connection())
            .await?;
        if result.rows_affected() == 1 { Ok(()) } else { Err(RepositoryError::stale("a concert")) }
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
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let rows: Vec<PerformanceRow> = query.fetch_all(self.connection()).await?;
        into_all(rows)
    }

    async fn list_performances(
        &mut self,
        concert_id: ConcertId,
        now: Instant,
        after: Option<(Instant, PerformanceId)>,
        limit: u32,
    ) -> Result<Page<Performance>, RepositoryError> {
        let mut query: QueryBuilder<MySql> = QueryBuilder::new(PERFORMANCE);
        query.push(CONCERT_AND_VENUE).push(" WHERE p.concert_id = ").push_bind(concert_id.0);
        query.push(" AND p.cancelled_at IS NULL AND p.starts_at > ").push_bind(now);
        if let Some((starts_at, id)) = after {
            query.push(" AND (p.starts_at > ").push_bind(datetime(starts_at));
            query
                .push(" OR (p.starts_at = ")
                .push_bind(datetime(starts_at))
                .push(" AND p.id > ")
                .push_bind(id.0)
                .push("))");
        }
        query.push(" ORDER BY p.starts_at, p.id LIMIT ").push_bind(one_more(limit));
        let rows: Vec<PerformanceRow> = query.build_query_as().fetch_all(self.connection()).await?;
        Ok(Page::of(into_all(rows)?, limit))
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
            "SELECT p.concert_id, p.id, p.total_seats FROM performances p \
             JOIN concerts c ON c.id = p.concert_id AND c.deleted_at IS NULL \
             WHERE p.concert_id IN {} AND p.cancelled_at IS NULL AND p.starts_at > ? \
             ORDER BY p.concert_id, p.starts_at, p.id",
            placeholder_list(ids.len())
        );
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let rows: Vec<(u64, u64, u32)> = query.bind(now).fetch_all(self.connection()).await?;
        let typed = |(concert, performance, seats)| (ConcertId(concert), PerformanceId(performance), seats);
        Ok(rows.into_iter().map(typed).collect())
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

    async fn cancel_performances_of(&mut self, concert_id: ConcertId, now: Instant) -> Result<(), RepositoryError> {
        // ix_performances_concert.
        let text = "UPDATE performances SET cancelled_at = ? \
                    WHERE concert_id = ? AND starts_at > ? AND cancelled_at IS NULL";
        sqlx::query(text)
            .bind(now)
            .bind(concert_id.0)
            .bind(datetime(now - PERFORMANCE_LENGTH))
            .execute(self.connection())
            .await?;
        self.refresh_concert(concert_id).await
    }

    async fn list_unfinished_cancellations(
        &mut self,
        after: Option<PerformanceId>,
        limit: u32,
    ) -> Result<Vec<PerformanceId>, RepositoryError> {
        // Few are cancelled: ix_performances_cancelled finds them.
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
        let query = ids.iter().fold(sqlx::query_as(AssertSqlSafe(text)), |query, id| query.bind(*id));
        let rows: Vec<(u64, i64)> = query.bind(now).fetch_all(self.connection()).await?;
        let occupancy = |(id, count)| {
            let claimed = u32::try_from(count).map_err(|_| corrupt("a count of claims", count))?;
            Ok(Occupancy { performance_id: PerformanceId(id), claimed })
        };
        rows.into_iter().map(occupancy).collect()
    }

    async fn list_seats(&mut self, id: PerformanceId) -> Result<Vec<Seat>, RepositoryError> {
        let text = format!("{SEAT} WHERE performance_id = ? ORDER BY section, row_rank, number");
        let rows: Vec<SeatRow> = sqlx::query_as(AssertSqlSafe(text)).bind(id.0).fetch_all(self.connection()).await?;
        into_all(rows)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::{
        super::fixtures_catalogue::{at, concert, database, hold, is_locked, name, points, sale, section, user},
        *,
    };
    use crate::domain::unit_of_work::Database;

    fn everything() -> ConcertFilter {
        ConcertFilter { query: None, category: None, from: None, to: None, after: None, limit: 10 }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn venues_are_listed_by_id_a_page_at_a_time(pool: MySqlPool) {
        let mut uow = database(&pool).begin().await.unwrap();
        let venues = uow.concerts();
        let first = venues.insert_venue(&name("One"), &name("Street 1"), at(0)).await.unwrap();
        let second = venues.insert_venue(&name("둘"), &name("Street 2"), at(0)).await.unwrap();
        let page = venues.list_venues(None, 1).await.unwrap();
        assert_eq!((page.items[0].id, page.has_more), (first.id, true));
        let page = venues.list_venues(Some(first.id), 1).await.unwrap();
        assert_eq!((page.items[0].id, page.has_more), (second.id, false));
        assert_eq!(venues.find_venue(second.id).await.unwrap().unwrap().name.as_str(), "둘");
        assert!(venues.find_venue(VenueId(99)).await.unwrap().is_none());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_performance_has_every_seat_and_its_concert_follows_it(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let concerts = uow.concerts();
        // More than one statement's worth of seats, and a rest.
        let sections = vec![section("B", 30, 140, "5"), section("C", 1, 3, "99.99")];
        let seating = Seating::new(sections).unwrap();
        let id = concerts.insert_performance(sale.concert_id, sale.venue_id, at(500), &seating, at(1)).await.unwrap();
        let seats = concerts.list_seats(id).await.unwrap();
        assert_eq!(seats.len(), 4_203);
        assert_eq!((seats[140].row.as_str(), seats[140].row_rank, seats[140].number), ("B", 2, 1));
        assert_eq!((seats[4_199].row.as_str(), seats[4_199].number), ("AD", 140));
        assert_eq!((seats[4_202].section.as_str(), seats[4_202].price), ("C", points("99.99")));

        let found = concerts.lock_concert(sale.concert_id).await.unwrap().unwrap();
        assert_eq!(found.first_and_last, Some((at(500), at(86_400))));
        assert_eq!(found.prices, Some((points("5"), points("99.99"))));
        assert_eq!(found.listed_at, at(500));

        concerts.cancel_performance(id, at(2)).await.unwrap();
        concerts.cancel_performance(id, at(3)).await.unwrap();
        let cancelled = concerts.find_performance(id).await.unwrap().unwrap();
        assert_eq!(cancelled.status, PerformanceStatus::Cancelled(at(2)));
        let found = concerts.find_concert(sale.concert_id).await.unwrap().unwrap();
        assert_eq!(found.first_and_last, Some((at(86_400), at(86_400))));
        assert_eq!(found.prices, Some((points("10.50"), points("10.50"))));

        concerts.cancel_performance(sale.performance_id, at(2)).await.unwrap();
        let found = concerts.find_concert(sale.concert_id).await.unwrap().unwrap();
        assert_eq!((found.first_and_last, found.prices), (None, None));
        assert_eq!(found.listed_at.to_rfc3339(), "9999-12-31T00:00:00+00:00");
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn concerts_are_found_by_words_category_and_dates(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let concerts = uow.concerts();
        let odd = ConcertFields { category: name("Jazz"), ..concert("100%_!\\ Live", "Jin") };
        let odd = concerts.insert_concert(&odd, at(0)).await.unwrap();
        for (word, expected) in [
            ("title", vec![sale.concert_id]),
            ("ARTI", vec![sale.concert_id]),
            ("jin", vec![odd]),
            ("%", vec![odd]),
            ("0%_!\\ l", vec![odd]),
            ("_i", vec![]),
            ("", vec![sale.concert_id, odd]),
        ] {
            let filter = ConcertFilter { query: Some(word.to_owned()), ..everything() };
            let found = concerts.list_concerts(&filter, at(0)).await.unwrap();
            assert_eq!(found.items.iter().map(|concert| concert.id).collect::<Vec<_>>(), expected, "{word:?}");
        }
        let jazz = ConcertFilter { category: Some("jazz".to_owned()), ..everything() };
        assert_eq!(concerts.list_concerts(&jazz, at(0)).await.unwrap().items[0].id, odd);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn concerts_are_found_by_the_dates_of_their_performances(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let concerts = uow.concerts();
        concerts.insert_concert(&concert("Without a performance", "x"), at(0)).await.unwrap();
        let seating = Seating::new(vec![section("A", 1, 1, "1")]).unwrap();
        for day in [3, 5] {
            let starts_at = at(day * 86_400);
            concerts.insert_performance(sale.concert_id, sale.venue_id, starts_at, &seating, at(0)).await.unwrap();
        }
        let cancelled =
            concerts.insert_performance(sale.concert_id, sale.venue_id, at(9 * 86_400), &seating, at(0)).await;
        concerts.cancel_performance(cancelled.unwrap(), at(0)).await.unwrap();
        let end_of_time = "9999-12-31T23:59:59Z".parse().unwrap();
        let day = |days: i64| Some(at(days * 86_400));
        for (from, to, expected) in [
            (day(1), None, 1),
            (day(5), None, 1),
            (day(6), None, 0),
            (None, day(1), 0),
            (None, day(2), 1),
            (None, Some(end_of_time), 1),
            (day(0), day(1), 0),
            (day(1), day(2), 1),
            // Between two performances there is none.
            (day(2), day(3), 0),
            (day(3), day(4), 1),
            (day(2), day(9), 1),
            (day(8), day(10), 0),
        ] {
            let filter = ConcertFilter { from, to, ..everything() };
            assert_eq!(concerts.list_concerts(&filter, at(0)).await.unwrap().items.len(), expected, "{from:?} {to:?}");
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn concerts_are_listed_soonest_first_and_not_once_deleted(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let concerts = uow.concerts();
        let later = concerts.insert_concert(&concert("Later", "x"), at(0)).await.unwrap();
        let latest = concerts.insert_concert(&concert("Latest", "x"), at(0)).await.unwrap();
        let mut listed = Vec::new();
        let mut filter = ConcertFilter { limit: 1, ..everything() };
        loop {
            let page = concerts.list_concerts(&filter, at(0)).await.unwrap();
            filter.after = page.items.last().map(|concert| (concert.listed_at, concert.id));
            listed.extend(page.items.iter().map(|concert| concert.id));
            if !page.has_more {
                break;
            }
        }
        assert_eq!(listed, [sale.concert_id, later, latest]);

        concerts.update_concert(sale.concert_id, &concert("Other", "x")).await.unwrap();
        let found = concerts.find_concert(sale.concert_id).await.unwrap().unwrap();
        assert_eq!(found.fields.title.as_str(), "Other");
        concerts.delete_concert(sale.concert_id, at(1)).await.unwrap();
        assert!(concerts.find_concert(sale.concert_id).await.unwrap().is_none());
        assert!(concerts.lock_concert(sale.concert_id).await.unwrap().is_none());
        assert!(concerts.find_performance(sale.performance_id).await.unwrap().is_none());
        assert!(concerts.share_performances(&[sale.performance_id]).await.unwrap().is_empty());
        assert!(concerts.list_performances(sale.concert_id, at(0), None, 9).await.unwrap().items.is_empty());
        assert_eq!(concerts.list_concerts(&everything(), at(0)).await.unwrap().items.len(), 2);
        for error in [
            concerts.delete_concert(sale.concert_id, at(1)).await,
            concerts.update_concert(sale.concert_id, &concert("Other", "x")).await,
        ] {
            assert!(matches!(error, Err(RepositoryError::Contention { .. })), "{error:?}");
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_performance_may_be_in_another_generation(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let concerts = uow.concerts();
        // Later than a TIMESTAMP can be.
        let starts_at = at(1_000_000_000);
        let seating = Seating::new(vec![section("A", 1, 1, "1")]).unwrap();
        let id = concerts.insert_performance(sale.concert_id, sale.venue_id, starts_at, &seating, at(0)).await;
        let id = id.unwrap();
        assert_eq!(concerts.find_performance(id).await.unwrap().unwrap().starts_at, starts_at);
        let after = Some((at(86_400), sale.performance_id));
        let page = concerts.list_performances(sale.concert_id, at(0), after, 9).await.unwrap();
        assert_eq!(page.items.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
        let filter = ConcertFilter { from: Some(starts_at), to: Some(at(1_000_000_001)), ..everything() };
        assert_eq!(concerts.list_concerts(&filter, at(0)).await.unwrap().items.len(), 1);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn upcoming_performances_are_listed_soonest_first(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let mut uow = database.begin().await.unwrap();
        let concerts = uow.concerts();
        let seating = Seating::new(vec![section("A", 1, 1, "1")]).unwrap();
        let mut ids = vec![sale.performance_id];
        for starts_at in [86_400, 100, 50] {
            let starts_at = at(starts_at);
            let id = concerts.insert_performance(sale.concert_id, sale.venue_id, starts_at, &seating, at(0));
            ids.push(id.await.unwrap());
        }
        concerts.cancel_performance(ids[3], at(0)).await.unwrap();
        let first = concerts.list_performances(sale.concert_id, at(0), None, 2).await.unwrap();
        assert_eq!(first.items.iter().map(|it| it.id).collect::<Vec<_>>(), [ids[2], ids[0]]);
        assert_eq!(first.items[1].venue.name.as_str(), "Hall");
        let after = Some((first.items[1].starts_at, first.items[1].id));
        let second = concerts.list_performances(sale.concert_id, at(0), after, 2).await.unwrap();
        assert_eq!((second.items.len(), second.items[0].id, second.has_more), (1, ids[1], false));
        let future = concerts.list_future_performances(&[sale.concert_id], at(100)).await.unwrap();
        assert_eq!(future, [(sale.concert_id, ids[0], 10), (sale.concert_id, ids[1], 1)]);
        assert!(concerts.list_future_performances(&[], at(0)).await.unwrap().is_empty());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn locks_are_on_what_was_asked_for_and_nothing_else(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let (first, second) = (sale.seats[0].id, sale.seats[1].id);
        let mut uow = database.begin().await.unwrap();
        let absent = SeatId(999);
        let (here, elsewhere, third) = (sale.performance_id, PerformanceId(999), sale.seats[2].id);
        let asked = [(second, here), (absent, here), (first, here), (third, elsewhere)];
        let locked = uow.bookings().lock_seats(&asked).await.unwrap();
        assert_eq!(locked, sale.seats[..2].iter().cloned().map(|seat| (seat, None)).collect::<Vec<_>>());
        assert!(is_locked(&pool, "seats", "id", first.0).await);
        assert!(!is_locked(&pool, "seats", "id", third.0).await);
        assert!(uow.bookings().lock_seats(&[]).await.unwrap().is_empty());

        let ids = [sale.performance_id, PerformanceId(999)];
        let shared = uow.concerts().share_performances(&ids).await.unwrap();
        assert_eq!((shared.len(), shared[0].total_seats), (1, 10));
        assert!(is_locked(&pool, "performances", "id", sale.performance_id.0).await);
        assert!(!is_locked(&pool, "concerts", "id", sale.concert_id.0).await);
        let mut other = database.begin().await.unwrap();
        assert_eq!(other.concerts().share_performances(&ids).await.unwrap().len(), 1);
        assert!(other.concerts().share_performances(&[]).await.unwrap().is_empty());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn occupancy_counts_claims_until_their_deadline(pool: MySqlPool) {
        let database = database(&pool);
        let sale = sale(&database).await;
        let user_id = user(&pool, 1).await;
        hold(&database, &[sale.booking(1, user_id, 0, 3)]).await;
        let mut uow = database.begin().await.unwrap();
        let ids = [sale.performance_id, PerformanceId(999)];
        let occupied = uow.concerts().list_occupancy(&ids, at(299)).await.unwrap();
        assert_eq!(occupied, [Occupancy { performance_id: sale.performance_id, claimed: 3 }]);
        assert!(uow.concerts().list_occupancy(&ids, at(300)).await.unwrap().is_empty());
        assert!(uow.concerts().list_occupancy(&[], at(0)).await.unwrap().is_empty());
    }
}
