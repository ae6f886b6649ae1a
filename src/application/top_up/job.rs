//! The job: it reads the checkouts of top-ups from the provider when no notification arrives, and continues after a
//! crash.

use futures::future::join_all;

use super::{TopUpFacade, fault_point::reach};
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        id::TopUpId,
        top_up::{FailureReason, LEASE, PaymentProvider, ProviderError, TopUp, TopUpStatus},
    },
};

/// The most top-ups of one run, whose calls run concurrently.
const BATCH: u32 = 8;

impl TopUpFacade {
    /// Processes top-ups whose next attempt is due: creates a checkout, reads its state, ends an unpaid one at the
    /// deadline, or refunds a payment. Returns whether more may be due.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone. A failure of the provider is no error: the attempt is
    /// repeated later.
    ///
    /// # Concurrency
    ///
    /// A claim skips locked top-ups, and leases the others. A call that outlasts its lease may be made twice, which has
    /// one effect at the provider. Each result is stored under the top-up's lock.
    pub async fn attend_due(&self) -> Result<bool, AppError> {
        let due = self.ports.retry_on_contention(|| self.claim()).await?;
        let more = u32::try_from(due.len()).is_ok_and(|claimed| claimed >= BATCH);
        let results = join_all(due.into_iter().map(|top_up| self.attend(top_up))).await;
        results.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(more)
    }

    async fn claim(&self) -> Result<Vec<TopUp>, AppError> {
        let mut uow = self.back_office.database.begin().await?;
        let now = self.back_office.now();
        let due = uow.top_ups().claim_due(now, now + LEASE, BATCH).await?;
        if !due.is_empty() {
            uow.commit().await?;
        }
        Ok(due)
    }

    async fn attend(&self, top_up: TopUp) -> Result<(), AppError> {
        let id = top_up.id;
        let attempt = match self.provider_of(&top_up) {
            Some(provider) if top_up.owes_refund() => self.send_back(&**provider, &top_up).await,
            Some(provider) => self.ask(&**provider, &top_up).await,
            None => Err(ProviderError::Unavailable(format!("{} isn't configured", top_up.provider)).into()),
        };
        let Err(AppError::ProviderUnavailable(error)) = attempt else { return attempt };
        metrics::counter!("payment_provider_failures_total").increment(1);
        tracing::warn!(top_up_id = %id, attempts = top_up.attempts, %error, "a call of the payment provider failed");
        let is_refused_creation = matches!(*error, ProviderError::Refused(_)) && top_up.checkout.is_none();
        self.change(id, |top_up, now| {
            if is_refused_creation {
                top_up.end(TopUpStatus::Failed, Some(FailureReason::CheckoutRefused), now);
            } else {
                top_up.postpone(now);
            }
        })
        .await
    }

    /// Reads the checkout's state, or creates a missing checkout.
    async fn ask(&self, provider: &dyn PaymentProvider, top_up: &TopUp) -> Result<(), AppError> {
        let is_overdue = self.back_office.now() >= top_up.expires_at;
        let Some(checkout) = &top_up.checkout else {
            if is_overdue {
                // No payer has its URL, so it can't be paid.
                return self.change(top_up.id, TopUp::postpone).await;
            }
            reach("job.before_call");
            let checkout = provider.create_checkout(top_up).await?;
            reach("job.after_call");
            return self.change(top_up.id, move |top_up, now| top_up.open(checkout.clone(), now)).await;
        };
        reach("job.before_call");
        let state = if is_overdue {
            provider.end_checkout(&checkout.id).await?
        } else {
            provider.find_checkout(&checkout.id).await?
        };
        reach("job.after_call");
        self.ports.retry_on_contention(|| self.settle(&self.back_office, top_up.id, None, state)).await
    }

    /// Refunds the payment to the payer.
    async fn send_back(&self, provider: &dyn PaymentProvider, top_up: &TopUp) -> Result<(), AppError> {
        if let Some(checkout) = &top_up.checkout {
            reach("refund.before_call");
            provider.refund(top_up.id, &checkout.id).await?;
            reach("refund.after_call");
        }
        self.change(top_up.id, TopUp::record_refund).await
    }

    /// Changes a top-up in a transaction of its own.
    async fn change(&self, id: TopUpId, change: impl Fn(&mut TopUp, Instant) + Sync) -> Result<(), AppError> {
        self.ports
            .retry_on_contention(|| async {
                let mut uow = self.back_office.database.begin().await?;
                let Some(mut top_up) = uow.top_ups().lock(id).await? else { return Ok(()) };
                change(&mut top_up, self.back_office.now());
                uow.top_ups().update(&top_up).await?;
                Ok(uow.commit().await?)
            })
            .await
    }
}
