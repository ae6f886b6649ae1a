//! Tickets and their uses.

use crate::domain::{
    booking::{BookedSeat, Booking, BookingState},
    clock::Instant,
    id::{BookingId, PaymentId, PerformanceId, SeatId, TicketId, UserId},
    refusal::Refusal,
};

/// The right to one seat of one performance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Identifies the ticket.
    pub id: TicketId,
    /// The booking of the seat.
    pub booking_id: BookingId,
    /// The performance that it admits to.
    pub performance_id: PerformanceId,
    /// The seat that it is for.
    pub seat: BookedSeat,
}

/// The one use of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedTicket {
    /// The ticket's booking.
    pub booking_id: BookingId,
    /// The ticket's seat.
    pub seat_id: SeatId,
    /// The payment that confirmed the booking.
    pub payment_id: PaymentId,
    /// The instant of the use.
    pub admitted_at: Instant,
    /// The administrator who scanned the ticket.
    pub admitted_by: UserId,
}

/// The tickets of a booking at `now`, in the order of its seats.
///
/// # Errors
///
/// [`Refusal::BookingNotConfirmed`] for a booking in any other state.
pub fn tickets_of(booking: &Booking, now: Instant) -> Result<Vec<Ticket>, Refusal> {
    let state = booking.state_at(now);
    let BookingState::Confirmed { .. } = state else {
        return Err(Refusal::BookingNotConfirmed { status: state.name() });
    };
    let ticket = |seat: &BookedSeat| Ticket {
        id: TicketId::of(booking.id, seat.id),
        booking_id: booking.id,
        performance_id: booking.performance_id,
        seat: seat.clone(),
    };
    Ok(booking.seats.iter().map(ticket).collect())
}
