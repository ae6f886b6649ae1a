//! Paying for bookings.

use std::sync::Arc;

use super::{
    Ports,
    error::AppError,
    lane::{IdempotencyKey, Reply},
    queue::QueueFacade,
    settlement::SettlementLanes,
};
use crate::domain::{
    id::{BookingId, PaymentId, QueueTokenId, UserId},
    page::Page,
    payment::Payment,
    refusal::Refusal,
    settlement::Paid,
};

/// Use cases of payments.
pub struct PaymentFacade {
    ports: Ports,
    lanes: Arc<SettlementLanes>,
    queue: Arc<QueueFacade>,
}

impl PaymentFacade {
    /// Payments go through the settlement lanes.
    pub fn new(ports: Ports, lanes: Arc<SettlementLanes>, queue: Arc<QueueFacade>) -> Self {
        Self { ports, lanes, queue }
    }

    /// Pays for a held booking with the caller's points: all of it changes in one transaction, or nothing does.
    pub async fn pay(
        &self,
        user_id: UserId,
        gate: Result<QueueTokenId, Refusal>,
        booking_id: BookingId,
        key: Option<IdempotencyKey<Paid>>,
    ) -> Result<Reply<Paid>, AppError> {
        let reply = self.lanes.pay(user_id, gate, booking_id, key).await?;
        self.queue.with_position(reply, user_id).await
    }

    /// A payment of the user's.
    pub async fn payment(&self, user_id: UserId, id: PaymentId) -> Result<Payment, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.payments().find(user_id, id).await?.ok_or(Refusal::PaymentNotFound)?)
    }

    /// The user's payments, newest first, older than `before`.
    pub async fn payments(
        &self,
        user_id: UserId,
        before: Option<PaymentId>,
        limit: u32,
    ) -> Result<Page<Payment>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.payments().list_page(user_id, before, limit).await?)
    }
}
