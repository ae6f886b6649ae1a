//! Decisions about blocks: seats that an administrator holds back from sale.

use super::Claim;
use crate::domain::{
    clock::Instant,
    concert::{Seat, SeatStatus},
    id::SeatId,
    refusal::{ConflictReason, Refusal, SeatConflict},
};

/// The requested seats of one performance after a change of their blocks.
#[derive(Clone, Debug)]
pub struct BlockedSeats {
    /// The requested seats with their new statuses, by ascending id.
    pub seats: Vec<(Seat, SeatStatus)>,
    /// The seats whose status changed, by ascending id.
    pub changed: Vec<SeatId>,
}

/// Decides which of the requested seats have to be blocked or unblocked.
///
/// `locked` are the existing ones with their claims, and `requested` is the number of requested seats. Repeating a
/// request changes nothing.
///
/// # Errors
///
/// [`Refusal::SeatNotFound`] if a requested seat isn't among them; [`Refusal::SeatsUnavailable`] if a seat to be
/// blocked is held or sold.
pub fn change_blocks(
    mut locked: Vec<(Seat, Option<Claim>)>,
    requested: usize,
    is_blocked: bool,
    now: Instant,
) -> Result<BlockedSeats, Refusal> {
    if locked.len() < requested {
        return Err(Refusal::SeatNotFound);
    }
    locked.sort_unstable_by_key(|(seat, _)| seat.id);
    let mut blocked = BlockedSeats { seats: Vec::with_capacity(requested), changed: Vec::new() };
    let mut conflicts = Vec::new();
    for (seat, claim) in locked {
        let before = claim.map_or(SeatStatus::Available, |claim| claim.status_at(now));
        let after = match before {
            SeatStatus::Available | SeatStatus::Blocked if is_blocked => SeatStatus::Blocked,
            SeatStatus::Available | SeatStatus::Blocked => SeatStatus::Available,
            SeatStatus::Held | SeatStatus::Sold => before,
        };
        match after {
            SeatStatus::Held => conflicts.push(SeatConflict { seat_id: seat.id, reason: ConflictReason::Held }),
            SeatStatus::Sold => conflicts.push(SeatConflict { seat_id: seat.id, reason: ConflictReason::Sold }),
            SeatStatus::Available | SeatStatus::Blocked => {}
        }
        if after != before {
            blocked.changed.push(seat.id);
        }
        blocked.seats.push((seat, after));
    }
    if is_blocked && !conflicts.is_empty() {
        return Err(Refusal::SeatsUnavailable { requested, conflicts });
    }
    Ok(blocked)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::{super::BLOCK_END, *};
    use crate::domain::{
        id::{BookingId, PerformanceId},
        points::Points,
    };

    fn now() -> Instant {
        Instant::default()
    }

    fn seat(id: u64, claim: Option<Claim>) -> (Seat, Option<Claim>) {
        let seat = Seat {
            id: SeatId(id),
            performance_id: PerformanceId(1),
            section: "A".to_owned(),
            row: "A".to_owned(),
            row_rank: 1,
            number: 1,
            grade: "R".to_owned(),
            price: Points::ZERO,
        };
        (seat, claim)
    }

    fn booked(held_until: Option<Instant>) -> Claim {
        Claim::of(BookingId(Uuid::nil()), held_until)
    }

    fn block(held_until: Instant) -> Claim {
        Claim { booking_id: None, held_until: Some(held_until) }
    }

    /// A seat that was never claimed, one whose hold expires now, one whose block was released, and a blocked one.
    fn seats() -> Vec<(Seat, Option<Claim>)> {
        let claims = [(4, block(BLOCK_END)), (3, block(now())), (2, booked(Some(now())))];
        let claimed = claims.map(|(id, claim)| seat(id, Some(claim)));
        claimed.into_iter().chain([seat(1, None)]).collect()
    }

    #[test]
    fn available_seats_are_blocked_and_blocked_ones_stay_so() {
        let blocked = change_blocks(seats(), 4, true, now()).unwrap();
        assert_eq!(blocked.changed, [SeatId(1), SeatId(2), SeatId(3)]);
        let statuses: Vec<_> = blocked.seats.iter().map(|(seat, status)| (seat.id.0, *status)).collect();
        assert_eq!(statuses, [1, 2, 3, 4].map(|id| (id, SeatStatus::Blocked)));
        let unblocked = change_blocks(seats(), 4, false, now()).unwrap();
        assert_eq!(unblocked.changed, [SeatId(4)]);
        assert!(unblocked.seats.iter().all(|(_, status)| *status == SeatStatus::Available));
    }

    #[test]
    fn held_and_sold_seats_are_not_blocked_and_unblocking_leaves_them() {
        let held = now() + TimeDelta::microseconds(1);
        let seats = || vec![seat(1, None), seat(2, Some(booked(Some(held)))), seat(3, Some(booked(None)))];
        let conflicts = [(2, ConflictReason::Held), (3, ConflictReason::Sold)]
            .map(|(seat, reason)| SeatConflict { seat_id: SeatId(seat), reason });
        let refused = Refusal::SeatsUnavailable { requested: 3, conflicts: conflicts.to_vec() };
        assert_eq!(change_blocks(seats(), 3, true, now()).unwrap_err(), refused);
        let unblocked = change_blocks(seats(), 3, false, now()).unwrap();
        assert!(unblocked.changed.is_empty());
        let statuses: Vec<_> = unblocked.seats.iter().map(|(_, status)| *status).collect();
        assert_eq!(statuses, [SeatStatus::Available, SeatStatus::Held, SeatStatus::Sold]);
        assert_eq!(change_blocks(seats(), 4, true, now()).unwrap_err(), Refusal::SeatNotFound);
    }
}
