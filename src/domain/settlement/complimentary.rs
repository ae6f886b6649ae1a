//! Complimentary bookings: an administrator books seats for a user, without payment.

use std::collections::HashMap;

use crate::domain::{
    administration::{Action, ActionKind, Order},
    booking::{BookedSeat, Booking, BookingState, Claim},
    clock::Instant,
    concert::{Performance, PerformanceStatus, Seat, SeatStatus},
    id::{BookingId, PaymentId, PerformanceId, SeatId, TransactionId, UserId},
    payment::{Payment, PaymentState},
    point::{LedgerEntry, LedgerKind, Wallet},
    points::Points,
    refusal::{ConflictReason, Refusal, SeatConflict},
    user::Standing,
};

/// An administrator's request for a complimentary booking.
#[derive(Clone, Debug)]
pub struct ComplimentaryRequest {
    /// The id of the booking to be made.
    pub booking_id: BookingId,
    /// The id of its payment.
    pub payment_id: PaymentId,
    /// The id of the payment's ledger entry.
    pub transaction_id: TransactionId,
    /// The user of the booking.
    pub user_id: UserId,
    /// The performance of all seats.
    pub performance_id: PerformanceId,
    /// The seats, each named once.
    pub seat_ids: Vec<SeatId>,
    /// The administrator, with the reason.
    pub order: Order,
}

/// The rows that the decision needs, locked until the result is written. The wallet isn't locked: its write checks the
/// version that was read.
#[derive(Clone, Debug, Default)]
pub struct LockedComplimentaryState {
    /// The accounts of the administrator and of the user.
    pub accounts: HashMap<UserId, Standing>,
    /// The requested performance; `None` if it doesn't exist.
    pub performance: Option<Performance>,
    /// The requested seats that the performance has, with the claims on them.
    pub seats: Vec<(Seat, Option<Claim>)>,
    /// The user's wallet; a user who never had points has none.
    pub wallet: Option<Wallet>,
}

/// A complimentary booking, with the rows that are written with it.
#[derive(Clone, Debug)]
pub struct Complimentary {
    /// The confirmed booking; each seat costs 0.
    pub booking: Booking,
    /// Its completed payment of 0 points.
    pub payment: Payment,
    /// The payment's entry in the ledger, of 0 points.
    pub entry: LedgerEntry,
    /// The entry in the action log.
    pub action: Action,
    /// The seats whose claims have to be deleted: expired ones and blocks.
    pub replaced_claims: Vec<SeatId>,
    /// The blocked ones among them.
    pub blocked: Vec<SeatId>,
}

impl ComplimentaryRequest {
    /// Decides the booking: all seats or none, including blocked ones. It is confirmed at once with a payment of 0
    /// points, and doesn't count for the seat limit.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] if the actor isn't an administrator; [`Refusal::UserNotFound`];
    /// [`Refusal::PerformanceNotFound`]; [`Refusal::SeatNotFound`]; [`Refusal::SalesClosed`] for a performance that has
    /// begun or was cancelled; [`Refusal::SeatsUnavailable`] for held or sold seats.
    pub fn decide(&self, state: &LockedComplimentaryState, now: Instant) -> Result<Complimentary, Refusal> {
        if !state.accounts.get(&self.order.actor).is_some_and(|standing| standing.is_administrator()) {
            return Err(Refusal::Forbidden);
        }
        if !state.accounts.contains_key(&self.user_id) {
            return Err(Refusal::UserNotFound);
        }
        let performance = state.performance.as_ref().ok_or(Refusal::PerformanceNotFound)?;
        if state.seats.len() < self.seat_ids.len() {
            return Err(Refusal::SeatNotFound);
        }
        if performance.status != PerformanceStatus::Scheduled || performance.starts_at <= now {
            return Err(Refusal::SalesClosed);
        }
        let (replaced_claims, blocked) = self.require_available(&state.seats, now)?;
        let booking = self.booking(performance, &state.seats, now);
        let mut wallet = state.wallet.unwrap_or_else(|| Wallet::empty(self.user_id));
        let kind = LedgerKind::Payment(self.payment_id, self.booking_id);
        let entry = wallet.change(self.transaction_id, kind, Points::ZERO, now)?;
        let payment = Payment {
            id: self.payment_id,
            booking_id: self.booking_id,
            user_id: self.user_id,
            amount: Points::ZERO,
            state: PaymentState::Completed,
            paid_at: now,
        };
        let ids: Vec<_> = booking.seat_ids().map(|id| id.to_string()).collect();
        let details = format!("user {}, performance {}, seats {}", self.user_id, self.performance_id, ids.join(", "));
        let action = self.order.action(ActionKind::BookingCreated, self.booking_id).with_details(details);
        Ok(Complimentary { booking, payment, entry, action, replaced_claims, blocked })
    }

    /// The seats whose claim has to be replaced, and the blocked ones among them.
    fn require_available(
        &self,
        seats: &[(Seat, Option<Claim>)],
        now: Instant,
    ) -> Result<(Vec<SeatId>, Vec<SeatId>), Refusal> {
        let (mut replaced, mut blocked, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
        for (seat, claim) in seats {
            let Some(claim) = claim else { continue };
            let seat_id = seat.id;
            match claim.status_at(now) {
                SeatStatus::Held => conflicts.push(SeatConflict { seat_id, reason: ConflictReason::Held }),
                SeatStatus::Sold => conflicts.push(SeatConflict { seat_id, reason: ConflictReason::Sold }),
                SeatStatus::Available => replaced.push(seat_id),
                SeatStatus::Blocked => {
                    replaced.push(seat_id);
                    blocked.push(seat_id);
                }
            }
        }
        if conflicts.is_empty() {
            Ok((replaced, blocked))
        } else {
            Err(Refusal::SeatsUnavailable { requested: self.seat_ids.len(), conflicts })
        }
    }

    fn booking(&self, performance: &Performance, seats: &[(Seat, Option<Claim>)], now: Instant) -> Booking {
        let given = |(seat, _): &(Seat, _)| BookedSeat { price: Points::ZERO, ..BookedSeat::from(seat) };
        let mut seats: Vec<_> = seats.iter().map(given).collect();
        seats.sort_unstable_by_key(|seat| seat.id);
        Booking {
            id: self.booking_id,
            user_id: self.user_id,
            concert_id: performance.concert_id,
            performance_id: performance.id,
            state: BookingState::Confirmed { at: now, payment_id: self.payment_id },
            seats,
            total: Points::ZERO,
            // It was never held.
            held_until: now,
            is_extended: false,
            is_complimentary: true,
            language: None,
            created_at: now,
        }
    }
}
