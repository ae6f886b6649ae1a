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
    /// Charges only if the wallet has one of these versions; `None` for any.
    pub if_version: Option<Vec<u64>>,
}

/// An administrator's request to add points to a wallet, or to take some.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// The id of the ledger entry to be made.
    pub transaction_id: TransactionId,
    /// The owner of the wallet.
    pub user_id: UserId,
    /// The points, negative to take them.
    pub amount: SignedPoints,
    /// Who adjusts, and why.
    pub order: Order,
}

/// A request to pay for a booking.
#[derive(Clone, Debug)]
pub struct PayRequest {
    /// The id of the payment to be made.
    pub payment_id: PaymentId,
    /// The id of the ledger entry to be made.
    pub transaction_id: TransactionId,
    /// The paying user.
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
    /// The booking's user: paid bookings only until refunds close. With the language that the user prefers for mail.
    User(Option<Language>),
    /// An administrator: at any time.
    Administrator,
    /// The promoter, who cancels the performance: at any time.
    Promoter,
}
