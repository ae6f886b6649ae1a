//! Top-ups: points bought through a payment provider.
//!
//! The provider is never called inside a transaction. A row is written first, then the provider is called, then its
//! result is written. A crash in between leaves a row whose next attempt becomes due, and the [job] continues. Only
//! `settle.rs` credits a wallet.

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
    /// The ports of the job and of administrators, with the back office's connections.
    back_office: Ports,
    provider: Option<Arc<dyn PaymentProvider>>,
    /// The time from a top-up's creation to its deadline.
    lifetime: TimeDelta,
}

impl TopUpFacade {
    /// Top-ups through this provider; `None` refuses all. They can be paid for the time `lifetime`.
    pub fn new(ports: Ports, provider: Option<Arc<dyn PaymentProvider>>, lifetime: TimeDelta) -> Self {
        Self { back_office: ports.for_back_office(), ports, provider, lifetime }
    }

    /// Checks that an amount can be paid in the provider's currency. Any amount passes without a provider.
    ///
    /// # Errors
    ///
    /// [`Refusal::AmountNotPayable`] with the violated rule.
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

    /// The user's top-up with this id.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopUpNotFound`].
    pub async fn top_up(&self, user_id: UserId, id: TopUpId) -> Result<TopUp, AppError> {
        let found = self.ports.database.read().await?.top_ups().find(id).await?;
        Ok(found.filter(|top_up| top_up.user_id == user_id).ok_or(Refusal::TopUpNotFound)?)
    }

    /// The current instant, at which callers evaluate a top-up's status.
    pub fn now(&self) -> Instant {
        self.ports.now()
    }

    /// The provider of a top-up, if it is the configured one.
    fn provider_of(&self, top_up: &TopUp) -> Option<&Arc<dyn PaymentProvider>> {
        self.provider_named(&top_up.provider)
    }

    /// The configured provider, if it has this name.
    fn provider_named(&self, name: &str) -> Option<&Arc<dyn PaymentProvider>> {
        self.provider.as_ref().filter(|provider| provider.name() == name)
    }
}
