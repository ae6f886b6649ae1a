//! The reconciliation with the provider: by a command, and once a day by the job.

use chrono::TimeDelta;

use super::TopUpFacade;
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        points::Points,
        refusal::Refusal,
        top_up::{Difference, compare},
    },
};

/// The period that the daily reconciliation compares.
const DAILY: TimeDelta = TimeDelta::days(3);

/// The longest time between a top-up and its checkout: the longest lifetime, and clocks that differ.
const MARGIN: TimeDelta = TimeDelta::hours(25);

/// The time after its deadline from which an unsettled top-up counts as stuck.
const STUCK: TimeDelta = TimeDelta::minutes(10);

/// The result of a comparison.
#[derive(Clone, Debug)]
pub struct Reconciliation {
    /// The start of the compared period.
    pub since: Instant,
    /// The number of the provider's paid checkouts.
    pub paid: usize,
    /// The differences between both sides; empty if they agree.
    pub differences: Vec<Difference>,
}

impl TopUpFacade {
    /// Compares the top-ups of the last `time` with the provider's list of paid checkouts. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoPaymentProvider`], [`AppError::ProviderUnavailable`].
    pub async fn reconcile(&self, time: TimeDelta) -> Result<Reconciliation, AppError> {
        let provider = self.provider.as_ref().ok_or(Refusal::NoPaymentProvider)?;
        let started = self.back_office.now();
        let since = started - time;
        // The provider's list is read first: a top-up that was credited by then and is missing in it is a difference.
        let paid = provider.list_paid(since).await?;
        let mut repositories = self.back_office.database.read().await?;
        let top_ups = repositories.top_ups().list_created(provider.name(), since - MARGIN).await?;
        let differences = compare(&top_ups, &paid, &(since..started), self.back_office.now());
        Ok(Reconciliation { since, paid: paid.len(), differences })
    }

    /// Reconciles the last three days once a day, on one of all instances, and logs each difference as an error. Every
    /// call updates the gauges from the latest result. Without a provider it has no effect.
    ///
    /// # Errors
    ///
    /// [`AppError::ProviderUnavailable`]; the reconciliation is repeated ten minutes later.
    ///
    /// # Concurrency
    ///
    /// Locks the row of the provider's latest reconciliation to claim the next one.
    pub async fn reconcile_daily(&self) -> Result<(), AppError> {
        let Some(provider) = &self.provider else { return Ok(()) };
        let name = provider.name();
        if self.ports.retry_on_contention(|| self.claim_reconciliation(name)).await? {
            let found = self.reconcile(DAILY).await?.differences;
            for Difference { kind, top_up_id, checkout_id, expected, paid } in &found {
                let (kind, checkout_id) = (kind.name(), checkout_id.as_deref().unwrap_or(""));
                let text = |amount: Option<Points>| amount.map_or_else(String::new, |amount| amount.to_string());
                let (expected, paid) = (text(*expected), text(*paid));
                tracing::error!(kind, %top_up_id, checkout_id, expected, paid, "a top-up differs from the payment provider");
            }
            let number = u32::try_from(found.len()).unwrap_or(u32::MAX);
            let mut uow = self.back_office.database.begin().await?;
            uow.top_ups().finish_reconciliation(name, self.back_office.now(), number).await?;
            uow.commit().await?;
        }
        let overdue_since = self.back_office.now() - STUCK;
        let mut repositories = self.back_office.database.read().await?;
        let differences = repositories.top_ups().find_differences(name).await?;
        let stuck = repositories.top_ups().count_overdue(overdue_since).await?;
        metrics::gauge!("top_up_differences").set(f64::from(differences));
        metrics::gauge!("top_ups_stuck").set(f64::from(stuck));
        Ok(())
    }

    async fn claim_reconciliation(&self, provider: &str) -> Result<bool, AppError> {
        let mut uow = self.back_office.database.begin().await?;
        let is_claimed = uow.top_ups().claim_reconciliation(provider, self.back_office.now()).await?;
        if is_claimed {
            uow.commit().await?;
        }
        Ok(is_claimed)
    }
}
