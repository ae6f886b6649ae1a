//! Facts that are published after commit. They are written with the change, or the change didn't happen.

use uuid::Uuid;

use crate::domain::{
    booking::Booking,
    clock::Instant,
    concert::SeatStatus,
    id::{EventId, PerformanceId, SeatId, TransactionId, UserId},
    payment::Payment,
    points::Points,
};

/// Every type of event, as receivers see it.
pub const KINDS: [&str; 9] = [
    "booking.held",
    "booking.confirmed",
    "booking.cancelled",
    "booking.expired",
    "booking.refunded",
    "payment.completed",
    "payment.refunded",
    "points.charged",
    "seats.changed",
];

/// What happened.
#[derive(Clone, Debug)]
pub enum Fact {
    /// Seats were given to a user for some minutes.
    BookingHeld(Booking),
    /// A booking was paid.
    BookingConfirmed(Booking),
    /// An unpaid booking was given up.
    BookingCancelled(Booking),
    /// A hold's deadline passed.
    BookingExpired(Booking),
    /// A paid booking was given back.
    BookingRefunded(Booking),
    /// Points were taken for a booking.
    PaymentCompleted(Payment),
    /// The points of a payment were given back.
    PaymentRefunded(Payment),
    /// Points were added to a wallet.
    PointsCharged {
        /// The ledger's row.
        transaction_id: TransactionId,
        /// Whose.
        user_id: UserId,
        /// How many.
        amount: Points,
        /// The balance after it.
        balance: Points,
    },
    /// Seats of a performance have another status.
    SeatsChanged {
        /// Which performance.
        performance_id: PerformanceId,
        /// The seats and what they are now.
        seats: Vec<(SeatId, SeatStatus)>,
    },
}

impl Fact {
    /// The event's type, as receivers see it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BookingHeld(_) => "booking.held",
            Self::BookingConfirmed(_) => "booking.confirmed",
            Self::BookingCancelled(_) => "booking.cancelled",
            Self::BookingExpired(_) => "booking.expired",
            Self::BookingRefunded(_) => "booking.refunded",
            Self::PaymentCompleted(_) => "payment.completed",
            Self::PaymentRefunded(_) => "payment.refunded",
            Self::PointsCharged { .. } => "points.charged",
            Self::SeatsChanged { .. } => "seats.changed",
        }
    }

    /// Its place in its stream: fixed by the kind, so that the database refuses a second one of a kind, and a booking
    /// that both expires and is confirmed.
    pub fn sequence(&self) -> u8 {
        match self {
            Self::BookingHeld(_) => 1,
            Self::BookingConfirmed(_) | Self::BookingCancelled(_) | Self::BookingExpired(_) => 2,
            Self::PaymentCompleted(_) => 3,
            Self::BookingRefunded(_) => 4,
            Self::PaymentRefunded(_) => 5,
            Self::PointsCharged { .. } | Self::SeatsChanged { .. } => 0,
        }
    }
}

/// A fact with its identity.
#[derive(Clone, Debug)]
pub struct Event {
    /// Stable through every delivery.
    pub id: EventId,
    /// What happened.
    pub fact: Fact,
    /// When.
    pub at: Instant,
}

impl Event {
    /// What its delivery is ordered within: the booking, for all that becomes of it; else the event alone.
    pub fn stream_id(&self) -> Uuid {
        match &self.fact {
            Fact::BookingHeld(booking)
            | Fact::BookingConfirmed(booking)
            | Fact::BookingCancelled(booking)
            | Fact::BookingExpired(booking)
            | Fact::BookingRefunded(booking) => booking.id.0,
            Fact::PaymentCompleted(payment) | Fact::PaymentRefunded(payment) => payment.booking_id.0,
            Fact::PointsCharged { .. } | Fact::SeatsChanged { .. } => self.id.0,
        }
    }
}
