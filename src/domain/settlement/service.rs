//! Decisions about settlements: the commands of a batch, decided in order over one locked state.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;

use super::{CancelledBy, Charge, Paid, PayRequest};
use crate::domain::{
    administration::Action,
    booking::{Booking, BookingState, Claim, HoldPolicy, OpenBooking, instant_after, live_seats},
    clock::Instant,
    concert::{Performance, PerformanceStatus, SeatStatus},
    event::Fact,
    id::{BookingId, ConcertId, PaymentId, PerformanceId, QueueTokenId, SeatId, TransactionId, UserId},
    payment::{Payment, PaymentState},
    point::{LedgerEntry, LedgerKind, Wallet},
    points::Points,
    queue::{Admission, EndReason, QueueToken, TokenState, require_active},
    refusal::Refusal,
    user::Standing,
};

/// The rows that the decisions of a batch need, locked until the results are written. Wallets aren't locked: a write
/// checks that a wallet still has the version that was read.
#[derive(Debug, Default)]
pub struct LockedSettlementState {
    /// The queue tokens of payments and extensions, and those of users whose holds are cancelled.
    pub tokens: HashMap<QueueTokenId, QueueToken>,
    /// The bookings that a command names.
    pub bookings: HashMap<BookingId, Booking>,
    /// The performances of `bookings`.
    pub performances: HashMap<PerformanceId, Performance>,
    /// The claims on the bookings' seats.
    pub claims: HashMap<SeatId, Claim>,
    /// The amounts of the payments for confirmed bookings that a command cancels.
    pub paid_amounts: HashMap<PaymentId, Points>,
    /// The users' wallets; users who never had points have none.
    pub wallets: HashMap<UserId, Wallet>,
    /// The bookings to be refunded of which a ticket was used.
    pub used: HashSet<BookingId>,
    /// The bookings of paying and extending users: all pending ones, and the confirmed ones of `performances`.
    pub open: HashMap<UserId, Vec<OpenBooking>>,
    /// The accounts of the commands' administrators, and of users whose wallets they adjust.
    pub accounts: HashMap<UserId, Standing>,
}

impl LockedSettlementState {
    /// The instant of the decisions. The caller has read `now` after taking the locks.
    pub fn instant(&self, now: Instant) -> Instant {
        instant_after(self.open.values().flatten(), now)
    }
}

/// Decides the settlements of a batch in order of arrival, and collects the changes to write.
#[derive(Debug)]
pub struct SettlementBatch {
    now: Instant,
    policy: HoldPolicy,
    pub(super) state: LockedSettlementState,
    pub(super) changes: SettlementChanges,
}

/// The changes to write.
#[derive(Debug, Default)]
pub(crate) struct SettlementChanges {
    pub(crate) ledger_entries: Vec<LedgerEntry>,
    pub(crate) payments: Vec<Payment>,
    pub(crate) refunded_payments: Vec<PaymentId>,
    pub(crate) facts: Vec<Fact>,
    /// The entries of the action log.
    pub(crate) actions: Vec<Action>,
    pub(crate) seat_changes: Vec<(PerformanceId, SeatId, SeatStatus)>,
    bookings: BTreeSet<BookingId>,
    tokens: BTreeSet<QueueTokenId>,
}

impl SettlementBatch {
    /// Starts a batch that decides at `now`.
    pub fn new(now: Instant, policy: HoldPolicy, state: LockedSettlementState) -> Self {
        Self { now, policy, state, changes: SettlementChanges::default() }
    }

    /// Adds points to a wallet.
    ///
    /// # Errors
    ///
    /// [`Refusal::PreconditionFailed`], [`Refusal::BalanceLimitExceeded`], or [`Refusal::Unauthenticated`] for the
    /// wallet of a deleted account.
    pub fn charge(&mut self, charge: &Charge) -> Result<LedgerEntry, Refusal> {
        let wallet = self.wallet(charge.user_id);
        if charge.if_version.as_ref().is_some_and(|versions| !versions.contains(&wallet.version)) {
            return Err(Refusal::PreconditionFailed { version: wallet.version });
        }
        let entry = self.apply_to_wallet(charge.user_id, charge.transaction_id, LedgerKind::Charge, charge.amount)?;
        self.changes.facts.push(Fact::PointsCharged {
            transaction_id: entry.id,
            user_id: entry.user_id,
            amount: entry.amount,
            balance: entry.balance_after,
        });
        Ok(entry)
    }

    /// Pays for a booking: points, payment, booking, seats and token change together, or not at all.
    ///
    /// # Errors
    ///
    /// [`Refusal::QueueTokenInvalid`], [`Refusal::QueueTokenNotActive`], [`Refusal::QueueTokenExpired`],
    /// [`Refusal::QueueTokenWrongConcert`], [`Refusal::BookingNotFound`], [`Refusal::BookingNotPayable`],
    /// [`Refusal::HoldExpired`], [`Refusal::SeatLimitExceeded`], [`Refusal::InsufficientPoints`], or
    /// [`Refusal::Unauthenticated`] for the wallet of a deleted account.
    pub fn pay(&mut self, request: &PayRequest, queue_token: QueueTokenId) -> Result<Paid, Refusal> {
        let (token, admission) = self.require_active_token(request.user_id, queue_token)?;
        let mut booking = self.find_payable_hold(request.user_id, request.booking_id, &token)?;
        let kind = LedgerKind::Payment(request.payment_id, booking.id);
        let entry = self.apply_to_wallet(request.user_id, request.transaction_id, kind, booking.total)?;
        let payment = Payment {
            id: request.payment_id,
            booking_id: booking.id,
            user_id: request.user_id,
            amount: booking.total,
            state: PaymentState::Completed,
            paid_at: self.now,
        };
        booking.confirm(payment.id, self.now);
        self.state.paid_amounts.insert(payment.id, payment.amount);
        booking.language = Some(request.language);
        self.changes.payments.push(payment);
        self.changes.facts.push(Fact::BookingConfirmed(booking.clone()));
        self.changes.facts.push(Fact::PaymentCompleted(payment));
        self.update_booking(&booking, SeatStatus::Sold);
        self.release_token_after_payment(token, admission, &booking);
        Ok(Paid { payment, balance: entry.balance_after, booking })
    }

    /// Extends a hold, once. The lifetime of its queue token is extended to the same deadline.
    ///
    /// # Errors
    ///
    /// [`Refusal::HoldAlreadyExtended`], and those of [`pay`](Self::pay) except [`Refusal::InsufficientPoints`] and
    /// [`Refusal::Unauthenticated`].
    pub fn extend(
        &mut self,
        user_id: UserId,
        queue_token: QueueTokenId,
        booking_id: BookingId,
    ) -> Result<Booking, Refusal> {
        let (token, admission) = self.require_active_token(user_id, queue_token)?;
        let mut booking = self.find_payable_hold(user_id, booking_id, &token)?;
        booking.extend(self.policy.extension)?;
        let admission = admission.extended(self.now, booking.held_until);
        self.update_token(QueueToken { state: TokenState::Active(admission), ..token });
        let claim = Claim::of(booking_id, Some(booking.held_until));
        for seat in booking.seat_ids() {
            self.state.claims.insert(seat, claim);
        }
        self.update_open_booking(&booking);
        self.changes.bookings.insert(booking_id);
        self.state.bookings.insert(booking_id, booking.clone());
        Ok(booking)
    }

    /// Cancels a booking: its seats become available, and the points of a paid one are returned. The lifetime of the
    /// user's queue token falls back to its own deadline, or to that of the user's last other hold. Repeating it has no
    /// effect.
    ///
    /// A cancellation by the promoter records the expiry of a hold past its deadline.
    ///
    /// # Errors
    ///
    /// [`Refusal::BookingNotFound`]; [`Refusal::BookingNotCancellable`] for an expired booking, or a hold that has lost
    /// a claim; [`Refusal::RefundWindowClosed`] and [`Refusal::BookingUsed`] for the booking's user;
    /// [`Refusal::BalanceLimitExceeded`] if the refund exceeds the largest amount.
    pub fn cancel(
        &mut self,
        user_id: UserId,
        booking_id: BookingId,
        transaction_id: TransactionId,
        cancelled_by: CancelledBy,
    ) -> Result<Booking, Refusal> {
        let mut booking = self.find_own_booking(user_id, booking_id)?;
        if let CancelledBy::User(Some(language)) = cancelled_by {
            booking.language = Some(language);
        }
        match booking.state_at(self.now) {
            BookingState::Cancelled { .. } | BookingState::Refunded { .. } => return Ok(booking),
            BookingState::Expired
                if cancelled_by == CancelledBy::Promoter && booking.state == BookingState::Pending =>
            {
                // The expiry hasn't been written: write it here, so that the performance has one open booking fewer.
                booking.state = BookingState::Expired;
                self.changes.facts.push(Fact::BookingExpired(booking.clone()));
                self.changes.bookings.insert(booking_id);
                self.state.bookings.insert(booking_id, booking.clone());
                return Ok(booking);
            }
            BookingState::Expired => return Err(Refusal::BookingNotCancellable),
            BookingState::Pending => {
                booking
                    .require_held(self.now, |seat| self.state.claims.get(&seat))
                    .map_err(|_| Refusal::BookingNotCancellable)?;
                booking.state = BookingState::Cancelled { at: self.now };
                self.changes.facts.push(Fact::BookingCancelled(booking.clone()));
            }
            BookingState::Confirmed { at: confirmed_at, payment_id } => {
                if matches!(cancelled_by, CancelledBy::User(_)) {
                    self.require_refundable(&booking)?;
                }
                // The amount was read for every confirmed booking that a command cancels.
                let amount = self.state.paid_amounts.get(&payment_id).copied();
                let amount = amount.ok_or(Refusal::BookingNotCancellable)?;
                let kind = LedgerKind::Refund(payment_id, booking_id);
                self.apply_to_wallet(user_id, transaction_id, kind, amount)?;
                booking.state = BookingState::Refunded { confirmed_at, payment_id, at: self.now };
                self.changes.refunded_payments.push(payment_id);
                self.changes.facts.push(Fact::BookingRefunded(booking.clone()));
                self.changes.facts.push(Fact::PaymentRefunded(Payment {
                    id: payment_id,
                    booking_id,
                    user_id,
                    amount,
                    state: PaymentState::Refunded(self.now),
                    paid_at: confirmed_at,
                }));
            }
        }
        self.update_booking(&booking, SeatStatus::Available);
        self.release_token_after_cancellation(&booking);
        Ok(booking)
    }

    /// Cancels a hold. A booking that is no longer held stays as it is.
    pub(crate) fn cancel_hold(&mut self, user_id: UserId, booking_id: BookingId) {
        let state = self.state.bookings.get(&booking_id).map(|booking| booking.state_at(self.now));
        if state == Some(BookingState::Pending) {
            // A hold has no refund, so no ledger entry uses this id.
            let _ = self.cancel(user_id, booking_id, TransactionId(uuid::Uuid::nil()), CancelledBy::User(None));
        }
    }

    /// A user's holds for a concert, in the order in which they were made.
    pub(crate) fn holds_of(&self, user_id: UserId, concert_id: ConcertId) -> Vec<BookingId> {
        let mut holds: Vec<_> = self.holds(user_id, concert_id).map(|booking| booking.id).collect();
        holds.sort_unstable();
        holds
    }

    fn holds(&self, user_id: UserId, concert_id: ConcertId) -> impl Iterator<Item = &OpenBooking> {
        let is_held = move |booking: &&OpenBooking| booking.concert_id == concert_id && booking.is_held(self.now);
        self.state.open.get(&user_id).into_iter().flatten().filter(is_held)
    }

    /// The changes to write, with the final states of changed bookings and tokens.
    pub(crate) fn into_changes(self) -> (SettlementChanges, Vec<Booking>, Vec<QueueToken>) {
        let Self { state, changes, .. } = self;
        let bookings = changes.bookings.iter().filter_map(|id| state.bookings.get(id)).cloned().collect();
        let tokens = changes.tokens.iter().filter_map(|id| state.tokens.get(id)).copied().collect();
        (changes, bookings, tokens)
    }

    fn require_active_token(&self, user_id: UserId, id: QueueTokenId) -> Result<(QueueToken, Admission), Refusal> {
        let token = self.state.tokens.get(&id).filter(|token| token.user_id == user_id);
        let token = token.ok_or(Refusal::QueueTokenInvalid)?;
        Ok((*token, require_active(token, self.now)?))
    }

    fn find_own_booking(&self, user_id: UserId, id: BookingId) -> Result<Booking, Refusal> {
        self.state
            .bookings
            .get(&id)
            .filter(|booking| booking.user_id == user_id)
            .cloned()
            .ok_or(Refusal::BookingNotFound)
    }

    fn find_payable_hold(&self, user_id: UserId, id: BookingId, token: &QueueToken) -> Result<Booking, Refusal> {
        let booking = self.find_own_booking(user_id, id)?;
        if booking.concert_id != token.id.concert() {
            return Err(Refusal::QueueTokenWrongConcert);
        }
        booking.require_held(self.now, |seat| self.state.claims.get(&seat))?;
        self.require_within_limit(&booking)?;
        match self.state.performances.get(&booking.performance_id).map(|performance| performance.status) {
            Some(PerformanceStatus::Scheduled) => Ok(booking),
            Some(PerformanceStatus::Cancelled(_)) | None => {
                Err(Refusal::BookingNotPayable { status: "about to be cancelled with its performance" })
            }
        }
    }

    /// Checks the seat limit again. For an instance whose clock is behind, a hold that had expired when its user made
    /// another must not count as live again.
    fn require_within_limit(&self, booking: &Booking) -> Result<(), Refusal> {
        let limit = self.policy.max_seats_per_user;
        let open = self.state.open.get(&booking.user_id).into_iter().flatten();
        let live = live_seats(open, booking.user_id, booking.performance_id, self.now);
        if live > limit { Err(Refusal::SeatLimitExceeded { limit, live }) } else { Ok(()) }
    }

    fn require_refundable(&self, booking: &Booking) -> Result<(), Refusal> {
        if self.state.used.contains(&booking.id) {
            return Err(Refusal::BookingUsed);
        }
        let cutoff_hours = self.policy.refund_cutoff_hours;
        let closed = Refusal::RefundWindowClosed { cutoff_hours };
        let performance = self.state.performances.get(&booking.performance_id).ok_or(closed.clone())?;
        if self.now < performance.starts_at - TimeDelta::hours(i64::from(cutoff_hours)) { Ok(()) } else { Err(closed) }
    }

    fn wallet(&self, user_id: UserId) -> Wallet {
        self.state.wallets.get(&user_id).copied().unwrap_or_else(|| Wallet::empty(user_id))
    }

    pub(super) fn apply_to_wallet(
        &mut self,
        user_id: UserId,
        id: TransactionId,
        kind: LedgerKind,
        amount: Points,
    ) -> Result<LedgerEntry, Refusal> {
        let mut wallet = self.wallet(user_id);
        let entry = wallet.change(id, kind, amount, self.now)?;
        self.state.wallets.insert(user_id, wallet);
        self.changes.ledger_entries.push(entry);
        Ok(entry)
    }

    fn update_booking(&mut self, booking: &Booking, seats: SeatStatus) {
        let held_until = match seats {
            SeatStatus::Sold => None,
            SeatStatus::Available | SeatStatus::Held | SeatStatus::Blocked => Some(self.now),
        };
        for seat in booking.seat_ids() {
            self.state.claims.insert(seat, Claim::of(booking.id, held_until));
            self.changes.seat_changes.push((booking.performance_id, seat, seats));
        }
        self.update_open_booking(booking);
        self.changes.bookings.insert(booking.id);
        self.state.bookings.insert(booking.id, booking.clone());
    }

    /// Updates the state that later commands of the batch count.
    fn update_open_booking(&mut self, booking: &Booking) {
        if let Some(open) = self.state.open.get_mut(&booking.user_id) {
            open.retain(|other| other.id != booking.id);
            if matches!(booking.state, BookingState::Pending | BookingState::Confirmed { .. }) {
                open.push(OpenBooking::from(booking));
            }
        }
    }

    /// The latest deadline of the user's other holds for the booking's concert.
    fn last_hold_deadline(&self, booking: &Booking) -> Option<Instant> {
        self.holds(booking.user_id, booking.concert_id).filter_map(|held| held.held_until).max()
    }

    /// Completes the token of a payment. While the user has further holds, the token stays active until their last
    /// deadline.
    fn release_token_after_payment(&mut self, token: QueueToken, admission: Admission, paid: &Booking) {
        let state = match self.last_hold_deadline(paid) {
            None => TokenState::Ended(EndReason::Completed),
            deadline => TokenState::Active(admission.fallen_back(self.now, deadline)),
        };
        self.update_token(QueueToken { state, ..token });
    }

    /// Shortens the lifetime of a cancelled hold's token to the user's other holds, but not below the token's own
    /// deadline.
    fn release_token_after_cancellation(&mut self, cancelled: &Booking) {
        let is_of_it = |token: &&QueueToken| {
            token.user_id == cancelled.user_id && token.id.concert() == cancelled.concert_id && token.is_live(self.now)
        };
        let Some(token) = self.state.tokens.values().find(is_of_it).copied() else { return };
        if let TokenState::Active(admission) = token.state {
            let admission = admission.fallen_back(self.now, self.last_hold_deadline(cancelled));
            self.update_token(QueueToken { state: TokenState::Active(admission), ..token });
        }
    }

    fn update_token(&mut self, token: QueueToken) {
        self.changes.tokens.insert(token.id);
        self.state.tokens.insert(token.id, token);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// A payment may be less than its booking's total.
    #[test]
    fn a_refund_returns_the_paid_amount() {
        let (now, payment_id) = (Instant::default(), PaymentId(Uuid::from_u128(1)));
        let booking = Booking {
            id: BookingId(Uuid::from_u128(2)),
            user_id: UserId(Uuid::from_u128(3)),
            concert_id: ConcertId(1),
            performance_id: PerformanceId(1),
            state: BookingState::Confirmed { at: now, payment_id },
            seats: vec![],
            total: "100".parse().unwrap(),
            held_until: now,
            is_extended: false,
            is_complimentary: false,
            language: None,
            created_at: now,
        };
        let paid: Points = "80.50".parse().unwrap();
        let state = LockedSettlementState {
            bookings: HashMap::from([(booking.id, booking.clone())]),
            paid_amounts: HashMap::from([(payment_id, paid)]),
            ..LockedSettlementState::default()
        };
        let zero = TimeDelta::zero();
        let policy = HoldPolicy { hold: zero, extension: zero, max_seats_per_user: 4, refund_cutoff_hours: 24 };
        let mut batch = SettlementBatch::new(now, policy, state);
        let id = TransactionId(Uuid::from_u128(4));
        batch.cancel(booking.user_id, booking.id, id, CancelledBy::Promoter).unwrap();
        let (changes, ..) = batch.into_changes();
        assert_eq!(changes.ledger_entries.iter().map(|entry| entry.amount).collect::<Vec<_>>(), [paid]);
        assert!(
            changes.facts.iter().any(|fact| matches!(fact, Fact::PaymentRefunded(payment) if payment.amount == paid))
        );
    }
}
