//! A payment.

use crate::domain::{
    clock::Instant,
    id::{BookingId, PaymentId, UserId},
    points::Points,
};

/// What has become of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The points are taken.
    Completed,
    /// The points were given back, at this instant.
    Refunded(Instant),
}

/// Points taken for one booking: exactly its total, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// For what.
    pub booking_id: BookingId,
    /// By whom.
    pub user_id: UserId,
    /// How much.
    pub amount: Points,
    /// What has become of it.
    pub state: PaymentState,
    /// When it was made.
    pub paid_at: Instant,
}
