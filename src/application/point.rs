//! Wallets: the prepaid balance and its ledger.

use std::sync::Arc;

use super::{
    Ports,
    error::AppError,
    lane::{IdempotencyKey, Reply},
    settlement::SettlementLanes,
};
use crate::domain::{
    id::UserId,
    page::Page,
    point::{LedgerEntry, Wallet},
    points::Points,
};

/// Use cases of points.
pub struct PointFacade {
    ports: Ports,
    lanes: Arc<SettlementLanes>,
}

impl PointFacade {
    /// Charges go through the settlement lanes.
    pub fn new(ports: Ports, lanes: Arc<SettlementLanes>) -> Self {
        Self { ports, lanes }
    }

    /// A user's balance.
    pub async fn balance(&self, user_id: UserId) -> Result<Wallet, AppError> {
        let mut repositories = self.ports.database.read().await?;
        let wallet = repositories.wallets().list(&[user_id]).await?.pop();
        Ok(wallet.unwrap_or_else(|| Wallet::empty(user_id)))
    }

    /// The changes of a user's balance, newest first, below version `before`.
    pub async fn transactions(
        &self,
        user_id: UserId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<LedgerEntry>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.wallets().list_entries(user_id, before, limit).await?)
    }

    /// Adds points; with versions, only if the balance still has one of them.
    pub async fn charge(
        &self,
        user_id: UserId,
        amount: Points,
        if_version: Option<Vec<u64>>,
        key: Option<IdempotencyKey<LedgerEntry>>,
    ) -> Result<Reply<LedgerEntry>, AppError> {
        self.lanes.charge(user_id, amount, if_version, key).await
    }
}
