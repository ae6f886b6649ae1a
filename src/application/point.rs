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
    /// Whether points are bought through a payment provider, so that none are charged.
    top_ups_only: bool,
}

impl PointFacade {
    /// A facade whose charges go through the settlement lanes; with `top_ups_only` they are refused.
    pub fn new(ports: Ports, lanes: Arc<SettlementLanes>, top_ups_only: bool) -> Self {
        Self { ports, lanes, top_ups_only }
    }

    /// The wallet of a user; an empty one before the first charge.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn balance(&self, user_id: UserId) -> Result<Wallet, AppError> {
        let mut repositories = self.ports.database.read().await?;
        let wallet = repositories.wallets().list(&[user_id]).await?.pop();
        Ok(wallet.unwrap_or_else(|| Wallet::empty(user_id)))
    }

    /// A page of a user's ledger by version, newest entry first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn transactions(&self, user_id: UserId, page: PageRequest<u64>) -> Result<Page<LedgerEntry>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.wallets().list_entries(user_id, page).await?)
    }

    /// Adds points to a wallet. With `if_version`, only if the wallet's version is one of these.
    ///
    /// With a key, repeating the request has one effect.
    ///
    /// # Errors
    ///
    /// [`Refusal::PreconditionFailed`] when the version is another one; [`Refusal::BalanceLimitExceeded`];
    /// [`Refusal::Unauthenticated`] when the account is deleted; [`Refusal::TopUpRequired`]
    /// with a payment provider; those of a [command](super::lane::Lanes::submit). The
    /// reply holds the refusals of the decision.
    ///
    /// [`Refusal::PreconditionFailed`]: crate::domain::refusal::Refusal::PreconditionFailed
    /// [`Refusal::BalanceLimitExceeded`]: crate::domain::refusal::Refusal::BalanceLimitExceeded
    /// [`Refusal::Unauthenticated`]: crate::domain::refusal::Refusal::Unauthenticated
    /// [`Refusal::TopUpRequired`]: crate::domain::refusal::Refusal::TopUpRequired
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

    /// Gives a user of a demonstration points, with any payment provider.
    ///
    /// # Errors
    ///
    /// Those of [`charge`](Self::charge).
    pub async fn give(&self, user_id: UserId, amount: Points) -> Result<(), AppError> {
        match self.lanes.charge(user_id, Ok(()), amount, None, None).await? {
            Reply::Unrecorded(result) => Ok(result.map(|_| ())?),
            Reply::Recorded { .. } => Ok(()),
        }
    }
}
