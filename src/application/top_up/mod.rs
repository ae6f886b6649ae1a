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
    page::Page,
    points::Points,
    refusal::Refusal,
    top_up::{PaymentProvider, TopUp, TopUpDetails, TopUpSearch, TopUpStatus},
};

/// A search for top-ups of all users. What is `None` doesn't matter.
#[derive(Clone, Copy, Debug)]
pub struct SearchTopUps {
    /// The user.
    pub user_id: Option<UserId>,
    /// The status, by the clock.
    pub status: Option<TopUpStatus>,
    /// The first instant of their creation.
    pub from: Option<Instant>,
    /// The instant before which they were created.
    pub to: Option<Instant>,
    /// Only older top-ups than this one.
    pub before: Option<TopUpId>,
    /// The most top-ups of the page.
    pub limit: u32,
}

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

    /// A user's top-ups, newest first: at most `limit` with ids below `before`.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn top_ups(&self, user_id: UserId, before: Option<TopUpId>, limit: u32) -> Result<Page<TopUp>, AppError> {
        Ok(self.ports.database.read().await?.top_ups().list_page(user_id, before, limit).await?)
    }

    /// Top-ups of all users, newest first. Statuses are evaluated at the current instant.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn search(&self, query: &SearchTopUps) -> Result<Page<TopUpDetails>, AppError> {
        let SearchTopUps { user_id, status, from, to, before, limit } = *query;
        let search = TopUpSearch { user_id, status, now: self.ports.now(), from, to, before, limit };
        Ok(self.ports.database.read().await?.top_ups().search(&search).await?)
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
