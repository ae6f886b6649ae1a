//! The use cases of payments.

use std::sync::Arc;

use super::{
    Ports,
    error::AppError,
    lane::{IdempotencyKey, Reply},
    queue::GateFacade,
    settlement::SettlementLanes,
};
use crate::domain::{
    id::{BookingId, PaymentId, QueueTokenId, UserId},
    language::Language,
    page::{Page, PageRequest},
    payment::Payment,
    refusal::Refusal,
    settlement::Paid,
};

/// The use cases of payments.
pub struct PaymentFacade {
    ports: Ports,
    lanes: Arc<SettlementLanes>,
    gate: Arc<GateFacade>,
}

impl PaymentFacade {
    /// A facade whose payments go through the settlement lanes.
    pub fn new(ports: Ports, lanes: Arc<SettlementLanes>, gate: Arc<GateFacade>) -> Self {
        Self { ports, lanes, gate }
    }

    /// Pays for a hold with the user's points. Booking, seats, wallet and queue token change in one transaction. The
    /// confirmation is mailed in `language`. `gate` is the gate's verdict on the queue token.
    ///
    /// With a key, repeating the request has one effect.
    ///
    /// # Errors
    ///
    /// [`AppError::NotYourTurn`] if the queue token isn't active yet; [`Refusal::QueueTokenInvalid`],
    /// [`Refusal::QueueTokenExpired`], [`Refusal::QueueTokenWrongConcert`]; [`Refusal::BookingNotFound`],
    /// [`Refusal::BookingNotPayable`], [`Refusal::HoldExpired`], [`Refusal::SeatLimitExceeded`];
    /// [`Refusal::InsufficientPoints`]; [`Refusal::Unauthenticated`] if the account is deleted; the refusal that `gate`
    /// contains; those of a [command](super::lane::Lanes::submit). The reply contains the refusals of the decision.
    ///
    /// # Concurrency
    ///
    /// A settlement: locks the queue token, the performance (shared), the seats and the booking, in this order. The
    /// write of the wallet checks its version.
    pub async fn pay(
        &self,
        user_id: UserId,
        gate: Result<QueueTokenId, Refusal>,
        booking_id: BookingId,
        language: Language,
        key: Option<IdempotencyKey<Paid>>,
    ) -> Result<Reply<Paid>, AppError> {
        let reply = self.lanes.pay(user_id, gate, booking_id, language, key).await?;
        self.gate.with_position(reply, user_id).await
    }

    /// The user's payment with this id.
    ///
    /// # Errors
    ///
    /// [`Refusal::PaymentNotFound`] if the user has no such payment.
    pub async fn payment(&self, user_id: UserId, id: PaymentId) -> Result<Payment, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.payments().find(user_id, id).await?.ok_or(Refusal::PaymentNotFound)?)
    }

    /// A page of the user's payments, newest first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn payments(&self, user_id: UserId, page: PageRequest<PaymentId>) -> Result<Page<Payment>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.payments().list_page(user_id, page).await?)
    }
}
