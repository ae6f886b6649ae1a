//! The refusals by rules: one variant per reason, with the values that a client needs to react.

use chrono::SecondsFormat;
use strum::{IntoStaticStr, VariantNames};

use super::{
    clock::Instant,
    id::{QueueTokenId, SeatId},
    points::Points,
};

/// The reason why a seat is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ConflictReason {
    /// It is held, and may become available again.
    Held,
    /// It is sold.
    Sold,
    /// An administrator holds it back from sale.
    Blocked,
}

impl ConflictReason {
    /// The name that clients see.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A requested seat that is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatConflict {
    /// The requested seat.
    pub seat_id: SeatId,
    /// Held, sold or blocked.
    pub reason: ConflictReason,
}

/// A refusal by a rule. The refused operation changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // Authentication.
    /// The access token is missing, forged, expired or revoked.
    #[error("A valid access token is required.")]
    Unauthenticated,
    /// There is no account with this address and password.
    #[error("The e-mail address or the password is wrong.")]
    InvalidCredentials,
    /// The refresh token is unknown, expired, used or revoked.
    #[error("The refresh token is invalid, expired or already used.")]
    InvalidRefreshToken,
    /// An administrator has blocked the account.
    #[error("The account is blocked.")]
    UserBlocked,
    /// The e-mail address isn't verified, and joining a queue requires it.
    #[error("The e-mail address must be verified first.")]
    EmailNotVerified,
    /// The code is unknown, expired, used or another account's.
    #[error("The code is wrong, expired or already used.")]
    InvalidCode,
    /// The only administrator can't be demoted, blocked or deleted.
    #[error("This is the only administrator: promote another user first.")]
    LastAdmin,
    /// The account doesn't exist or was deleted.
    #[error("There is no such user.")]
    UserNotFound,
    /// The user's role doesn't permit the operation.
    #[error("The role ADMIN is required.")]
    Forbidden,
    /// The e-mail address belongs to another account.
    #[error("An account with this e-mail address exists.")]
    EmailTaken,
    /// An account with live bookings can't be deleted.
    #[error("The account has live bookings: cancel them first, or wait until their performances are over.")]
    UserHasLiveBookings,
    /// An account with points is deleted only if its user forfeits them.
    #[error(
        "The account has {balance} points, which its deletion forfeits: repeat the request with forfeitBalance=true."
    )]
    BalanceNotZero {
        /// The balance in points.
        balance: Points,
    },

    // The waiting queue.
    /// A gated operation without a queue token.
    #[error("A queue token is required in the header Queue-Token.")]
    QueueTokenRequired,
    /// The queue token wasn't signed by this server, or its record was deleted.
    #[error("The queue token is invalid.")]
    QueueTokenInvalid,
    /// The queue token belongs to another user.
    #[error("The queue token belongs to another user.")]
    QueueTokenNotYours,
    /// The queue token belongs to another concert.
    #[error("The queue token is for another concert.")]
    QueueTokenWrongConcert,
    /// The queue token isn't admitted yet.
    #[error("It is not your turn yet.")]
    QueueTokenNotActive {
        /// Identifies the token, so that the problem can contain its position.
        id: QueueTokenId,
        /// The place in the queue; `None` before the draw.
        place: Option<u32>,
    },
    /// The queue token has ended: its last hold was paid, it expired, or its user left the queue.
    #[error("The queue token has ended.")]
    QueueTokenExpired,

    // Absent resources; another user's resources count as absent.
    /// The concert doesn't exist or was deleted.
    #[error("There is no such concert.")]
    ConcertNotFound,
    /// The concert never had an opening.
    #[error("The concert has no draw, because no opening was ever set.")]
    DrawNotFound,
    /// The opening hasn't passed, or the drawn order isn't completely written yet.
    #[error("The draw has not been made yet.")]
    DrawNotMade,
    /// The performance doesn't exist, or its concert was deleted.
    #[error("There is no such performance.")]
    PerformanceNotFound,
    /// The performance has no such seat.
    #[error("There is no such seat in this performance.")]
    SeatNotFound,
    /// The booking doesn't exist or belongs to another user.
    #[error("There is no such booking.")]
    BookingNotFound,
    /// The user has no such payment.
    #[error("You have no such payment.")]
    PaymentNotFound,
    /// The user has no such session, or it has ended.
    #[error("You have no such session, or it has ended.")]
    SessionNotFound,
    /// The venue doesn't exist.
    #[error("There is no such venue.")]
    VenueNotFound,
    /// The event doesn't exist, or its retention is over.
    #[error("There is no such event, or its retention is over.")]
    EventNotFound,
    /// The webhook doesn't exist or was deleted.
    #[error("There is no such webhook.")]
    WebhookNotFound,

    // Holds and bookings.
    /// Some requested seats are held, sold or blocked, so the request changes none.
    #[error("{} of {requested} seats are held, sold or blocked.", conflicts.len())]
    SeatsUnavailable {
        /// The number of requested seats.
        requested: usize,
        /// The unavailable ones among them.
        conflicts: Vec<SeatConflict>,
    },
    /// Fewer matching seats are free than requested, so none is held for the user.
    #[error("Of {seats} {matching} {free} are free: {requested} were asked for.")]
    TooFewSeats {
        /// The number of requested seats.
        requested: u32,
        /// The matching seats in words.
        matching: String,
        /// The number of matching seats, free or not.
        seats: u32,
        /// The number of matching seats that are free.
        free: u32,
    },
    /// The hold would exceed the limit of seats per user and performance.
    #[error("You can have at most {limit} seats of a performance, and have {live} already.")]
    SeatLimitExceeded {
        /// The limit, in seats.
        limit: u32,
        /// The seats of the user's live bookings.
        live: u32,
    },
    /// The sales of the performance have ended, or it has started or was cancelled.
    #[error("Seats of this performance are no longer sold.")]
    SalesClosed,
    /// A new start has passed.
    #[error("must be in the future")]
    StartNotInFuture,
    /// Sales would end after the start.
    #[error("must not be after startsAt")]
    SalesEndAfterStart,
    /// The draw is made, so the opening is fixed.
    #[error("The sale has opened, so its opening is fixed. The mode PAUSED stops admission.")]
    SalesAlreadyOpen,
    /// A hold can be extended once.
    #[error("The hold has been extended already.")]
    HoldAlreadyExtended,
    /// The hold's deadline has passed.
    #[error("The hold has expired.")]
    HoldExpired,
    /// The booking isn't a hold, or its performance was cancelled and the booking is still to be settled.
    #[error("The booking is {status}: it can't be paid or extended.")]
    BookingNotPayable {
        /// The name of the state, or a description of it.
        status: &'static str,
    },
    /// An expired booking can't be cancelled.
    #[error("The booking has expired, so it can't be cancelled.")]
    BookingNotCancellable,
    /// The cut-off of refunds has passed.
    #[error("Paid bookings can be cancelled until {cutoff_hours} hours before the performance.")]
    RefundWindowClosed {
        /// The hours before the performance at which refunds close.
        cutoff_hours: u32,
    },
    /// A ticket of the booking was used, so its user can't cancel it any more.
    #[error("A ticket of the booking was used, so it can't be cancelled.")]
    BookingUsed,

    /// A concert with live bookings can't be deleted.
    #[error("The concert has live bookings: cancel its performances first, or wait until they are over.")]
    ConcertHasBookings,

    // Tickets.
    /// Only a confirmed booking has tickets.
    #[error("The booking is {status}: only a confirmed booking has tickets.")]
    BookingNotConfirmed {
        /// The booking's status.
        status: &'static str,
    },
    /// The booking has no such ticket, or this server didn't sign the code.
    #[error("There is no such ticket.")]
    TicketNotFound,
    /// The ticket was used before.
    #[error("The ticket was used at {}.", .admitted_at.to_rfc3339_opts(SecondsFormat::Millis, true))]
    TicketAlreadyUsed {
        /// The instant of its use.
        admitted_at: Instant,
    },
    /// The code is genuine, but its booking isn't confirmed, or its performance is cancelled or another than the
    /// door's.
    #[error("The ticket is not valid: {reason}.")]
    TicketNotValid {
        /// The reason, as a clause for the sentence above.
        reason: String,
    },

    // Points.
    /// The balance is too small. No points were taken.
    #[error("The balance is {balance} points, and {required} are required.")]
    InsufficientPoints {
        /// The current balance, in points.
        balance: Points,
        /// The booking's total, or the amount of an adjustment or refund that takes points.
        required: Points,
    },
    /// The balance would exceed its limit.
    #[error("A balance can be raised to at most 999999999999.99 points.")]
    BalanceLimitExceeded,
    /// The wallet has another version than the client requires.
    #[error("The balance has changed: its version is {version}.")]
    PreconditionFailed {
        /// The current version.
        version: u64,
    },

    // Top-ups.
    /// Charges are refused, because a payment provider is configured.
    #[error("Points are bought here: create a top-up (POST /api/v1/points/top-ups) and pay it.")]
    TopUpRequired,
    /// No payment provider is configured.
    #[error("This server has no payment provider: charge points (POST /api/v1/points/charges).")]
    NoPaymentProvider,
    /// The user has no such top-up.
    #[error("You have no such top-up.")]
    TopUpNotFound,
    /// Only the payment of a completed top-up can be refunded.
    #[error("The top-up isn't completed, so there is no payment to refund.")]
    TopUpNotRefundable,
    /// The amount can't be paid in the provider's currency.
    #[error("{rule}")]
    AmountNotPayable {
        /// The rule that the amount breaks.
        rule: String,
    },
    /// No payment provider with this name is configured.
    #[error("This server has no such payment provider.")]
    PaymentProviderNotFound,
    /// A notification without a valid signature.
    #[error("The notification's signature is missing, wrong or too old.")]
    InvalidSignature,
    /// A signed notification that can't be read.
    #[error("The notification can't be read.")]
    UnreadableNotification,

    // Idempotency.
    /// The key was used with another body.
    #[error("The Idempotency-Key was used with another request body.")]
    IdempotencyKeyReused,
    /// The first request with the key is still being processed.
    #[error("The first request with this Idempotency-Key is still in progress.")]
    IdempotencyInProgress,
}

impl Refusal {
    /// Whether an idempotency key records this refusal, so that a repetition gets it again. Refusals of authentication
    /// and admission are temporary.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::ConcertNotFound
            | Self::DrawNotFound
            | Self::PerformanceNotFound
            | Self::SeatNotFound
            | Self::BookingNotFound
            | Self::PaymentNotFound
            | Self::SessionNotFound
            | Self::UserNotFound
            | Self::LastAdmin
            | Self::VenueNotFound
            | Self::EventNotFound
            | Self::WebhookNotFound
            | Self::EmailTaken
            | Self::UserHasLiveBookings
            | Self::BalanceNotZero { .. }
            | Self::SeatsUnavailable { .. }
            | Self::TooFewSeats { .. }
            | Self::SeatLimitExceeded { .. }
            | Self::SalesClosed
            | Self::SalesAlreadyOpen
            | Self::HoldAlreadyExtended
            | Self::HoldExpired
            | Self::BookingNotPayable { .. }
            | Self::BookingNotCancellable
            | Self::RefundWindowClosed { .. }
            | Self::BookingUsed
            | Self::BookingNotConfirmed { .. }
            | Self::TicketNotFound
            | Self::TicketAlreadyUsed { .. }
            | Self::TicketNotValid { .. }
            | Self::ConcertHasBookings
            | Self::InsufficientPoints { .. }
            | Self::BalanceLimitExceeded
            | Self::TopUpRequired
            | Self::NoPaymentProvider
            | Self::TopUpNotFound
            | Self::TopUpNotRefundable => true,
            Self::Unauthenticated
            | Self::InvalidCredentials
            | Self::InvalidRefreshToken
            | Self::UserBlocked
            | Self::EmailNotVerified
            | Self::InvalidCode
            | Self::Forbidden
            | Self::QueueTokenRequired
            | Self::QueueTokenInvalid
            | Self::QueueTokenNotYours
            | Self::QueueTokenWrongConcert
            | Self::QueueTokenNotActive { .. }
            | Self::QueueTokenExpired
            | Self::DrawNotMade
            | Self::StartNotInFuture
            | Self::SalesEndAfterStart
            | Self::PreconditionFailed { .. }
            | Self::AmountNotPayable { .. }
            | Self::PaymentProviderNotFound
            | Self::InvalidSignature
            | Self::UnreadableNotification
            | Self::IdempotencyKeyReused
            | Self::IdempotencyInProgress => false,
        }
    }
}
