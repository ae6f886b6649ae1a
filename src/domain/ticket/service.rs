//! The decision about the use of a ticket at a door.

use crate::domain::{
    booking::{Booking, BookingState},
    clock::{Instant, not_before},
    concert::{Performance, PerformanceStatus},
    id::{PerformanceId, SeatId, UserId},
    refusal::Refusal,
};

use super::UsedTicket;

/// Decides the use of the ticket for a booking's seat.
///
/// The caller has locked the booking and shared its performance; `uses` are the booking's, read under the lock. `door`
/// is the only performance that the door admits to; `None` for any.
///
/// The instant of the use is never before the payment, even if this instance's clock is behind.
///
/// # Errors
///
/// [`Refusal::TicketNotFound`] if the booking doesn't have the seat; [`Refusal::TicketNotValid`] if the booking isn't
/// confirmed, its performance is cancelled, or the door is another performance's; [`Refusal::TicketAlreadyUsed`].
pub fn use_ticket(
    booking: &Booking,
    performance: &Performance,
    seat_id: SeatId,
    uses: &[(SeatId, Instant)],
    door: Option<PerformanceId>,
    by: UserId,
    now: Instant,
) -> Result<UsedTicket, Refusal> {
    let not_valid = |reason: String| Err(Refusal::TicketNotValid { reason });
    if !booking.seat_ids().any(|seat| seat == seat_id) {
        return Err(Refusal::TicketNotFound);
    }
    let state = booking.state_at(now);
    let BookingState::Confirmed { at: confirmed_at, payment_id } = state else {
        return not_valid(format!("its booking is {}", state.name()));
    };
    if let PerformanceStatus::Cancelled(_) = performance.status {
        return not_valid("its performance is cancelled".to_owned());
    }
    if door.is_some_and(|door| door != booking.performance_id) {
        return not_valid(format!("it is for performance {}", booking.performance_id));
    }
    if let Some((_, admitted_at)) = uses.iter().find(|(seat, _)| *seat == seat_id) {
        return Err(Refusal::TicketAlreadyUsed { admitted_at: *admitted_at });
    }
    let admitted_at = not_before(now, confirmed_at);
    Ok(UsedTicket { booking_id: booking.id, seat_id, payment_id, admitted_at, admitted_by: by })
}
