//! Wallets, and the entries of their ledgers.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::float_arithmetic)]

use strum::{IntoStaticStr, VariantNames};

use crate::domain::{
    clock::Instant,
    id::{BookingId, PaymentId, TransactionId, UserId},
    points::Points,
    refusal::Refusal,
};

/// The direction of a balance's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The wallet gains points.
    Credit,
    /// The wallet loses points.
    Debit,
}

/// The reason of a balance's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum LedgerKind {
    /// A charge or a top-up added points.
    Charge,
    /// A payment took the points of a booking.
    Payment(PaymentId, BookingId),
    /// A refund returned the points of a payment.
    Refund(PaymentId, BookingId),
    /// An administrator added or took points.
    Adjustment(Direction),
}

impl LedgerKind {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the wallet gains or loses points.
    pub fn direction(self) -> Direction {
        match self {
            Self::Charge | Self::Refund(..) => Direction::Credit,
            Self::Payment(..) => Direction::Debit,
            Self::Adjustment(direction) => direction,
        }
    }

    /// The payment and its booking; `None` unless this is a payment or a refund.
    pub fn payment(self) -> Option<(PaymentId, BookingId)> {
        match self {
            Self::Payment(payment_id, booking_id) | Self::Refund(payment_id, booking_id) => {
                Some((payment_id, booking_id))
            }
            Self::Charge | Self::Adjustment(_) => None,
        }
    }
}

/// One change of a balance. It is immutable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Identifies the entry.
    pub id: TransactionId,
    /// The owner of the wallet.
    pub user_id: UserId,
    /// The wallet's version after the change; versions have no gaps.
    pub version: u64,
    /// The reason, which determines the direction.
    pub kind: LedgerKind,
    /// The changed amount in points, without a sign.
    pub amount: Points,
    /// The balance after the change, in points.
    pub balance_after: Points,
    /// The instant of the change.
    pub created_at: Instant,
}

/// A user's balance of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// The owner of the wallet.
    pub user_id: UserId,
    /// The balance in points.
    pub balance: Points,
    /// The number of changes; 0 for a wallet that was never used.
    pub version: u64,
    /// The instant of the latest change; `None` if there was none.
    pub updated_at: Option<Instant>,
    /// The instant at which the account was deleted; `None` while it exists.
    pub closed_at: Option<Instant>,
}

impl Wallet {
    /// The wallet of a user who never had points.
    pub fn empty(user_id: UserId) -> Self {
        Self { user_id, balance: Points::ZERO, version: 0, updated_at: None, closed_at: None }
    }

    /// Applies a change of `amount` points, and returns its ledger entry. A closed wallet accepts refunds alone. After
    /// an error the wallet is unchanged.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthenticated`] for a closed wallet; [`Refusal::BalanceLimitExceeded`];
    /// [`Refusal::InsufficientPoints`] if the balance would be negative.
    pub fn change(
        &mut self,
        id: TransactionId,
        kind: LedgerKind,
        amount: Points,
        now: Instant,
    ) -> Result<LedgerEntry, Refusal> {
        if self.closed_at.is_some() && !matches!(kind, LedgerKind::Refund(..)) {
            return Err(Refusal::Unauthenticated);
        }
        let balance_after = match kind {
            LedgerKind::Charge | LedgerKind::Adjustment(Direction::Credit) => self
                .balance
                .plus(amount)
                .filter(|sum| *sum <= Points::MAX_BALANCE)
                .ok_or(Refusal::BalanceLimitExceeded)?,
            // A refund may exceed the limit of charges: the user owns the paid points, even if charges have filled the
            // wallet since.
            LedgerKind::Refund(..) => self.balance.plus(amount).ok_or(Refusal::BalanceLimitExceeded)?,
            LedgerKind::Payment(..) | LedgerKind::Adjustment(Direction::Debit) => self
                .balance
                .minus(amount)
                .ok_or(Refusal::InsufficientPoints { balance: self.balance, required: amount })?,
        };
        self.balance = balance_after;
        self.version = self.version.saturating_add(1);
        self.updated_at = Some(now);
        Ok(LedgerEntry {
            id,
            user_id: self.user_id,
            version: self.version,
            kind,
            amount,
            balance_after,
            created_at: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ID: TransactionId = TransactionId(Uuid::nil());

    fn points(text: &str) -> Points {
        text.parse().unwrap()
    }

    #[test]
    fn a_wallet_pays_up_to_its_balance() {
        let now = Instant::default();
        let mut wallet = Wallet::empty(UserId(Uuid::nil()));
        let charge = wallet.change(ID, LedgerKind::Charge, points("10"), now).unwrap();
        assert_eq!((charge.version, charge.balance_after), (1, points("10")));
        let payment = LedgerKind::Payment(PaymentId(Uuid::nil()), BookingId(Uuid::nil()));
        assert_eq!(
            wallet.change(ID, payment, points("10.01"), now),
            Err(Refusal::InsufficientPoints { balance: points("10"), required: points("10.01") })
        );
        assert_eq!(wallet.version, 1);
        assert_eq!(wallet.change(ID, payment, points("10"), now).unwrap().balance_after, Points::ZERO);
    }

    #[test]
    fn an_adjustment_keeps_the_balance_between_zero_and_its_limit() {
        let now = Instant::default();
        let mut wallet = Wallet { balance: points("10"), ..Wallet::empty(UserId(Uuid::nil())) };
        let (credit, debit) = (LedgerKind::Adjustment(Direction::Credit), LedgerKind::Adjustment(Direction::Debit));
        assert_eq!(
            wallet.change(ID, debit, points("10.01"), now),
            Err(Refusal::InsufficientPoints { balance: points("10"), required: points("10.01") })
        );
        assert_eq!(wallet.change(ID, credit, Points::MAX_BALANCE, now), Err(Refusal::BalanceLimitExceeded));
        assert_eq!(wallet.change(ID, debit, points("10"), now).unwrap().balance_after, Points::ZERO);
        assert_eq!(wallet.change(ID, credit, points("0.01"), now).unwrap().balance_after, points("0.01"));
    }

    #[test]
    fn a_closed_wallet_accepts_refunds_alone() {
        let now = Instant::default();
        let mut wallet = Wallet { closed_at: Some(now), ..Wallet::empty(UserId(Uuid::nil())) };
        let (payment, booking) = (PaymentId(Uuid::nil()), BookingId(Uuid::nil()));
        for kind in [LedgerKind::Charge, LedgerKind::Payment(payment, booking)] {
            assert_eq!(wallet.change(ID, kind, points("1"), now), Err(Refusal::Unauthenticated));
        }
        let refund = wallet.change(ID, LedgerKind::Refund(payment, booking), points("1"), now).unwrap();
        assert_eq!(refund.balance_after, points("1"));
    }

    #[test]
    fn a_refund_may_exceed_the_wallet_limit_for_charges() {
        let mut wallet = Wallet { balance: Points::MAX_BALANCE, ..Wallet::empty(UserId(Uuid::nil())) };
        let refund = LedgerKind::Refund(PaymentId(Uuid::nil()), BookingId(Uuid::nil()));
        let entry = wallet.change(ID, refund, points("0.01"), Instant::default()).unwrap();
        assert_eq!(entry.balance_after, points("1000000000000"));
    }

    #[test]
    fn a_balance_stops_at_its_limit() {
        let mut wallet = Wallet { balance: Points::MAX_BALANCE, ..Wallet::empty(UserId(Uuid::nil())) };
        assert_eq!(
            wallet.change(ID, LedgerKind::Charge, points("0.01"), Instant::default()),
            Err(Refusal::BalanceLimitExceeded)
        );
        assert_eq!(wallet.version, 0);
    }
}
