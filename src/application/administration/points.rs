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
    /// Adds points to a user's wallet, or takes some. With a key, repeating the request has one effect.
    ///
    /// # Errors
    ///
    /// [`Refusal::UserNotFound`], also when the account is deleted; [`Refusal::InsufficientPoints`] when the balance
    /// would be negative; [`Refusal::BalanceLimitExceeded`]; [`Refusal::Forbidden`] when the actor is no administrator
    /// any more; those of a [command](crate::application::lane::Lanes::submit). The reply holds the refusals of the
    /// decision.
    ///
    /// # Concurrency
    ///
    /// A settlement: shares both accounts, so a deletion or demotion comes before or after it. The wallet's version
    /// decides against other changes of the balance.
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
