//! Rows that the tests of several repositories start from, written with SQL only.

use chrono::TimeDelta;
use sqlx::MySqlPool;
use uuid::Uuid;

use crate::domain::{
    clock::Instant,
    id::{BookingId, ConcertId, PerformanceId, SeatId, UserId},
    points::Points,
};

/// An instant, in seconds after the beginning of 20 November 2026.
pub(super) fn at(seconds: i64) -> Instant {
    "2026-11-20T00:00:00Z".parse::<Instant>().unwrap() + TimeDelta::seconds(seconds)
}

/// An amount.
pub(super) fn points(text: &str) -> Points {
    text.parse().unwrap()
}

/// A concert with its queue, one performance and its seats, all in one row.
pub(super) struct Hall {
    pub(super) concert_id: ConcertId,
    pub(super) performance_id: PerformanceId,
    pub(super) seat_ids: Vec<SeatId>,
}

/// Stores an account; its id and its address follow from the number.
pub(super) async fn insert_user(pool: &MySqlPool, number: u128) -> UserId {
    let id = Uuid::from_u128(number);
    sqlx::query(
        "INSERT INTO users (id, email, email_key, password_hash, name, role, created_at) \
         VALUES (?, ?, ?, '$argon2id$', 'Jin', 'USER', ?)",
    )
    .bind(id)
    .bind(format!("user{number}@example.org"))
    .bind(format!("user{number}@example.org"))
    .bind(at(0))
    .execute(pool)
    .await
    .unwrap();
    UserId(id)
}

/// Stores a venue, a concert with its queue, a performance and its seats. Once per test: the ids are fixed.
pub(super) async fn insert_hall(pool: &MySqlPool, seats: u16) -> Hall {
    for statement in [
        "INSERT INTO venues (id, name, address, created_at) VALUES (1, 'Hall', 'Seoul', ?)",
        "INSERT INTO concerts (id, title, artist, category, description, listed_at, created_at) \
         VALUES (2, 'Spring', 'Mina', 'Rock', '', '9999-12-31', ?)",
        "INSERT INTO queues (concert_id, mode, admit_count, admit_interval_seconds, max_active, active_seconds, \
         claim_seconds, decided_at) VALUES (2, 'QUEUE', 50, 10, 500, 600, 120, ?)",
        "INSERT INTO performances (id, concert_id, venue_id, starts_at, total_seats, min_price, max_price, created_at) \
         VALUES (3, 2, 1, '2027-01-01', 100, 0, 50000.50, ?)",
    ] {
        sqlx::query(statement).bind(at(0)).execute(pool).await.unwrap();
    }
    let mut seat_ids = vec![];
    for number in 1..=seats {
        let seat = sqlx::query(
            "INSERT INTO seats (performance_id, section, row_name, row_rank, number, grade, price) \
             VALUES (3, 'A', 'A', 1, ?, 'VIP', 50000.50)",
        )
        .bind(number)
        .execute(pool)
        .await
        .unwrap();
        seat_ids.push(SeatId(seat.last_insert_id()));
    }
    Hall { concert_id: ConcertId(2), performance_id: PerformanceId(3), seat_ids }
}

/// Stores a pending booking of one seat, without a claim on it.
pub(super) async fn insert_booking(
    pool: &MySqlPool,
    user_id: UserId,
    hall: &Hall,
    seat: usize,
    price: &str,
) -> BookingId {
    let id = Uuid::now_v7();
    let price = points(price).as_decimal();
    sqlx::query(
        "INSERT INTO bookings (id, user_id, concert_id, performance_id, status, seat_count, total_price, held_until, \
         extended, created_at) VALUES (?, ?, ?, ?, 'PENDING', 1, ?, ?, FALSE, ?)",
    )
    .bind(id)
    .bind(user_id.0)
    .bind(hall.concert_id.0)
    .bind(hall.performance_id.0)
    .bind(price)
    .bind(at(300))
    .bind(at(0))
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("INSERT INTO booking_seats (booking_id, seat_id, price) VALUES (?, ?, ?)")
        .bind(id)
        .bind(hall.seat_ids[seat].0)
        .bind(price)
        .execute(pool)
        .await
        .unwrap();
    BookingId(id)
}
