//! Administrators' changes of balances.

use super::AdministrationFacade;
use crate::{
    application::{
        error::AppError,
        lane::{IdempotencyKey, Reply},
    },
    domain::{administration::Order, id::UserId, point::LedgerEntry, points::SignedPoints},
};

impl AdministrationFacade {
    /// Adds points to a user's wallet, or takes points from it. With a key, repeating the request has one effect.
    ///
    /// # Errors
    ///
    /// [`Refusal::UserNotFound`], also if the account is deleted; [`Refusal::InsufficientPoints`] if the balance would
    /// be negative; [`Refusal::BalanceLimitExceeded`]; [`Refusal::Forbidden`] if the actor is no longer an
    /// administrator; those of a [command](crate::application::lane::Lanes::submit). The reply contains the refusals of
    /// the decision.
    ///
    /// # Concurrency
    ///
    /// A settlement: locks both accounts (shared), so that a deletion or demotion is committed before or after it. The
    /// write of the wallet checks its version.
    ///
    /// [`Refusal::UserNotFound`]: crate::domain::refusal::Refusal::UserNotFound
    /// [`Refusal::InsufficientPoints`]: crate::domain::refusal::Refusal::InsufficientPoints
    /// [`Refusal::BalanceLimitExceeded`]: crate::domain::refusal::Refusal::BalanceLimitExceeded
    /// [`Refusal::Forbidden`]: crate::domain::refusal::Refusal::Forbidden
    pub async fn adjust_points(
        &self,
        order: Order,
        user_id: UserId,
        amount: SignedPoints,
        key: Option<IdempotencyKey<LedgerEntry>>,
    ) -> Result<Reply<LedgerEntry>, AppError> {
        self.settlements.adjust(order, user_id, amount, key).await
    }
}
