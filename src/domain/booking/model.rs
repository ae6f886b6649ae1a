//! Bookings, their states, and the claim of a booking on a seat.

use chrono::TimeDelta;
use strum::{IntoStaticStr, VariantNames};

use crate::domain::{
    clock::{Instant, not_before},
    concert::{Seat, SeatStatus},
    id::{BookingId, ConcertId, PaymentId, PerformanceId, SeatId, UserId},
    language::Language,
    points::Points,
    refusal::Refusal,
};

/// The settings of holds and refunds, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct HoldPolicy {
    /// The duration of a hold.
    pub hold: TimeDelta,
    /// The time that the one extension adds to a hold.
    pub extension: TimeDelta,
    /// The most seats of one performance in a user's live bookings.
    pub max_seats_per_user: u32,
    /// The hours before a performance at which refunds close.
    pub refund_cutoff_hours: u32,
}

/// A seat of a booking, with the price at the time of the hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookedSeat {
    /// Identifies the seat.
    pub id: SeatId,
    /// The section's name.
    pub section: String,
    /// The row's name.
    pub row: String,
    /// The number in the row, from 1.
    pub number: u16,
    /// The price category.
    pub grade: String,
    /// The price in points.
    pub price: Points,
}

impl From<&Seat> for BookedSeat {
    fn from(seat: &Seat) -> Self {
        Self {
            id: seat.id,
            section: seat.section.clone(),
            row: seat.row.clone(),
            number: seat.number,
            grade: seat.grade.clone(),
            price: seat.price,
        }
    }
}

/// The state of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum BookingState {
    /// Held and unpaid.
    Pending,
    /// Paid.
    Confirmed {
        /// The instant of payment.
        at: Instant,
        /// The payment for the booking.
        payment_id: PaymentId,
    },
    /// Cancelled before it was paid.
    Cancelled {
        /// The instant of cancellation.
        at: Instant,
    },
    /// Not paid before its deadline.
    Expired,
    /// Cancelled after it was paid: the points are returned.
    Refunded {
        /// The instant of payment.
        confirmed_at: Instant,
        /// The refunded payment.
        payment_id: PaymentId,
        /// The instant of the refund.
        at: Instant,
    },
}

impl BookingState {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One user's seats of one performance. It gets all of its seats or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Identifies the booking.
    pub id: BookingId,
    /// The user that holds or bought the seats.
    pub user_id: UserId,
    /// The concert of the performance, which is also the queue token's.
    pub concert_id: ConcertId,
    /// The performance of all of its seats.
    pub performance_id: PerformanceId,
    /// The state as last written; see [`state_at`](Self::state_at).
    pub state: BookingState,
    /// The seats, by ascending id.
    pub seats: Vec<BookedSeat>,
    /// The sum of the seats' prices, in points.
    pub total: Points,
    /// The deadline for payment; it stays as it was once the booking is paid.
    pub held_until: Instant,
    /// Whether the hold was extended, which is possible once.
    pub is_extended: bool,
    /// Whether an administrator made the booking as a gift. Then the total is 0, and its seats don't count for the seat
    /// limit.
    pub is_complimentary: bool,
    /// The instant of the hold, or of a complimentary booking.
    pub created_at: Instant,
    /// The language of mails, from the buyer's last request; `None` until a request names one.
    pub language: Option<Language>,
}

impl Booking {
    /// The state at `now`: a hold past its deadline has expired, even if its stored state is still pending.
    pub fn state_at(&self, now: Instant) -> BookingState {
        match self.state {
            BookingState::Pending if self.held_until <= now => BookingState::Expired,
            state => state,
        }
    }

    /// The ids of the seats, ascending.
    pub fn seat_ids(&self) -> impl Iterator<Item = SeatId> + '_ {
        self.seats.iter().map(|seat| seat.id)
    }

    /// Whether every seat is still claimed for this booking. An instance whose clock is ahead may have claimed one for
    /// another booking.
    fn has_all_claims<'a>(&self, claim_of: impl Fn(SeatId) -> Option<&'a Claim>) -> bool {
        self.seat_ids().all(|seat| claim_of(seat).is_some_and(|claim| claim.booking_id == Some(self.id)))
    }

    /// Checks that the booking is held at `now`: pending, before its deadline, and with all of its claims.
    ///
    /// # Errors
    ///
    /// [`Refusal::HoldExpired`] past the deadline, or if a claim is lost; [`Refusal::BookingNotPayable`] for a booking
    /// that is paid, cancelled or refunded.
    pub fn require_held<'a>(
        &self,
        now: Instant,
        claim_of: impl Fn(SeatId) -> Option<&'a Claim>,
    ) -> Result<(), Refusal> {
        match self.state_at(now) {
            BookingState::Pending if self.has_all_claims(claim_of) => Ok(()),
            BookingState::Pending | BookingState::Expired => Err(Refusal::HoldExpired),
            state @ (BookingState::Confirmed { .. }
            | BookingState::Cancelled { .. }
            | BookingState::Refunded { .. }) => Err(Refusal::BookingNotPayable { status: state.name() }),
        }
    }

    /// Marks the booking as paid. The caller has checked that it is held.
    pub fn confirm(&mut self, payment_id: PaymentId, now: Instant) {
        self.state = BookingState::Confirmed { at: now, payment_id };
    }

    /// Adds `extension` to the deadline, once.
    ///
    /// # Errors
    ///
    /// [`Refusal::HoldAlreadyExtended`] if it was extended before.
    pub fn extend(&mut self, extension: TimeDelta) -> Result<(), Refusal> {
        if self.is_extended {
            return Err(Refusal::HoldAlreadyExtended);
        }
        self.is_extended = true;
        self.held_until += extension;
        Ok(())
    }
}

/// The part of a pending or confirmed booking that the seat limit needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBooking {
    /// Identifies the booking.
    pub id: BookingId,
    /// The user whose seat limit it counts for.
    pub user_id: UserId,
    /// The concert of the performance.
    pub concert_id: ConcertId,
    /// The performance that the limit counts for.
    pub performance_id: PerformanceId,
    /// The number of seats that count for the limit; 0 for a complimentary booking.
    pub seats: u32,
    /// The deadline of the hold; `None` if it is paid.
    pub held_until: Option<Instant>,
    /// The instant of the hold.
    pub created_at: Instant,
}

impl OpenBooking {
    /// Whether it is held at `now`.
    pub fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|deadline| now < deadline)
    }

    /// Whether its seats count at `now`: it is held or paid.
    pub fn is_live(&self, now: Instant) -> bool {
        self.held_until.is_none() || self.is_held(now)
    }
}

impl From<&Booking> for OpenBooking {
    /// Takes a pending or confirmed booking.
    fn from(booking: &Booking) -> Self {
        Self {
            id: booking.id,
            user_id: booking.user_id,
            concert_id: booking.concert_id,
            performance_id: booking.performance_id,
            seats: if booking.is_complimentary { 0 } else { u32::try_from(booking.seats.len()).unwrap_or(u32::MAX) },
            held_until: (booking.state == BookingState::Pending).then_some(booking.held_until),
            created_at: booking.created_at,
        }
    }
}

/// The number of a user's seats of a performance that count for the seat limit, in the live ones among these bookings.
pub(crate) fn live_seats<'a>(
    bookings: impl IntoIterator<Item = &'a OpenBooking>,
    user_id: UserId,
    performance_id: PerformanceId,
    now: Instant,
) -> u32 {
    let counts = |booking: &&OpenBooking| {
        booking.user_id == user_id && booking.performance_id == performance_id && booking.is_live(now)
    };
    bookings.into_iter().filter(counts).fold(0, |sum, booking| sum.saturating_add(booking.seats))
}

/// The instant of a decision about users with these bookings: not before the latest booking was made.
///
/// So a hold that had expired when its user made a newer one stays expired for every instance, even one whose clock is
/// behind.
pub(crate) fn instant_after<'a>(bookings: impl IntoIterator<Item = &'a OpenBooking>, now: Instant) -> Instant {
    bookings.into_iter().map(|booking| booking.created_at).max().map_or(now, |latest| not_before(now, latest))
}

/// The deadline of a block: the last day that the database can store. No hold has this deadline, because instants in
/// requests are earlier.
pub const BLOCK_END: Instant = match Instant::from_timestamp(253_402_214_400, 0) {
    Some(instant) => instant,
    None => Instant::MAX_UTC,
};

/// The claim on a seat: at most one per seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The booking that has or had the seat; `None` if the claim is or was a block.
    pub booking_id: Option<BookingId>,
    /// The deadline of the claim, [`BLOCK_END`] of a block; `None` if the seat is sold.
    pub held_until: Option<Instant>,
}

impl Claim {
    /// The claim of a booking until a deadline; `None` for a sold seat.
    pub fn of(booking_id: BookingId, held_until: Option<Instant>) -> Self {
        Self { booking_id: Some(booking_id), held_until }
    }

    /// The status of the claimed seat at `now`.
    pub fn status_at(&self, now: Instant) -> SeatStatus {
        claimed_status(self.held_until, now)
    }
}

/// The status at `now` of a seat whose claim has the deadline `held_until`; `None` for a sold seat.
pub(super) fn claimed_status(held_until: Option<Instant>, now: Instant) -> SeatStatus {
    match held_until {
        None => SeatStatus::Sold,
        Some(deadline) if deadline == BLOCK_END => SeatStatus::Blocked,
        Some(deadline) if now < deadline => SeatStatus::Held,
        Some(_) => SeatStatus::Available,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn booking() -> Booking {
        Booking {
            id: BookingId(Uuid::nil()),
            user_id: UserId(Uuid::nil()),
            concert_id: ConcertId(1),
            performance_id: PerformanceId(1),
            state: BookingState::Pending,
            seats: vec![],
            total: Points::ZERO,
            held_until: Instant::default() + TimeDelta::seconds(300),
            is_extended: false,
            is_complimentary: false,
            created_at: Instant::default(),
            language: None,
        }
    }

    #[test]
    fn a_hold_is_alive_until_just_before_its_deadline() {
        let booking = booking();
        let last = booking.held_until - TimeDelta::microseconds(1);
        assert_eq!(booking.require_held(last, |_| None), Ok(()));
        assert_eq!(booking.require_held(booking.held_until, |_| None), Err(Refusal::HoldExpired));
        let claim = Claim::of(booking.id, Some(booking.held_until));
        assert_eq!(claim.status_at(last), SeatStatus::Held);
        assert_eq!(claim.status_at(booking.held_until), SeatStatus::Available);
    }

    #[test]
    fn a_hold_is_extended_once() {
        let mut booking = booking();
        let before = booking.held_until;
        assert_eq!(booking.extend(TimeDelta::seconds(120)), Ok(()));
        assert_eq!(booking.held_until, before + TimeDelta::seconds(120));
        assert_eq!(booking.extend(TimeDelta::seconds(120)), Err(Refusal::HoldAlreadyExtended));
    }
}
