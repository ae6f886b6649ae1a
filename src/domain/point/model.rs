//! A wallet, and the entries of its ledger.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::float_arithmetic)]

use crate::domain::{
    clock::Instant,
    id::{BookingId, PaymentId, TransactionId, UserId},
    points::Points,
    refusal::Refusal,
};

/// Why a balance changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerKind {
    /// Points were added.
    Charge,
    /// Points were taken for a booking.
    Payment(PaymentId, BookingId),
    /// The points of a payment were given back.
    Refund(PaymentId, BookingId),
}

impl LedgerKind {
    /// Its name, as clients and the database write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Charge => "CHARGE",
            Self::Payment(..) => "PAYMENT",
            Self::Refund(..) => "REFUND",
        }
    }
}

/// One change of a balance: never altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Its id.
    pub id: TransactionId,
    /// Whose wallet.
    pub user_id: UserId,
    /// The wallet's version after it.
    pub version: u64,
    /// Why.
    pub kind: LedgerKind,
    /// How much, without a sign: the kind tells the direction.
    pub amount: Points,
    /// The balance after it.
    pub balance_after: Points,
    /// When.
    pub created_at: Instant,
}

/// A user's balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// Whose.
    pub user_id: UserId,
    /// What there is.
    pub balance: Points,
    /// How many times it has changed; 0 for a user who never had any.
    pub version: u64,
    /// When it last changed.
    pub updated_at: Option<Instant>,
    /// When the account was deleted.
    pub closed_at: Option<Instant>,
}

impl Wallet {
    /// The wallet of a user who never had any points.
    pub fn empty(user_id: UserId) -> Self {
        Self { user_id, balance: Points::ZERO, version: 0, updated_at: None, closed_at: None }
    }

    /// Adds points, or takes them for a payment. A closed wallet takes refunds alone: the ledger keeps them.
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
            LedgerKind::Charge => self
                .balance
                .plus(amount)
                .filter(|sum| *sum <= Points::MAX_BALANCE)
                .ok_or(Refusal::BalanceLimitExceeded)?,
            // Points that were paid belong to the user, whatever was charged meanwhile.
            LedgerKind::Refund(..) => self.balance.plus(amount).ok_or(Refusal::BalanceLimitExceeded)?,
            LedgerKind::Payment(..) => self
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
    fn a_wallet_pays_what_it_has_and_not_a_hundredth_more() {
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
    fn a_closed_wallet_takes_refunds_alone() {
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
