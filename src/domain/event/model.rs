//! The facts that events report. The transaction of the change records them.

use uuid::Uuid;

use crate::domain::{
    booking::Booking,
    clock::Instant,
    concert::SeatStatus,
    id::{BookingId, CodeId, ConcertId, EventId, PerformanceId, SeatId, TransactionId, UserId},
    payment::Payment,
    points::{Points, SignedPoints},
};

/// The event types that receivers can subscribe to, in the order of lists.
pub const KINDS: [&str; 13] = [
    "booking.held",
    "booking.confirmed",
    "booking.cancelled",
    "booking.expired",
    "booking.refunded",
    "payment.completed",
    "payment.refunded",
    "points.charged",
    "points.adjusted",
    "seats.changed",
    "ticket.used",
    "performance.rescheduled",
    "performance.cancelled",
];

/// The event types that are sent to the mail server alone.
pub const PRIVATE_KINDS: [&str; 2] = ["code.issued", "notice.rescheduled"];

/// The event types that are mailed.
pub const MAILED_KINDS: [&str; 6] = [
    "code.issued",
    "booking.confirmed",
    "booking.cancelled",
    "booking.refunded",
    "performance.rescheduled",
    "notice.rescheduled",
];

/// A change that an event reports to receivers.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A user holds seats until a deadline.
    BookingHeld(Booking),
    /// A booking was paid.
    BookingConfirmed(Booking),
    /// An unpaid booking was cancelled.
    BookingCancelled(Booking),
    /// A hold's deadline passed.
    BookingExpired(Booking),
    /// A paid booking was cancelled, and its points returned.
    BookingRefunded(Booking),
    /// The points of a booking were taken.
    PaymentCompleted(Payment),
    /// The points of a payment were returned.
    PaymentRefunded(Payment),
    /// Points were added to a wallet.
    PointsCharged {
        /// The entry in the wallet's ledger.
        transaction_id: TransactionId,
        /// The owner of the wallet.
        user_id: UserId,
        /// The added points.
        amount: Points,
        /// The balance after the charge, in points.
        balance: Points,
    },
    /// An administrator changed a balance.
    PointsAdjusted {
        /// The entry in the wallet's ledger.
        transaction_id: TransactionId,
        /// The owner of the wallet.
        user_id: UserId,
        /// The points; negative if the wallet lost them.
        amount: SignedPoints,
        /// The balance after the adjustment, in points.
        balance: Points,
    },
    /// Seats of a performance changed their status.
    SeatsChanged {
        /// The performance of all seats.
        performance_id: PerformanceId,
        /// Each changed seat with its new status.
        seats: Vec<(SeatId, SeatStatus)>,
    },
    /// A ticket was used at a door.
    TicketUsed {
        /// The ticket's booking.
        booking_id: BookingId,
        /// The performance of the ticket.
        performance_id: PerformanceId,
        /// The ticket's seat.
        seat_id: SeatId,
        /// The position of the seat among those of its booking, from 0.
        position: u8,
    },
    /// The start of a performance changed.
    PerformanceRescheduled {
        /// The rescheduled performance.
        performance_id: PerformanceId,
        /// Its concert.
        concert_id: ConcertId,
        /// The start before the change.
        previous_starts_at: Instant,
        /// The new start.
        starts_at: Instant,
    },
    /// A performance was cancelled, by itself or with its concert.
    PerformanceCancelled {
        /// The cancelled performance.
        performance_id: PerformanceId,
        /// Its concert.
        concert_id: ConcertId,
        /// The start for which it was scheduled.
        starts_at: Instant,
    },
    /// A code was made, which has to be mailed. The event contains its id alone, from which the code is derived.
    CodeIssued(CodeId),
    /// The buyer of a booking has to be notified by mail of the performance's new start.
    RescheduleNoticed(BookingId),
}

impl Fact {
    /// The event type, one of [`KINDS`] or [`PRIVATE_KINDS`].
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
            Self::PointsAdjusted { .. } => "points.adjusted",
            Self::SeatsChanged { .. } => "seats.changed",
            Self::TicketUsed { .. } => "ticket.used",
            Self::PerformanceRescheduled { .. } => "performance.rescheduled",
            Self::PerformanceCancelled { .. } => "performance.cancelled",
            Self::CodeIssued(_) => "code.issued",
            Self::RescheduleNoticed(_) => "notice.rescheduled",
        }
    }

    /// The position in the stream. It depends on the kind alone, so a unique key refuses a second event of a kind, and
    /// an expiry beside a confirmation. The position of a used ticket also depends on its seat. It is greater than all
    /// others, even than that of a later refund.
    pub fn sequence(&self) -> u8 {
        match self {
            Self::BookingHeld(_) => 1,
            Self::BookingConfirmed(_) | Self::BookingCancelled(_) | Self::BookingExpired(_) => 2,
            Self::PaymentCompleted(_) => 3,
            Self::BookingRefunded(_) => 4,
            Self::PaymentRefunded(_) => 5,
            Self::TicketUsed { position, .. } => position.saturating_add(6),
            Self::PointsCharged { .. }
            | Self::PointsAdjusted { .. }
            | Self::SeatsChanged { .. }
            | Self::PerformanceRescheduled { .. }
            | Self::PerformanceCancelled { .. }
            | Self::CodeIssued(_)
            | Self::RescheduleNoticed(_) => 0,
        }
    }
}

/// A fact with its identity and instant.
#[derive(Clone, Debug)]
pub struct Event {
    /// The same in every delivery.
    pub id: EventId,
    /// The reported change.
    pub fact: Fact,
    /// The instant of the change.
    pub at: Instant,
}

impl Event {
    /// The stream whose events are delivered in order: the booking's id, or the event's own id for events without a
    /// booking.
    pub fn stream_id(&self) -> Uuid {
        match &self.fact {
            Fact::BookingHeld(booking)
            | Fact::BookingConfirmed(booking)
            | Fact::BookingCancelled(booking)
            | Fact::BookingExpired(booking)
            | Fact::BookingRefunded(booking) => booking.id.0,
            Fact::PaymentCompleted(payment) | Fact::PaymentRefunded(payment) => payment.booking_id.0,
            Fact::TicketUsed { booking_id, .. } => booking_id.0,
            Fact::PointsCharged { .. }
            | Fact::PointsAdjusted { .. }
            | Fact::SeatsChanged { .. }
            | Fact::PerformanceRescheduled { .. }
            | Fact::PerformanceCancelled { .. }
            | Fact::CodeIssued(_)
            | Fact::RescheduleNoticed(_) => self.id.0,
        }
    }
}
