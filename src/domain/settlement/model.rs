//! The commands of settlements, and their results.

use crate::domain::{
    administration::Order,
    booking::Booking,
    id::{BookingId, PaymentId, TransactionId, UserId},
    language::Language,
    payment::Payment,
    points::{Points, SignedPoints},
};

/// A request to add points to a wallet.
#[derive(Clone, Debug)]
pub struct Charge {
    /// The id of the ledger entry to be made.
    pub transaction_id: TransactionId,
    /// The owner of the wallet.
    pub user_id: UserId,
    /// The points to add.
    pub amount: Points,
    /// The charge requires one of these versions of the wallet; `None` for any.
    pub if_version: Option<Vec<u64>>,
}

/// An administrator's request to add points to a wallet, or to take points from it.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// The id of the ledger entry to be made.
    pub transaction_id: TransactionId,
    /// The owner of the wallet.
    pub user_id: UserId,
    /// The points; negative to take them.
    pub amount: SignedPoints,
    /// The administrator, with the reason.
    pub order: Order,
}

/// A request to pay for a booking.
#[derive(Clone, Debug)]
pub struct PayRequest {
    /// The id of the payment to be made.
    pub payment_id: PaymentId,
    /// The id of the ledger entry to be made.
    pub transaction_id: TransactionId,
    /// The paying user, who must be the booking's.
    pub user_id: UserId,
    /// The booking to pay for.
    pub booking_id: BookingId,
    /// The language that the buyer prefers for mail.
    pub language: Language,
}

/// The result of a payment.
#[derive(Clone, Debug)]
pub struct Paid {
    /// The new payment.
    pub payment: Payment,
    /// The wallet's balance after the payment, in points.
    pub balance: Points,
    /// The booking, now confirmed.
    pub booking: Booking,
}

/// The initiator of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelledBy {
    /// The booking's user, with the preferred language of mail. A paid booking can be cancelled only until refunds
    /// close.
    User(Option<Language>),
    /// An administrator: at any time.
    Administrator,
    /// The promoter, who cancels the performance: at any time.
    Promoter,
}
