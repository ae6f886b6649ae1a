//! Top-ups: points bought through a payment provider.
//!
//! The provider is never called inside a transaction. A row is written first, then comes the call, then its result. A
//! crash between two of them leaves a row whose next attempt is due, and the [job] continues. Only `settle.rs` credits
//! a wallet.

mod create;
pub mod fault_point;
mod job;
mod reconcile;
mod refund;
mod sandbox;
mod settle;

use std::sync::Arc;

use chrono::TimeDelta;

pub use self::{
    reconcile::Reconciliation,
    sandbox::{SandboxChoice, SandboxFacade},
};
use super::{Ports, error::AppError};
use crate::domain::{
    clock::Instant,
    id::{TopUpId, UserId},
    page::{Page, PageRequest},
    points::Points,
    refusal::Refusal,
    top_up::{PaymentProvider, TopUp, TopUpDetails, TopUpSearch},
};

/// The use cases of top-ups.
pub struct TopUpFacade {
    ports: Ports,
    /// The connections of the job.
    back_office: Ports,
    provider: Option<Arc<dyn PaymentProvider>>,
    /// The time for which a checkout can be paid.
    lifetime: TimeDelta,
}

impl TopUpFacade {
    /// Top-ups through this provider; without one, none can be made.
    pub fn new(ports: Ports, provider: Option<Arc<dyn PaymentProvider>>, lifetime: TimeDelta) -> Self {
        Self { back_office: ports.for_back_office(), ports, provider, lifetime }
    }

    /// Refuses an amount that can't be paid through the provider.
    ///
    /// # Errors
    ///
    /// [`Refusal::AmountNotPayable`].
    pub fn check_amount(&self, amount: Points) -> Result<(), Refusal> {
        let check = self.provider.as_ref().map_or(Ok(()), |provider| provider.check_amount(amount));
        check.map_err(|rule| Refusal::AmountNotPayable { rule })
    }

    /// A page of a user's top-ups, newest first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn top_ups(&self, user_id: UserId, page: PageRequest<TopUpId>) -> Result<Page<TopUp>, AppError> {
        Ok(self.ports.database.read().await?.top_ups().list_page(user_id, page).await?)
    }

    /// A page of all users' top-ups, newest first. Statuses are evaluated at the current instant.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn search(
        &self,
        search: &TopUpSearch,
        page: PageRequest<TopUpId>,
    ) -> Result<Page<TopUpDetails>, AppError> {
        let now = self.ports.now();
        Ok(self.ports.database.read().await?.top_ups().search(search, page, now).await?)
    }

    /// A user's top-up.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopUpNotFound`].
    pub async fn top_up(&self, user_id: UserId, id: TopUpId) -> Result<TopUp, AppError> {
        let found = self.ports.database.read().await?.top_ups().find(id).await?;
        Ok(found.filter(|top_up| top_up.user_id == user_id).ok_or(Refusal::TopUpNotFound)?)
    }

    /// The current instant, by which a top-up's status is shown.
    pub fn now(&self) -> Instant {
        self.ports.now()
    }

    /// The provider of a top-up, if it is the configured one.
    fn provider_of(&self, top_up: &TopUp) -> Option<&Arc<dyn PaymentProvider>> {
        self.provider.as_ref().filter(|provider| provider.name() == top_up.provider)
    }
}
