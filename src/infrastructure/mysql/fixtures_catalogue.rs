//! Fixtures of the tests of catalogue, queues, bookings and audit: a sale, its users, and payments.

use std::time::Duration;

use chrono::{TimeDelta, TimeZone, Utc};
use sqlx::{AssertSqlSafe, Encode, MySql, MySqlPool, Type};
use uuid::Uuid;

use super::{KeptStatements, MySqlDatabase, PoolSettings};
use crate::domain::{
    booking::{Booking, BookingState},
    clock::Instant,
    concert::{ConcertFields, Seat, Seating, Section},
    id::{BookingId, ConcertId, PaymentId, PerformanceId, UserId, VenueId},
    points::Points,
    queue::Queue,
    text::Name,
    unit_of_work::{Database, UnitOfWork},
};

/// The database of a test, with sessions set up as the server sets them up.
pub(super) fn database(pool: &MySqlPool) -> MySqlDatabase {
    let settings = PoolSettings {
        max_connections: 4,
        statements: KeptStatements::Other,
        acquire_timeout: Duration::from_secs(10),
    };
    MySqlDatabase::new(super::pool((*pool.connect_options()).clone(), settings, super::HealthProbe::default()))
}

/// An instant, in seconds after a fixed one. It has microseconds, so that a test notices rounding.
pub(super) fn at(seconds: i64) -> Instant {
    Utc.timestamp_opt(1_795_000_000, 123_456_000).unwrap() + TimeDelta::seconds(seconds)
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn points(text: &str) -> Points {
    text.parse().unwrap()
}

pub(super) fn concert(title: &str, artist: &str) -> ConcertFields {
    ConcertFields { title: name(title), artist: name(artist), category: name("Rock"), description: String::new() }
}

pub(super) fn section(title: &str, rows: u16, seats_per_row: u16, price: &str) -> Section {
    Section { name: name(title), grade: name("R"), rows, seats_per_row, price: points(price) }
}

/// A user of this number.
pub(super) async fn user(pool: &MySqlPool, number: u128) -> UserId {
    let id = Uuid::from_u128(number);
    sqlx::query(
        "INSERT INTO users (id, email, email_key, password_hash, name, role, created_at) \
         VALUES (?, ?, ?, '', 'x', 'USER', ?)",
    )
    .bind(id)
    .bind(number.to_string())
    .bind(number.to_string())
    .bind(at(0))
    .execute(pool)
    .await
    .unwrap();
    UserId(id)
}

/// A concert with a queue and one performance of ten seats in two rows, in a day's time.
pub(super) struct Sale {
    pub(super) concert_id: ConcertId,
    pub(super) venue_id: VenueId,
    pub(super) performance_id: PerformanceId,
    pub(super) seats: Vec<Seat>,
}

pub(super) async fn sale(database: &MySqlDatabase) -> Sale {
    let mut uow = database.begin().await.unwrap();
    let concert_id = uow.concerts().insert_concert(&concert("Title", "Artist"), at(0)).await.unwrap();
    uow.queues().insert_queue(&Queue::new(concert_id, at(0))).await.unwrap();
    let venue_id = uow.concerts().insert_venue(&name("Hall"), &name("Street 1"), at(0)).await.unwrap().id;
    let seating = Seating::new(vec![section("A", 2, 5, "10.50")]).unwrap();
    let performance_id =
        uow.concerts().insert_performance(concert_id, venue_id, at(86_400), &seating, at(0)).await.unwrap();
    let seats = uow.concerts().list_seats(performance_id).await.unwrap();
    uow.commit().await.unwrap();
    Sale { concert_id, venue_id, performance_id, seats }
}

impl Sale {
    /// A new booking of `count` seats from the `first` on, held for 300 seconds.
    pub(super) fn booking(&self, number: u128, user_id: UserId, first: usize, count: usize) -> Booking {
        let seats = &self.seats[first..first + count];
        Booking {
            id: BookingId(Uuid::from_u128(number)),
            user_id,
            concert_id: self.concert_id,
            performance_id: self.performance_id,
            state: BookingState::Pending,
            seats: seats.iter().map(Into::into).collect(),
            total: seats.iter().fold(Points::ZERO, |sum, seat| sum.plus(seat.price).unwrap()),
            held_until: at(300),
            is_extended: false,
            is_complimentary: false,
            created_at: at(0),
            language: None,
        }
    }
}

/// Stores bookings with their claims.
pub(super) async fn hold(database: &MySqlDatabase, bookings: &[Booking]) {
    let mut uow = database.begin().await.unwrap();
    uow.bookings().insert(bookings).await.unwrap();
    uow.seat_claims().insert_claims(bookings, at(0)).await.unwrap();
    uow.commit().await.unwrap();
}

/// Stores the payment of a booking, made at this instant.
pub(super) async fn payment(pool: &MySqlPool, booking: &Booking, paid_at: Instant) -> PaymentId {
    let id = Uuid::from_u128(booking.id.0.as_u128() + 1_000_000);
    sqlx::query(
        "INSERT INTO payments (id, booking_id, user_id, amount, status, paid_at) VALUES (?, ?, ?, ?, 'COMPLETED', ?)",
    )
    .bind(id)
    .bind(booking.id.0)
    .bind(booking.user_id.0)
    .bind(booking.total.as_decimal())
    .bind(paid_at)
    .execute(pool)
    .await
    .unwrap();
    PaymentId(id)
}

/// Writes the present state of bookings and of their claims.
pub(super) async fn write(uow: &mut Box<dyn UnitOfWork>, bookings: &[Booking], now: Instant) {
    uow.bookings().update(bookings).await.unwrap();
    uow.seat_claims().update_claims(bookings, now).await.unwrap();
}

/// Whether another transaction has locked this row.
pub(super) async fn is_locked<T>(pool: &MySqlPool, table: &str, key: &str, id: T) -> bool
where
    T: for<'q> Encode<'q, MySql> + Type<MySql> + Send,
{
    let text = format!("SELECT 1 FROM {table} FORCE INDEX (PRIMARY) WHERE {key} = ? FOR UPDATE NOWAIT");
    let row: Result<i64, sqlx::Error> = sqlx::query_scalar(AssertSqlSafe(text)).bind(id).fetch_one(pool).await;
    row.is_err()
}
