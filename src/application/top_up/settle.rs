//! Settling: the state of a checkout that the provider reports changes the top-up, and credits the wallet once.

use super::{TopUpFacade, fault_point::reach};
use crate::{
    application::{Ports, error::AppError, event},
    domain::{
        event::Fact,
        id::TopUpId,
        refusal::Refusal,
        top_up::{Checkout, CheckoutState, NotificationError, Settlement, TopUp, TopUpStatus},
    },
};

impl TopUpFacade {
    /// The name of the header that contains the signature of a provider's notifications.
    ///
    /// # Errors
    ///
    /// [`Refusal::PaymentProviderNotFound`] for any but the configured provider.
    pub fn signature_header(&self, provider: &str) -> Result<&'static str, Refusal> {
        let configured = self.provider_named(provider).ok_or(Refusal::PaymentProviderNotFound)?;
        Ok(configured.signature_header())
    }

    /// Processes a provider's notification. It may be repeated, late, out of order, or about an unknown top-up.
    ///
    /// # Errors
    ///
    /// [`Refusal::PaymentProviderNotFound`], [`Refusal::InvalidSignature`], [`Refusal::UnreadableNotification`].
    ///
    /// # Concurrency
    ///
    /// Locks the top-up. The write of the wallet checks its version.
    pub async fn receive(&self, provider: &str, signature: Option<&str>, body: &[u8]) -> Result<(), AppError> {
        let configured = self.provider_named(provider).ok_or(Refusal::PaymentProviderNotFound)?;
        let notification = configured.read_notification(signature, body, self.ports.now()).map_err(|error| {
            let (outcome, refusal) = match error {
                NotificationError::Forged => ("forged", Refusal::InvalidSignature),
                NotificationError::Unreadable => ("unreadable", Refusal::UnreadableNotification),
            };
            metrics::counter!("payment_notifications_total", "outcome" => outcome).increment(1);
            refusal
        })?;
        metrics::counter!("payment_notifications_total", "outcome" => "accepted").increment(1);
        let Some(notification) = notification else { return Ok(()) };
        let (id, checkout, state) = (notification.top_up_id, &notification.checkout, notification.state);
        self.ports.retry_on_contention(|| self.settle(&self.ports, id, Some(checkout), state)).await
    }

    /// Applies the state of a checkout that the provider reported, in one transaction. A state of another checkout of
    /// the top-up, or of an unknown top-up, has no effect: the reconciliation reports payments of unknown top-ups.
    pub(super) async fn settle(
        &self,
        ports: &Ports,
        id: TopUpId,
        checkout: Option<&Checkout>,
        state: CheckoutState,
    ) -> Result<(), AppError> {
        let mut uow = ports.database.begin().await?;
        let found = uow.top_ups().lock(id).await?.filter(|top_up| self.provider_of(top_up).is_some());
        let Some(before) = found else {
            tracing::warn!(top_up_id = %id, "a payment provider named an unknown top-up");
            return Ok(());
        };
        let mut top_up = before.clone();
        if let Some(checkout) = checkout {
            let known = top_up.checkout.get_or_insert_with(|| checkout.clone());
            if known.id != checkout.id {
                tracing::warn!(top_up_id = %id, checkout_id = checkout.id, "a payment provider named another checkout");
                return Ok(());
            }
        }
        let mut wallet = uow.wallets().find_or_empty(top_up.user_id).await?;
        let now = ports.now();
        let settlement = top_up.settle(&state, &mut wallet, now);
        if top_up == before {
            return Ok(());
        }
        let mut facts = Vec::new();
        if let Settlement::Credited(entry) = settlement {
            uow.wallets().apply(&[entry]).await?;
            facts.push(Fact::PointsCharged {
                transaction_id: entry.id,
                user_id: entry.user_id,
                amount: entry.amount,
                balance: entry.balance_after,
            });
        }
        uow.top_ups().update(&top_up).await?;
        event::record(ports, &mut *uow, now, facts, Vec::new()).await?;
        if settlement != Settlement::Unchanged {
            log_return(&top_up);
            let change = change_of(top_up.status);
            uow.after_commit(Box::new(move || metrics::counter!("top_ups_total", "change" => change).increment(1)));
        }
        reach("settle.before_commit");
        uow.commit().await?;
        reach("settle.after_commit");
        Ok(())
    }
}

fn change_of(status: TopUpStatus) -> &'static str {
    match status {
        TopUpStatus::Pending => "created",
        TopUpStatus::Completed => "completed",
        TopUpStatus::Failed => "failed",
        TopUpStatus::Expired => "expired",
    }
}

/// Logs a payment that can't be credited. This is rare, and support may have to explain it to the payer.
fn log_return(top_up: &TopUp) {
    if let Some(reason) = top_up.failure.filter(|_| top_up.owes_refund()) {
        let reason = reason.name();
        tracing::warn!(top_up_id = %top_up.id, reason, "a payment can't be credited, and is refunded to the payer");
    }
}
