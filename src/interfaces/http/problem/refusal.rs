//! Problems from the errors of use cases and the refusals of the domain.

use axum::http::header;
use serde_json::json;

use super::{Code, FieldError, Problem, RETRY_AFTER_SECONDS};
use crate::{
    application::error::AppError,
    domain::refusal::{Refusal, SeatConflict},
    interfaces::http::values::Timestamp,
};

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Refused(refusal) => Self::from(refusal),
            AppError::NotYourTurn { position, poll_after_seconds } => {
                Self::new(Code::QUEUE_TOKEN_NOT_ACTIVE, "It is not your turn yet.")
                    .with_member("position", position.into())
                    .with_member("pollAfterSeconds", poll_after_seconds.into())
            }
            AppError::Overloaded | AppError::Contention | AppError::TimedOut => {
                Self::new(Code::OVERLOADED, "The server is overloaded: try again shortly.")
            }
            AppError::ClockSkewed => Self::clock_skewed(),
            AppError::TooOften { retry_after_seconds } => Self::rate_limited(retry_after_seconds),
            AppError::ProviderUnavailable(cause) => Self::new(
                Code::PAYMENT_PROVIDER_UNAVAILABLE,
                "The payment provider can't be reached: try again shortly.",
            )
            .caused_by(&*cause),
            AppError::Unavailable(cause) => {
                Self::new(Code::DATABASE_UNAVAILABLE, "The database can't be reached: try again shortly.")
                    .caused_by(&*cause)
            }
            AppError::Internal(cause) => {
                Self::new(Code::INTERNAL, "An internal error occurred. The log has the cause under this request id.")
                    .caused_by(&*cause)
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        if let Some(field) = invalid_field(&refusal) {
            return Self::validation(&[FieldError::pointer(field, refusal.to_string())]);
        }
        let problem = Self::new(code_of(&refusal), refusal.to_string());
        match refusal {
            Refusal::SeatsUnavailable { conflicts, .. } => {
                let conflict =
                    |conflict: &SeatConflict| json!({"seatId": conflict.seat_id.0, "reason": conflict.reason.name()});
                problem.with_member("conflicts", conflicts.iter().map(conflict).collect())
            }
            Refusal::TooFewSeats { .. } => problem.with_member("conflicts", json!([])),
            Refusal::InsufficientPoints { balance, required } => problem
                .with_member("balance", balance.to_string().into())
                .with_member("required", required.to_string().into()),
            Refusal::BalanceNotZero { balance } => problem.with_member("balance", balance.to_string().into()),
            Refusal::SeatLimitExceeded { limit, live } => {
                problem.with_member("limit", limit.into()).with_member("live", live.into())
            }
            Refusal::TicketAlreadyUsed { admitted_at } => {
                problem.with_member("admittedAt", json!(Timestamp(admitted_at)))
            }
            Refusal::IdempotencyInProgress => problem.with_header(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into()),
            _ => problem,
        }
    }
}

/// The field of the body that a refusal is about, if the stored values decide that it is invalid.
fn invalid_field(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::StartNotInFuture => Some("/startsAt"),
        Refusal::SalesEndAfterStart => Some("/salesEndAt"),
        Refusal::AmountNotPayable { .. } => Some("/amount"),
        _ => None,
    }
}

/// The code of each refusal.
#[deny(clippy::wildcard_enum_match_arm)]
fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Unauthenticated => Code::UNAUTHENTICATED,
        Refusal::InvalidCredentials => Code::INVALID_CREDENTIALS,
        Refusal::InvalidRefreshToken => Code::INVALID_REFRESH_TOKEN,
        Refusal::Forbidden => Code::FORBIDDEN,
        Refusal::EmailTaken => Code::EMAIL_TAKEN,
        Refusal::UserHasLiveBookings => Code::USER_HAS_LIVE_BOOKINGS,
        Refusal::BalanceNotZero { .. } => Code::BALANCE_NOT_ZERO,
        Refusal::QueueTokenRequired => Code::QUEUE_TOKEN_REQUIRED,
        Refusal::QueueTokenInvalid => Code::QUEUE_TOKEN_INVALID,
        Refusal::QueueTokenNotYours => Code::QUEUE_TOKEN_NOT_YOURS,
        Refusal::QueueTokenWrongConcert => Code::QUEUE_TOKEN_WRONG_CONCERT,
        Refusal::QueueTokenNotActive { .. } => Code::QUEUE_TOKEN_NOT_ACTIVE,
        Refusal::QueueTokenExpired => Code::QUEUE_TOKEN_EXPIRED,
        Refusal::ConcertNotFound => Code::CONCERT_NOT_FOUND,
        Refusal::DrawNotFound | Refusal::DrawNotMade => Code::DRAW_NOT_FOUND,
        Refusal::PerformanceNotFound => Code::PERFORMANCE_NOT_FOUND,
        Refusal::SeatNotFound => Code::SEAT_NOT_FOUND,
        Refusal::BookingNotFound => Code::BOOKING_NOT_FOUND,
        Refusal::PaymentNotFound => Code::PAYMENT_NOT_FOUND,
        Refusal::VenueNotFound => Code::VENUE_NOT_FOUND,
        Refusal::EventNotFound => Code::EVENT_NOT_FOUND,
        Refusal::UserNotFound => Code::USER_NOT_FOUND,
        Refusal::UserBlocked => Code::USER_BLOCKED,
        Refusal::EmailNotVerified => Code::EMAIL_NOT_VERIFIED,
        Refusal::InvalidCode => Code::INVALID_CODE,
        Refusal::LastAdmin => Code::LAST_ADMIN,
        Refusal::SessionNotFound => Code::SESSION_NOT_FOUND,
        Refusal::WebhookNotFound => Code::WEBHOOK_NOT_FOUND,
        Refusal::SeatsUnavailable { .. } | Refusal::TooFewSeats { .. } => Code::SEATS_UNAVAILABLE,
        Refusal::SeatLimitExceeded { .. } => Code::SEAT_LIMIT_EXCEEDED,
        Refusal::SalesClosed => Code::SALES_CLOSED,
        Refusal::StartNotInFuture | Refusal::SalesEndAfterStart | Refusal::AmountNotPayable { .. } => {
            Code::VALIDATION_FAILED
        }
        Refusal::SalesAlreadyOpen => Code::SALES_ALREADY_OPEN,
        Refusal::HoldAlreadyExtended => Code::HOLD_ALREADY_EXTENDED,
        Refusal::HoldExpired => Code::HOLD_EXPIRED,
        Refusal::BookingNotPayable { .. } => Code::BOOKING_NOT_PAYABLE,
        Refusal::BookingNotCancellable => Code::BOOKING_NOT_CANCELLABLE,
        // A use closes the window early.
        Refusal::RefundWindowClosed { .. } | Refusal::BookingUsed => Code::REFUND_WINDOW_CLOSED,
        Refusal::BookingNotConfirmed { .. } => Code::BOOKING_NOT_CONFIRMED,
        Refusal::TicketNotFound => Code::TICKET_NOT_FOUND,
        Refusal::TicketAlreadyUsed { .. } => Code::TICKET_ALREADY_USED,
        Refusal::TicketNotValid { .. } => Code::TICKET_NOT_VALID,
        Refusal::ConcertHasBookings => Code::CONCERT_HAS_BOOKINGS,
        Refusal::InsufficientPoints { .. } => Code::INSUFFICIENT_POINTS,
        Refusal::BalanceLimitExceeded => Code::BALANCE_LIMIT_EXCEEDED,
        Refusal::PreconditionFailed { .. } => Code::PRECONDITION_FAILED,
        Refusal::TopUpRequired => Code::TOP_UP_REQUIRED,
        Refusal::NoPaymentProvider => Code::NO_PAYMENT_PROVIDER,
        Refusal::TopUpNotRefundable => Code::TOP_UP_NOT_REFUNDABLE,
        Refusal::TopUpNotFound => Code::TOP_UP_NOT_FOUND,
        Refusal::PaymentProviderNotFound => Code::PAYMENT_PROVIDER_NOT_FOUND,
        Refusal::InvalidSignature => Code::INVALID_SIGNATURE,
        Refusal::UnreadableNotification => Code::MALFORMED_REQUEST,
        Refusal::IdempotencyKeyReused => Code::IDEMPOTENCY_KEY_REUSED,
        Refusal::IdempotencyInProgress => Code::IDEMPOTENCY_IN_PROGRESS,
    }
}
