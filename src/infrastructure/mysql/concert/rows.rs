//! The rows of venues, concerts, performances and seats.

use rust_decimal::Decimal;
use sqlx::FromRow;

use super::super::error::corrupt;
use crate::domain::{
    clock::Instant,
    concert::{Concert, ConcertFields, Performance, PerformanceStatus, Seat, Venue},
    id::{ConcertId, PerformanceId, SeatId, VenueId},
    points::Points,
    repository_error::RepositoryError,
    text::Name,
};

pub(super) const CONCERT: &str = "SELECT id, title, artist, category, description, first_performance_at, last_performance_at, \
     min_price, max_price, listed_at FROM concerts c";

pub(super) const PERFORMANCE: &str = "SELECT p.id, p.concert_id, p.starts_at, p.sales_end_at, p.total_seats, p.min_price, p.max_price, \
     p.cancelled_at, p.venue_id, v.name AS venue_name, v.address AS venue_address FROM performances p";

/// Joins in this order: performances first, then their concerts and venues by primary key. For reads without a lock.
pub(super) const CONCERT_AND_VENUE: &str = " STRAIGHT_JOIN concerts c FORCE INDEX (PRIMARY) \
     ON c.id = p.concert_id AND c.deleted_at IS NULL STRAIGHT_JOIN venues v FORCE INDEX (PRIMARY) ON v.id = p.venue_id";

/// The same with scalar subqueries, so that a locking read locks only performances. A booking doesn't wait while a
/// performance with all of its seats is added to the concert.
pub(super) const PERFORMANCE_ALONE: &str = "SELECT p.id, p.concert_id, p.starts_at, p.sales_end_at, p.total_seats, p.min_price, p.max_price, \
     p.cancelled_at, p.venue_id, (SELECT v.name FROM venues v WHERE v.id = p.venue_id) AS venue_name, \
     (SELECT v.address FROM venues v WHERE v.id = p.venue_id) AS venue_address \
     FROM performances p FORCE INDEX (PRIMARY) WHERE (SELECT c.deleted_at IS NULL FROM concerts c WHERE c.id = p.concert_id)";

pub(super) const SEAT: &str = "SELECT id, performance_id, section, row_name, row_rank, number, grade, price FROM seats";

#[derive(FromRow)]
pub(super) struct VenueRow {
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
pub(super) struct ConcertRow {
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
pub(super) struct PerformanceRow {
    id: u64,
    concert_id: u64,
    starts_at: Instant,
    sales_end_at: Option<Instant>,
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
            sales_end_at: row.sales_end_at,
            total_seats: row.total_seats,
            prices: (price(row.min_price)?, price(row.max_price)?),
            status: row.cancelled_at.map_or(PerformanceStatus::Scheduled, PerformanceStatus::Cancelled),
        })
    }
}

#[derive(FromRow)]
pub(in crate::infrastructure::mysql) struct SeatRow {
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

pub(super) fn into_all<Row, T: TryFrom<Row, Error = RepositoryError>>(
    rows: Vec<Row>,
) -> Result<Vec<T>, RepositoryError> {
    rows.into_iter().map(T::try_from).collect()
}
