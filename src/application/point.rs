//! The use cases of wallets: the prepaid balance and its ledger.

use std::sync::Arc;

use super::{
    Ports,
    error::AppError,
    lane::{IdempotencyKey, Reply},
    settlement::SettlementLanes,
};
use crate::domain::{
    id::UserId,
    page::{Page, PageRequest},
    point::{LedgerEntry, Wallet},
    points::Points,
    refusal::Refusal,
};

/// The use cases of wallets.
pub struct PointFacade {
    ports: Ports,
    lanes: Arc<SettlementLanes>,
    /// Whether points are bought through a payment provider, so that charges are refused.
    top_ups_only: bool,
}

impl PointFacade {
    /// A facade whose charges go through the settlement lanes; with `top_ups_only` they are refused.
    pub fn new(ports: Ports, lanes: Arc<SettlementLanes>, top_ups_only: bool) -> Self {
        Self { ports, lanes, top_ups_only }
    }

    /// The wallet of a user; an empty one before its first change.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn balance(&self, user_id: UserId) -> Result<Wallet, AppError> {
        Ok(self.ports.database.read().await?.wallets().find_or_empty(user_id).await?)
    }

    /// A page of a user's ledger by descending version, so newest entry first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn transactions(&self, user_id: UserId, page: PageRequest<u64>) -> Result<Page<LedgerEntry>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.wallets().list_entries(user_id, page).await?)
    }

    /// Adds `amount` points to a wallet. `if_version` requires one of these versions of the wallet; `None` allows any.
    ///
    /// With a key, repeating the request has one effect.
    ///
    /// # Errors
    ///
    /// [`Refusal::PreconditionFailed`] if the version is another one; [`Refusal::BalanceLimitExceeded`];
    /// [`Refusal::Unauthenticated`] if the account is deleted; [`Refusal::TopUpRequired`] with a payment provider;
    /// those of a [command](super::lane::Lanes::submit). The reply contains the refusals of the decision.
    ///
    /// # Concurrency
    ///
    /// A settlement, which takes no lock: the write of the wallet checks its version.
    pub async fn charge(
        &self,
        user_id: UserId,
        amount: Points,
        if_version: Option<Vec<u64>>,
        key: Option<IdempotencyKey<LedgerEntry>>,
    ) -> Result<Reply<LedgerEntry>, AppError> {
        let permission = if self.top_ups_only { Err(Refusal::TopUpRequired) } else { Ok(()) };
        self.lanes.charge(user_id, permission, amount, if_version, key).await
    }

    /// Adds `amount` points to the wallet of a demonstration's user, even with a payment provider.
    ///
    /// # Errors
    ///
    /// Those of [`charge`](Self::charge), except [`Refusal::PreconditionFailed`] and [`Refusal::TopUpRequired`].
    pub async fn give(&self, user_id: UserId, amount: Points) -> Result<(), AppError> {
        match self.lanes.charge(user_id, Ok(()), amount, None, None).await? {
            Reply::Unrecorded(result) => Ok(result.map(|_| ())?),
            Reply::Recorded { .. } => Ok(()),
        }
    }
}
