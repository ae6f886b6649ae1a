//! Refunds: an administrator returns the payment of a top-up to the payer.

use super::TopUpFacade;
use crate::{
    application::{administration::record, error::AppError, event},
    domain::{
        administration::{Action, ActionKind},
        event::Fact,
        id::{TopUpId, UserId},
        points::SignedPoints,
        refusal::Refusal,
        text::Reason,
        top_up::TopUp,
    },
};

impl TopUpFacade {
    /// Takes the points of a completed top-up back. The job then refunds the payment to the payer. Repeating it has no
    /// effect and isn't recorded in the action log.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopUpNotFound`]; [`Refusal::TopUpNotRefundable`] unless it is completed;
    /// [`Refusal::InsufficientPoints`] if the balance is less than its amount; [`Refusal::UserNotFound`] if the account
    /// is deleted; [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the top-up, then the actor's account (shared). The write of the wallet checks its version.
    pub async fn refund(&self, actor: UserId, id: TopUpId, reason: &Reason) -> Result<TopUp, AppError> {
        self.ports.retry_on_contention(|| self.try_refund(actor, id, reason)).await
    }

    async fn try_refund(&self, actor: UserId, id: TopUpId, reason: &Reason) -> Result<TopUp, AppError> {
        let ports = &self.back_office;
        let mut uow = ports.database.begin().await?;
        let mut top_up = uow.top_ups().lock(id).await?.ok_or(Refusal::TopUpNotFound)?;
        let mut wallet = uow.wallets().find_or_empty(top_up.user_id).await?;
        let now = ports.now();
        let Some(entry) = top_up.refund(ports.transaction_id(now), &mut wallet, now)? else { return Ok(top_up) };
        let details = format!("user {}: {} points", top_up.user_id, top_up.amount);
        let action = Action::new(actor, ActionKind::TopUpRefunded, id);
        record(ports, &mut *uow, now, action.with_details(details).with_reason(reason.clone())).await?;
        uow.wallets().apply(&[entry]).await?;
        uow.top_ups().update(&top_up).await?;
        let adjusted = Fact::PointsAdjusted {
            transaction_id: entry.id,
            user_id: entry.user_id,
            amount: SignedPoints { magnitude: entry.amount, is_negative: true },
            balance: entry.balance_after,
        };
        event::record(ports, &mut *uow, now, vec![adjusted], Vec::new()).await?;
        uow.after_commit(Box::new(|| metrics::counter!("top_ups_total", "change" => "refunded").increment(1)));
        uow.commit().await?;
        Ok(top_up)
    }
}
