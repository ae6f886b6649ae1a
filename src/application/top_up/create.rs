//! The creation of a top-up: its row, the provider's checkout, and the answer.

use std::time::Duration;

use tokio::time::{Instant as Stopwatch, sleep};

use super::{TopUpFacade, fault_point::reach};
use crate::{
    application::{
        error::AppError,
        lane::{DUPLICATE_KEY_TIMEOUT, IdempotencyKey, Reply},
    },
    domain::{
        clock::Instant,
        id::{TopUpId, UserId},
        idempotency::IdempotencyRecord,
        points::Points,
        randomness::new_uuid,
        refusal::Refusal,
        repository_error::RepositoryError,
        top_up::{
            Checkout, FailureReason, LEASE, PaymentProvider, ProviderError, TopUp, TopUpStatus, UnansweredRequest,
        },
        unit_of_work::UnitOfWork,
    },
};

/// The interval at which a second request looks for the first one's answer.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The result of the first transaction.
enum Opened {
    /// The key has an answer, or a rule refuses the request.
    Answered(Reply<TopUp>),
    /// A top-up without a checkout, which this request has leased.
    Leased(TopUp),
    /// Another request with the key is calling the provider.
    InFlight,
}

impl TopUpFacade {
    /// Creates a top-up of `amount` points with the provider's checkout. Repeating the request has one effect, even
    /// after a crash between the top-up's creation and the provider's answer.
    ///
    /// # Errors
    ///
    /// [`AppError::ProviderUnavailable`], after which a repetition continues; [`Refusal::IdempotencyInProgress`] if the
    /// first request with the key isn't answered within five seconds; [`Refusal::NoPaymentProvider`] if the first
    /// request used a provider that is no longer configured. The reply contains [`Refusal::NoPaymentProvider`],
    /// [`Refusal::BalanceLimitExceeded`], [`Refusal::IdempotencyKeyReused`], or [`Refusal::Unauthenticated`] for the
    /// wallet of a deleted account.
    ///
    /// # Concurrency
    ///
    /// Two transactions, with the provider's call between them. The key is unique among unanswered top-ups, and the
    /// second transaction records its answer. Both lock only the top-up.
    pub async fn create(
        &self,
        user_id: UserId,
        amount: Points,
        key: IdempotencyKey<TopUp>,
    ) -> Result<Reply<TopUp>, AppError> {
        let deadline = Stopwatch::now() + DUPLICATE_KEY_TIMEOUT;
        let top_up = loop {
            match self.ports.retry_on_contention(|| self.open(user_id, amount, &key)).await? {
                Opened::Answered(reply) => return Ok(reply),
                Opened::Leased(top_up) => break top_up,
                Opened::InFlight if Stopwatch::now() >= deadline => {
                    return Err(Refusal::IdempotencyInProgress.into());
                }
                Opened::InFlight => sleep(POLL_INTERVAL).await,
            }
        };
        let Some(provider) = self.provider_of(&top_up) else { return Err(Refusal::NoPaymentProvider.into()) };
        reach("create.before_call");
        let created = provider.create_checkout(&top_up).await;
        reach("create.after_call");
        match created {
            Ok(checkout) => self.ports.retry_on_contention(|| self.answer(top_up.id, Some(&checkout), &key)).await,
            Err(ProviderError::Refused(reason)) => {
                tracing::error!(top_up_id = %top_up.id, reason, "the payment provider refuses to create a checkout");
                self.ports.retry_on_contention(|| self.answer(top_up.id, None, &key)).await
            }
            Err(error @ ProviderError::Unavailable(_)) => {
                self.ports.retry_on_contention(|| self.end_lease(top_up.id)).await?;
                Err(error.into())
            }
        }
    }

    /// Runs the first transaction: inserts a leased top-up, or finds the key's earlier request.
    async fn open(&self, user_id: UserId, amount: Points, key: &IdempotencyKey<TopUp>) -> Result<Opened, AppError> {
        let mut uow = self.ports.database.begin().await?;
        if let Some(reply) = recorded_answer(&mut *uow, key).await? {
            return Ok(Opened::Answered(reply));
        }
        let unanswered = uow.top_ups().find_of_request(&key.digest).await?;
        let now = self.ports.now();
        if let Some(top_up) = unanswered {
            return continue_unanswered(uow, &top_up, key, now).await;
        }
        let provider = match self.require_creatable(&mut *uow, user_id, amount).await? {
            Ok(provider) => provider,
            Err(refusal) => return Ok(Opened::Answered(refuse(uow, refusal, key, now).await?)),
        };
        let top_up = TopUp {
            id: TopUpId(new_uuid(&*self.ports.randomness, now)),
            user_id,
            provider: provider.name().to_owned(),
            amount,
            status: TopUpStatus::Pending,
            failure: None,
            checkout: None,
            created_at: now,
            expires_at: now + self.lifetime,
            ended_at: None,
            refund: None,
            next_attempt_at: Some(now + LEASE),
            attempts: 0,
            request: Some(UnansweredRequest { digest: key.digest, fingerprint: key.fingerprint }),
        };
        uow.top_ups().insert(&top_up).await?;
        // The insert waits for a transaction that answers an earlier request with the key. Its record is visible now.
        if let Some(reply) = recorded_answer(&mut *uow, key).await? {
            return Ok(Opened::Answered(reply));
        }
        uow.after_commit(Box::new(|| metrics::counter!("top_ups_total", "change" => "created").increment(1)));
        uow.commit().await?;
        Ok(Opened::Leased(top_up))
    }

    /// The provider, or the refusal of a top-up of `amount` points.
    async fn require_creatable(
        &self,
        uow: &mut dyn UnitOfWork,
        user_id: UserId,
        amount: Points,
    ) -> Result<Result<&dyn PaymentProvider, Refusal>, RepositoryError> {
        let Some(provider) = self.provider.as_deref() else { return Ok(Err(Refusal::NoPaymentProvider)) };
        let wallet = uow.wallets().find_or_empty(user_id).await?;
        if wallet.closed_at.is_some() {
            return Ok(Err(Refusal::Unauthenticated));
        }
        let fits = wallet.balance.plus(amount).is_some_and(|sum| sum <= Points::MAX_BALANCE);
        Ok(if fits { Ok(provider) } else { Err(Refusal::BalanceLimitExceeded) })
    }

    /// Runs the second transaction: stores the checkout, or the provider's refusal to create one, and records the
    /// answer.
    async fn answer(
        &self,
        id: TopUpId,
        checkout: Option<&Checkout>,
        key: &IdempotencyKey<TopUp>,
    ) -> Result<Reply<TopUp>, AppError> {
        let mut uow = self.ports.database.begin().await?;
        let mut top_up = uow.top_ups().lock(id).await?.ok_or(Refusal::TopUpNotFound)?;
        if let Some(reply) = recorded_answer(&mut *uow, key).await? {
            return Ok(reply);
        }
        let now = self.ports.now();
        match checkout {
            Some(checkout) => top_up.open(checkout.clone(), now),
            None => {
                top_up.end(TopUpStatus::Failed, Some(FailureReason::CheckoutRefused), now);
            }
        }
        let reply = record_answer(&mut *uow, top_up, key, now).await?;
        reach("create.before_commit");
        uow.commit().await?;
        reach("create.after_commit");
        Ok(reply)
    }

    /// Ends the lease after the provider didn't answer: the job and a repetition of the request may call it at once.
    async fn end_lease(&self, id: TopUpId) -> Result<(), AppError> {
        let mut uow = self.ports.database.begin().await?;
        let Some(mut top_up) = uow.top_ups().lock(id).await? else { return Ok(()) };
        (top_up.next_attempt_at, top_up.attempts) = (Some(self.ports.now()), 1);
        uow.top_ups().update(&top_up).await?;
        Ok(uow.commit().await?)
    }
}

/// Continues an earlier request with this key that wasn't answered: it is calling the provider, or its server stopped.
async fn continue_unanswered(
    mut uow: Box<dyn UnitOfWork>,
    found: &TopUp,
    key: &IdempotencyKey<TopUp>,
    now: Instant,
) -> Result<Opened, AppError> {
    if found.request.is_some_and(|request| request.fingerprint != key.fingerprint) {
        return Ok(Opened::Answered(Reply::Unrecorded(Err(Refusal::IdempotencyKeyReused))));
    }
    // A request in flight is awaited without a lock.
    if is_in_flight(found, now) {
        return Ok(Opened::InFlight);
    }
    let locked = uow.top_ups().lock(found.id).await?;
    let Some(mut top_up) = locked.filter(|top_up| top_up.request == found.request && !is_in_flight(top_up, now)) else {
        return Err(RepositoryError::stale("an idempotency key").into());
    };
    if top_up.checkout.is_some() || top_up.status_at(now) != TopUpStatus::Pending {
        // The job has created the checkout meanwhile, or the deadline has passed.
        let reply = record_answer(&mut *uow, top_up, key, now).await?;
        uow.commit().await?;
        return Ok(Opened::Answered(reply));
    }
    (top_up.next_attempt_at, top_up.attempts) = (Some(now + LEASE), 0);
    uow.top_ups().update(&top_up).await?;
    uow.commit().await?;
    Ok(Opened::Leased(top_up))
}

/// Whether the request that opened the top-up, or one that continues it, is calling the provider.
fn is_in_flight(top_up: &TopUp, now: Instant) -> bool {
    let is_leased = top_up.attempts == 0 && top_up.next_attempt_at.is_some_and(|leased_until| now < leased_until);
    is_leased && top_up.checkout.is_none() && top_up.status_at(now) == TopUpStatus::Pending
}

/// The recorded answer of the key, or its refusal for another request body; `None` if nothing is recorded.
async fn recorded_answer(
    uow: &mut dyn UnitOfWork,
    key: &IdempotencyKey<TopUp>,
) -> Result<Option<Reply<TopUp>>, RepositoryError> {
    let record = uow.idempotency().list(&[key.digest]).await?.pop();
    Ok(record.map(|record| key.replay(record)))
}

/// Records the answer, and clears the top-up's unanswered request.
async fn record_answer(
    uow: &mut dyn UnitOfWork,
    mut top_up: TopUp,
    key: &IdempotencyKey<TopUp>,
    now: Instant,
) -> Result<Reply<TopUp>, RepositoryError> {
    top_up.request = None;
    uow.top_ups().update(&top_up).await?;
    record(uow, Ok(&top_up), key, now).await
}

/// Records a refusal, unless it is temporary.
async fn refuse(
    mut uow: Box<dyn UnitOfWork>,
    refusal: Refusal,
    key: &IdempotencyKey<TopUp>,
    now: Instant,
) -> Result<Reply<TopUp>, RepositoryError> {
    if !refusal.is_lasting() {
        return Ok(Reply::Unrecorded(Err(refusal)));
    }
    let reply = record(&mut *uow, Err(&refusal), key, now).await?;
    uow.commit().await?;
    Ok(reply)
}

async fn record(
    uow: &mut dyn UnitOfWork,
    result: Result<&TopUp, &Refusal>,
    key: &IdempotencyKey<TopUp>,
    now: Instant,
) -> Result<Reply<TopUp>, RepositoryError> {
    let answer = (key.render)(result);
    let record = IdempotencyRecord {
        digest: key.digest,
        user_id: key.user_id,
        fingerprint: key.fingerprint,
        answer: answer.clone(),
        created_at: now,
    };
    uow.idempotency().insert(&[record]).await?;
    Ok(Reply::Recorded { answer, replayed: false })
}
