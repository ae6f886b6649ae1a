//! SQL of the sandbox's checkouts.

use async_trait::async_trait;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{error::corrupt, unit_of_work::Session};
use crate::domain::{
    clock::Instant,
    id::TopUpId,
    points::Points,
    repository_error::RepositoryError,
    top_up::{SandboxCheckout, SandboxCheckoutRepository},
};

/// The columns, in the order of an insert.
macro_rules! columns {
    () => {
        "id, top_up_id, amount, state, created_at, expires_at, refunded_at"
    };
}

// uq_sandbox_checkouts_top_up keeps the first one.
const INSERT_ONCE: &str = concat!(
    "INSERT INTO sandbox_checkouts (",
    columns!(),
    ") VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE top_up_id = VALUES(top_up_id)"
);

// uq_sandbox_checkouts_top_up. No lock.
const FIND_OF_TOP_UP: &str = concat!("SELECT ", columns!(), " FROM sandbox_checkouts WHERE top_up_id = ?");

// The primary key. Locks the checkout.
const LOCK: &str =
    concat!("SELECT ", columns!(), " FROM sandbox_checkouts FORCE INDEX (PRIMARY) WHERE id = ? FOR UPDATE");

// The primary key.
const UPDATE: &str = "UPDATE sandbox_checkouts FORCE INDEX (PRIMARY) SET state = ?, refunded_at = ? WHERE id = ?";

// ix_sandbox_checkouts_created. No lock.
const LIST_PAID: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM sandbox_checkouts WHERE created_at >= ? AND state = 'PAID' ORDER BY created_at"
);

#[derive(sqlx::FromRow)]
struct CheckoutRow {
    id: Uuid,
    top_up_id: Uuid,
    amount: Decimal,
    state: String,
    created_at: Instant,
    expires_at: Instant,
    refunded_at: Option<Instant>,
}

impl TryFrom<CheckoutRow> for SandboxCheckout {
    type Error = RepositoryError;

    fn try_from(row: CheckoutRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            id: row.id,
            top_up_id: TopUpId(row.top_up_id),
            amount: Points::new(row.amount).map_err(|_| corrupt("the amount of a checkout", row.amount))?,
            state: row.state.parse().map_err(|_| corrupt("the state of a checkout", &row.state))?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            refunded_at: row.refunded_at,
        })
    }
}

#[async_trait]
impl SandboxCheckoutRepository for Session {
    async fn insert_once(&mut self, checkout: &SandboxCheckout) -> Result<SandboxCheckout, RepositoryError> {
        sqlx::query(INSERT_ONCE)
            .bind(checkout.id)
            .bind(checkout.top_up_id.0)
            .bind(checkout.amount.as_decimal())
            .bind(checkout.state.name())
            .bind(checkout.created_at)
            .bind(checkout.expires_at)
            .bind(checkout.refunded_at)
            .execute(self.connection())
            .await?;
        let row: CheckoutRow =
            sqlx::query_as(FIND_OF_TOP_UP).bind(checkout.top_up_id.0).fetch_one(self.connection()).await?;
        row.try_into()
    }

    async fn lock(&mut self, id: Uuid) -> Result<Option<SandboxCheckout>, RepositoryError> {
        let row: Option<CheckoutRow> = sqlx::query_as(LOCK).bind(id).fetch_optional(self.connection()).await?;
        row.map(SandboxCheckout::try_from).transpose()
    }

    async fn update(&mut self, checkout: &SandboxCheckout) -> Result<(), RepositoryError> {
        sqlx::query(UPDATE)
            .bind(checkout.state.name())
            .bind(checkout.refunded_at)
            .bind(checkout.id)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn list_paid(&mut self, since: Instant) -> Result<Vec<SandboxCheckout>, RepositoryError> {
        let rows: Vec<CheckoutRow> = sqlx::query_as(LIST_PAID).bind(since).fetch_all(self.connection()).await?;
        rows.into_iter().map(SandboxCheckout::try_from).collect()
    }
}
