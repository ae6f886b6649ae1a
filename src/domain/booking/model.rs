//! A booking and its states, and the claim that a booking has on a seat.

use chrono::TimeDelta;

use crate::domain::{
    clock::{Instant, not_before},
    concert::{Seat, SeatStatus},
    id::{BookingId, ConcertId, PaymentId, PerformanceId, SeatId, UserId},
    points::Points,
    refusal::Refusal,
};

/// The rules of holds that an operator sets.
#[derive(Clone, Copy, Debug)]
pub struct HoldPolicy {
    /// How long a hold lives.
    pub hold: TimeDelta,
    /// How much longer once it is extended.
    pub extension: TimeDelta,
    /// How many seats of one performance a user may have.
    pub max_seats_per_user: u32,
    /// How long before the beginning a paid booking can still be given back.
    pub refund_cutoff_hours: u32,
}

/// One seat of a booking, as it was when it was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookedSeat {
    /// Which.
    pub id: SeatId,
    /// The part of the house.
    pub section: String,
    /// The row.
    pub row: String,
    /// The place in the row.
    pub number: u16,
    /// The price category.
    pub grade: String,
    /// What it costs.
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

/// What has become of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingState {
    /// Held, not yet paid.
    Pending,
    /// Paid.
    Confirmed {
        /// When.
        at: Instant,
        /// By what.
        payment_id: PaymentId,
    },
    /// Given up unpaid.
    Cancelled {
        /// When.
        at: Instant,
    },
    /// Not paid in time.
    Expired,
    /// Given back after it was paid.
    Refunded {
        /// When it was paid.
        confirmed_at: Instant,
        /// By what.
        payment_id: PaymentId,
        /// When it was given back.
        at: Instant,
    },
}

impl BookingState {
    /// Its name, as clients and the database write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed { .. } => "CONFIRMED",
            Self::Cancelled { .. } => "CANCELLED",
            Self::Expired => "EXPIRED",
            Self::Refunded { .. } => "REFUNDED",
        }
    }
}

/// One user's seats of one performance: all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Its id.
    pub id: BookingId,
    /// Whose.
    pub user_id: UserId,
    /// Of which concert.
    pub concert_id: ConcertId,
    /// Of which performance.
    pub performance_id: PerformanceId,
    /// What has become of it, as last written.
    pub state: BookingState,
    /// Its seats, by ascending id.
    pub seats: Vec<BookedSeat>,
    /// What it costs.
    pub total: Points,
    /// Until when it can be paid.
    pub held_until: Instant,
    /// Whether the hold was extended.
    pub is_extended: bool,
    /// When it was made.
    pub created_at: Instant,
}

impl Booking {
    /// What it is at `now`: a hold past its deadline has expired, whether or not that was written.
    pub fn state_at(&self, now: Instant) -> BookingState {
        match self.state {
            BookingState::Pending if self.held_until <= now => BookingState::Expired,
            state => state,
        }
    }

    /// The ids of its seats.
    pub fn seat_ids(&self) -> impl Iterator<Item = SeatId> + '_ {
        self.seats.iter().map(|seat| seat.id)
    }

    /// Whether every seat is still claimed for this booking: another instance's faster clock may have given a seat
    /// on already.
    fn has_all_claims<'a>(&self, claim_of: impl Fn(SeatId) -> Option<&'a Claim>) -> bool {
        self.seat_ids().all(|seat| claim_of(seat).is_some_and(|claim| claim.booking_id == self.id))
    }

    /// Makes sure that it is held at `now`: pending, before its deadline, its seats claimed.
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

    /// Pays it. The caller has made sure that it is held.
    pub fn confirm(&mut self, payment_id: PaymentId, now: Instant) {
        self.state = BookingState::Confirmed { at: now, payment_id };
    }

    /// Holds it longer, once.
    pub fn extend(&mut self, extension: TimeDelta) -> Result<(), Refusal> {
        if self.is_extended {
            return Err(Refusal::HoldAlreadyExtended);
        }
        self.is_extended = true;
        self.held_until += extension;
        Ok(())
    }
}

/// What the seat limit needs of a booking that is written as pending or confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBooking {
    /// Its id.
    pub id: BookingId,
    /// Whose.
    pub user_id: UserId,
    /// Of which concert.
    pub concert_id: ConcertId,
    /// Of which performance.
    pub performance_id: PerformanceId,
    /// How many seats.
    pub seats: u32,
    /// Until when it is held; `None`: paid.
    pub held_until: Option<Instant>,
    /// When it was made.
    pub created_at: Instant,
}

impl OpenBooking {
    /// Whether it is held at `now`.
    pub fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|deadline| now < deadline)
    }

    /// Whether its seats count at `now`: held, or paid.
    pub fn is_live(&self, now: Instant) -> bool {
        self.held_until.is_none() || self.is_held(now)
    }
}

impl From<&Booking> for OpenBooking {
    /// Of a booking that is pending or confirmed.
    fn from(booking: &Booking) -> Self {
        Self {
            id: booking.id,
            user_id: booking.user_id,
            concert_id: booking.concert_id,
            performance_id: booking.performance_id,
            seats: u32::try_from(booking.seats.len()).unwrap_or(u32::MAX),
            held_until: (booking.state == BookingState::Pending).then_some(booking.held_until),
            created_at: booking.created_at,
        }
    }
}

/// How many seats of a performance a user has in the live ones of these bookings.
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

/// The instant to decide at about users with these bookings: not before the latest of them was made. A hold that was
/// over when its user got another one is then over for every instance, whatever its clock says.
pub(crate) fn instant_after<'a>(bookings: impl IntoIterator<Item = &'a OpenBooking>, now: Instant) -> Instant {
    bookings.into_iter().map(|booking| booking.created_at).max().map_or(now, |latest| not_before(now, latest))
}

/// The one claim on a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// For which booking.
    pub booking_id: BookingId,
    /// Until when; `None`: sold.
    pub held_until: Option<Instant>,
}

impl Claim {
    /// What it makes of its seat at `now`.
    pub fn status_at(&self, now: Instant) -> SeatStatus {
        claimed_status(self.held_until, now)
    }
}

/// What a claim until then makes of its seat at `now`.
pub(super) fn claimed_status(held_until: Option<Instant>, now: Instant) -> SeatStatus {
    match held_until {
        None => SeatStatus::Sold,
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
            created_at: Instant::default(),
        }
    }

    #[test]
    fn a_hold_is_alive_until_just_before_its_deadline() {
        let booking = booking();
        let last = booking.held_until - TimeDelta::microseconds(1);
        assert_eq!(booking.require_held(last, |_| None), Ok(()));
        assert_eq!(booking.require_held(booking.held_until, |_| None), Err(Refusal::HoldExpired));
        let claim = Claim { booking_id: booking.id, held_until: Some(booking.held_until) };
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
