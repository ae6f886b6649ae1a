//! Payments and their states.

use strum::{IntoStaticStr, VariantNames};

use crate::domain::{
    clock::Instant,
    id::{BookingId, PaymentId, UserId},
    points::Points,
};

/// The state of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentState {
    /// The wallet was debited.
    Completed,
    /// The points were returned at this instant.
    Refunded(Instant),
}

impl PaymentState {
    /// The name that clients, receivers and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The points taken for one booking: its total, and at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Identifies the payment.
    pub id: PaymentId,
    /// The paid booking.
    pub booking_id: BookingId,
    /// The paying user, which is the booking's.
    pub user_id: UserId,
    /// The booking's total, in points.
    pub amount: Points,
    /// Completed or refunded.
    pub state: PaymentState,
    /// The instant of payment.
    pub paid_at: Instant,
}
