//! The rows of bookings and of the claims on seats.

use rust_decimal::Decimal;
use sqlx::FromRow;
use uuid::Uuid;

use super::super::{concert::SeatRow, error::corrupt, mail::read_language};
use crate::domain::{
    booking::{BookedSeat, Booking, BookingState, Claim, OpenBooking, SeatClaim},
    clock::Instant,
    concert::Seat,
    id::{BookingId, ConcertId, PaymentId, PerformanceId, SeatId, UserId},
    language::Language,
    points::Points,
    repository_error::RepositoryError,
};

/// The columns of a [`BookingRow`].
macro_rules! columns {
    () => {
        "id, user_id, concert_id, performance_id, status, total_price, held_until, extended, complimentary, \
         payment_id, created_at, confirmed_at, cancelled_at, language"
    };
}

pub(super) const BOOKING: &str = concat!("SELECT ", columns!(), " FROM bookings");

/// Selects the columns of a booking `b` and its user's address. No other table of the statement may have a column of
/// the same name as one of the booking.
pub(super) const DETAILS: &str =
    concat!("SELECT ", columns!(), ", (SELECT u.email FROM users u WHERE u.id = b.user_id) AS email");

pub(super) const CLAIM: &str = "SELECT seat_id, booking_id, held_until FROM seat_claims";

#[derive(FromRow)]
pub(super) struct BookingRow {
    pub(super) user_id: Uuid,
    pub(super) concert_id: u64,
    pub(super) performance_id: u64,
    pub(super) total_price: Decimal,
    pub(super) complimentary: bool,
    pub(super) created_at: Instant,
    #[sqlx(flatten)]
    pub(super) state: StateRow,
}

/// The columns of a booking that can change.
#[derive(FromRow)]
pub(super) struct StateRow {
    pub(super) id: Uuid,
    pub(super) status: String,
    pub(super) held_until: Instant,
    pub(super) extended: bool,
    pub(super) payment_id: Option<Uuid>,
    pub(super) confirmed_at: Option<Instant>,
    pub(super) cancelled_at: Option<Instant>,
    pub(super) language: Option<String>,
}

impl StateRow {
    pub(super) fn language(&self) -> Result<Option<Language>, RepositoryError> {
        read_language(self.language.as_deref())
    }

    pub(super) fn state(&self) -> Result<BookingState, RepositoryError> {
        let paid = self.confirmed_at.zip(self.payment_id.map(PaymentId));
        match (self.status.as_str(), paid, self.cancelled_at) {
            ("PENDING", None, None) => Ok(BookingState::Pending),
            ("EXPIRED", None, None) => Ok(BookingState::Expired),
            ("CANCELLED", None, Some(at)) => Ok(BookingState::Cancelled { at }),
            ("CONFIRMED", Some((at, payment_id)), None) => Ok(BookingState::Confirmed { at, payment_id }),
            ("REFUNDED", Some((confirmed_at, payment_id)), Some(at)) => {
                Ok(BookingState::Refunded { confirmed_at, payment_id, at })
            }
            (status, ..) => Err(corrupt("a booking's state", (self.id, status))),
        }
    }
}

impl BookingRow {
    pub(super) fn booking(self, seats: Vec<BookedSeat>) -> Result<Booking, RepositoryError> {
        Ok(Booking {
            id: BookingId(self.state.id),
            user_id: UserId(self.user_id),
            concert_id: ConcertId(self.concert_id),
            performance_id: PerformanceId(self.performance_id),
            state: self.state.state()?,
            seats,
            total: points(self.total_price)?,
            held_until: self.state.held_until,
            is_extended: self.state.extended,
            is_complimentary: self.complimentary,
            created_at: self.created_at,
            language: self.state.language()?,
        })
    }
}

#[derive(FromRow)]
pub(super) struct BookedSeatRow {
    pub(super) booking_id: Uuid,
    pub(super) seat_id: u64,
    pub(super) section: String,
    pub(super) row_name: String,
    pub(super) number: u16,
    pub(super) grade: String,
    pub(super) price: Decimal,
}

#[derive(FromRow)]
pub(super) struct ClaimRow {
    pub(super) seat_id: u64,
    pub(super) booking_id: Option<Uuid>,
    pub(super) held_until: Option<Instant>,
}

/// A seat with its claim, if it has one.
#[derive(FromRow)]
pub(super) struct LockedSeatRow {
    #[sqlx(flatten)]
    seat: SeatRow,
    booking_id: Option<Uuid>,
    held_until: Option<Instant>,
}

impl LockedSeatRow {
    pub(super) fn seat(self) -> Result<(Seat, Option<Claim>), RepositoryError> {
        // A sold seat has a booking, a block has a deadline.
        let is_claimed = self.booking_id.is_some() || self.held_until.is_some();
        let claim = Claim { booking_id: self.booking_id.map(BookingId), held_until: self.held_until };
        Ok((self.seat.try_into()?, is_claimed.then_some(claim)))
    }
}

impl From<ClaimRow> for SeatClaim {
    fn from(row: ClaimRow) -> Self {
        Self {
            seat_id: SeatId(row.seat_id),
            claim: Claim { booking_id: row.booking_id.map(BookingId), held_until: row.held_until },
        }
    }
}

pub(super) fn points(amount: Decimal) -> Result<Points, RepositoryError> {
    Points::new(amount).map_err(|_| corrupt("an amount", amount))
}

/// A booking that is pending or confirmed.
#[derive(FromRow)]
pub(super) struct OpenRow {
    id: Uuid,
    user_id: Uuid,
    concert_id: u64,
    performance_id: u64,
    status: String,
    seat_count: u32,
    complimentary: bool,
    held_until: Instant,
    created_at: Instant,
}

impl From<OpenRow> for OpenBooking {
    fn from(row: OpenRow) -> Self {
        Self {
            id: BookingId(row.id),
            user_id: UserId(row.user_id),
            concert_id: ConcertId(row.concert_id),
            performance_id: PerformanceId(row.performance_id),
            seats: if row.complimentary { 0 } else { row.seat_count },
            held_until: (row.status == BookingState::Pending.name()).then_some(row.held_until),
            created_at: row.created_at,
        }
    }
}
