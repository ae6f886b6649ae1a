//! Every way in which the rules say no. One variant per meaning, each with what a client needs to go on.

use super::{
    id::{QueueTokenId, SeatId},
    points::Points,
};

/// Why a seat can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// Somebody holds it and may still pay.
    Held,
    /// It is paid.
    Sold,
}

/// A seat that can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatConflict {
    /// Which.
    pub seat_id: SeatId,
    /// Why.
    pub reason: ConflictReason,
}

/// A rule's no. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // Who asks.
    /// No access token, or one that is forged, expired or revoked.
    #[error("A valid access token is needed.")]
    Unauthenticated,
    /// E-mail and password don't belong together.
    #[error("E-mail address or password is wrong.")]
    InvalidCredentials,
    /// A refresh token that is unknown, expired, used or revoked.
    #[error("The refresh token is not valid.")]
    InvalidRefreshToken,
    /// Not for this role.
    #[error("This needs the role ADMIN.")]
    Forbidden,
    /// The address has an account.
    #[error("An account with this e-mail address exists.")]
    EmailTaken,
    /// An account with live bookings can't be deleted.
    #[error("The account has bookings that are held or confirmed.")]
    UserHasLiveBookings,

    // The waiting queue.
    /// A gated route without a queue token.
    #[error("A queue token is needed: send it in the header Queue-Token.")]
    QueueTokenRequired,
    /// A queue token that this server never gave out.
    #[error("The queue token is not valid.")]
    QueueTokenInvalid,
    /// A queue token of another user.
    #[error("The queue token belongs to another user.")]
    QueueTokenNotYours,
    /// A queue token of another concert.
    #[error("The queue token is for another concert.")]
    QueueTokenWrongConcert,
    /// A queue token whose turn hasn't come.
    #[error("It is not your turn yet.")]
    QueueTokenNotActive {
        /// Which token, so that its place can be told.
        id: QueueTokenId,
        /// Its place in the line, if it has one.
        place: Option<u32>,
    },
    /// A queue token that has been completed, has expired or was left.
    #[error("The queue token has ended.")]
    QueueTokenExpired,

    // Things that aren't there, or not for the one who asks.
    /// No such concert.
    #[error("There is no such concert.")]
    ConcertNotFound,
    /// No opening was ever set for the concert.
    #[error("This concert has no draw: no opening of its sale was ever set.")]
    DrawNotFound,
    /// The draw is to come.
    #[error("The draw has not been made yet.")]
    DrawNotMade,
    /// No such performance.
    #[error("There is no such performance.")]
    PerformanceNotFound,
    /// No such seat in this performance.
    #[error("There is no such seat in this performance.")]
    SeatNotFound,
    /// No such booking of this user.
    #[error("There is no such booking of yours.")]
    BookingNotFound,
    /// No such payment of this user.
    #[error("There is no such payment of yours.")]
    PaymentNotFound,
    /// No such venue.
    #[error("There is no such venue.")]
    VenueNotFound,
    /// No such event, or it is no longer kept.
    #[error("There is no such event, or it is no longer kept.")]
    EventNotFound,
    /// No such webhook.
    #[error("There is no such webhook.")]
    WebhookNotFound,

    // Holds and bookings.
    /// Some of the seats are held or sold: none was taken.
    #[error("{} of {requested} seats are held or sold.", conflicts.len())]
    SeatsUnavailable {
        /// How many were asked for.
        requested: usize,
        /// Which can't be had.
        conflicts: Vec<SeatConflict>,
    },
    /// Fewer seats are free that meet the wish than it wants: none was taken.
    #[error("Of {seats} {matching} {free} are free: {requested} were asked for.")]
    TooFewSeats {
        /// How many were asked for.
        requested: u32,
        /// Which would do, in words.
        matching: String,
        /// How many there are of them.
        seats: u32,
        /// How many of them are free.
        free: u32,
    },
    /// More seats of one performance than a user may have.
    #[error("At most {limit} seats of a performance: you have {live} already.")]
    SeatLimitExceeded {
        /// How many a user may have.
        limit: u32,
        /// How many of them the user has.
        live: u32,
    },
    /// The performance has begun or is cancelled.
    #[error("Seats of this performance are no longer sold.")]
    SalesClosed,
    /// The draw of the sale is made: its opening stays.
    #[error("The sale has opened: its opening can't be changed any more. The mode PAUSED stops admission.")]
    SalesAlreadyOpen,
    /// A hold is extended once.
    #[error("The hold has been extended already.")]
    HoldAlreadyExtended,
    /// The hold's deadline has passed.
    #[error("The hold has expired.")]
    HoldExpired,
    /// The booking isn't waiting for a payment.
    #[error("The booking is {status}: it cannot be paid or extended.")]
    BookingNotPayable {
        /// What it is.
        status: &'static str,
    },
    /// An expired booking can't be cancelled.
    #[error("The booking has expired: there is nothing to cancel.")]
    BookingNotCancellable,
    /// Too late to give it back.
    #[error("Paid bookings can be given back up to {cutoff_hours} hours before the performance.")]
    RefundWindowClosed {
        /// How long before the beginning the window closes.
        cutoff_hours: u32,
    },
    /// A concert with live bookings can't be deleted.
    #[error("The concert has bookings that are held or confirmed.")]
    ConcertHasBookings,

    // Points.
    /// The balance is short: nothing was taken.
    #[error("The balance is {balance} points, the booking costs {required}.")]
    InsufficientPoints {
        /// What there is.
        balance: Points,
        /// What is needed.
        required: Points,
    },
    /// More than a wallet holds.
    #[error("A balance can be at most 999999999999.99 points.")]
    BalanceLimitExceeded,
    /// The balance has changed since the client read it.
    #[error("The balance has another version by now: {version}.")]
    PreconditionFailed {
        /// The version it has.
        version: u64,
    },

    // Idempotency.
    /// The key was used for another body.
    #[error("This Idempotency-Key was used with another request body.")]
    IdempotencyKeyReused,
    /// The first request with this key is still being worked on.
    #[error("The first request with this Idempotency-Key is still in progress.")]
    IdempotencyInProgress,
}

impl Refusal {
    /// Whether it is an answer of the rules that the same idempotency key must get again (402, 404, 409, 410), not
    /// one about who asks or how.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::ConcertNotFound
            | Self::DrawNotFound
            | Self::PerformanceNotFound
            | Self::SeatNotFound
            | Self::BookingNotFound
            | Self::PaymentNotFound
            | Self::VenueNotFound
            | Self::EventNotFound
            | Self::WebhookNotFound
            | Self::EmailTaken
            | Self::UserHasLiveBookings
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
            | Self::ConcertHasBookings
            | Self::InsufficientPoints { .. }
            | Self::BalanceLimitExceeded => true,
            Self::Unauthenticated
            | Self::InvalidCredentials
            | Self::InvalidRefreshToken
            | Self::Forbidden
            | Self::QueueTokenRequired
            | Self::QueueTokenInvalid
            | Self::QueueTokenNotYours
            | Self::QueueTokenWrongConcert
            | Self::QueueTokenNotActive { .. }
            | Self::QueueTokenExpired
            | Self::DrawNotMade
            | Self::PreconditionFailed { .. }
            | Self::IdempotencyKeyReused
            | Self::IdempotencyInProgress => false,
        }
    }
}
