//! Decisions about the commands of administrators. Each change has an entry in the action log.

use super::{Adjustment, CancelledBy, SettlementBatch};
use crate::domain::{
    administration::{ActionKind, Order},
    booking::Booking,
    event::Fact,
    id::{BookingId, TransactionId, UserId},
    point::{Direction, LedgerEntry, LedgerKind},
    refusal::Refusal,
};

impl SettlementBatch {
    /// Adds points to a wallet, or takes points from it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] if the actor isn't an administrator; [`Refusal::UserNotFound`];
    /// [`Refusal::InsufficientPoints`]; [`Refusal::BalanceLimitExceeded`].
    pub fn adjust(&mut self, adjustment: &Adjustment) -> Result<LedgerEntry, Refusal> {
        let Adjustment { transaction_id, user_id, amount, order } = adjustment;
        self.require_administrator(order.actor)?;
        if !self.state.accounts.contains_key(user_id) {
            return Err(Refusal::UserNotFound);
        }
        let direction = if amount.is_negative { Direction::Debit } else { Direction::Credit };
        let kind = LedgerKind::Adjustment(direction);
        let entry = self.apply_to_wallet(*user_id, *transaction_id, kind, amount.magnitude)?;
        let balance = entry.balance_after;
        self.changes.facts.push(Fact::PointsAdjusted {
            transaction_id: entry.id,
            user_id: entry.user_id,
            amount: *amount,
            balance,
        });
        let action = order.action(ActionKind::PointsAdjusted, entry.id);
        self.changes.actions.push(action.with_details(format!("user {user_id}: {amount}, balance {balance}")));
        Ok(entry)
    }

    /// Cancels any user's booking at any time, also after the cut-off of refunds or the use of a ticket. Repeating it
    /// has no effect and isn't recorded.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] if the actor isn't an administrator; [`Refusal::BookingNotFound`];
    /// [`Refusal::BookingNotCancellable`] for an expired booking; [`Refusal::BalanceLimitExceeded`] if the refund
    /// exceeds the largest amount.
    pub fn cancel_by_administrator(
        &mut self,
        order: &Order,
        booking_id: BookingId,
        transaction_id: TransactionId,
    ) -> Result<Booking, Refusal> {
        self.require_administrator(order.actor)?;
        let before = self.state.bookings.get(&booking_id).ok_or(Refusal::BookingNotFound)?;
        let (user_id, state) = (before.user_id, before.state);
        let booking = self.cancel(user_id, booking_id, transaction_id, CancelledBy::Administrator)?;
        if booking.state != state {
            let action = order.action(ActionKind::BookingCancelled, booking_id);
            self.changes.actions.push(action.with_details(format!("user {user_id}: {}", booking.state.name())));
        }
        Ok(booking)
    }

    fn require_administrator(&self, actor: UserId) -> Result<(), Refusal> {
        let standing = self.state.accounts.get(&actor);
        if standing.is_some_and(|standing| standing.is_administrator()) { Ok(()) } else { Err(Refusal::Forbidden) }
    }
}
