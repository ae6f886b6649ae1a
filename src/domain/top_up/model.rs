//! A top-up, and its transitions by the answers of its provider.

use chrono::TimeDelta;
use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::domain::{
    clock::Instant,
    id::{TopUpId, TransactionId, UserId},
    idempotency::{Fingerprint, KeyDigest},
    point::{Direction, LedgerEntry, LedgerKind, Wallet},
    points::Points,
    refusal::Refusal,
};

/// The lease of a top-up during a call of its provider: longer than any call takes. Meanwhile no other caller claims
/// the top-up.
pub const LEASE: TimeDelta = TimeDelta::seconds(30);

/// The time from the creation of a checkout until the job first reads its state.
pub const FIRST_CHECK: TimeDelta = TimeDelta::seconds(10);

/// The longest pause between two attempts of the job.
const MAX_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// The time after the deadline for which the job repeats its calls for an unsettled checkout. Later only the
/// reconciliation detects a difference.
const GIVE_UP: TimeDelta = TimeDelta::days(3);

/// The status of a top-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum TopUpStatus {
    /// The payer can still pay.
    Pending,
    /// The provider confirmed the payment, and the wallet is credited. This is final.
    Completed,
    /// The payment failed, or can't be credited. After a declined payment or a refused checkout, a later confirmation
    /// still credits it.
    Failed,
    /// It wasn't paid before its deadline. A later confirmation of a payment still credits it.
    Expired,
}

impl TopUpStatus {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The reason for the failure of a top-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureReason {
    /// The payment was declined.
    Declined,
    /// The provider refused to create a checkout.
    CheckoutRefused,
    /// The payment was confirmed after the account's deletion, so it is refunded.
    AccountClosed,
    /// The payment would raise the balance above its limit, so it is refunded.
    BalanceLimitExceeded,
    /// The paid amount isn't the requested one, so it is refunded.
    WrongAmount,
}

impl FailureReason {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A page of the provider on which the payer pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// The provider's id of the checkout.
    pub id: String,
    /// Its URL. Some providers have `None` once the checkout can't be paid any more.
    pub url: Option<String>,
}

/// The state of a checkout, as its provider reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckoutState {
    /// It can be paid, or a payment is being processed.
    Open,
    /// This amount was paid, in points.
    Paid(Points),
    /// The payment was declined, and can't be repeated.
    Failed,
    /// It wasn't paid, and can't be paid any more.
    Expired,
}

/// The refund of a top-up's payment to the payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The instant of the decision.
    pub requested_at: Instant,
    /// The ledger entry that took the points back; `None` if they were never credited.
    pub transaction_id: Option<TransactionId>,
    /// The instant at which the provider confirmed it; `None` until then.
    pub refunded_at: Option<Instant>,
}

/// The request that created a top-up, until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnansweredRequest {
    /// The identity of the keyed request.
    pub digest: KeyDigest,
    /// The hash of its body.
    pub fingerprint: Fingerprint,
}

/// Points that a user buys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopUp {
    /// Identifies the top-up, also at the provider.
    pub id: TopUpId,
    /// The owner of the wallet.
    pub user_id: UserId,
    /// The provider's name.
    pub provider: String,
    /// The amount in points, which is also the price in the provider's currency.
    pub amount: Points,
    /// The stored status; [`status_at`](Self::status_at) reflects the clock.
    pub status: TopUpStatus,
    /// The reason of a failure; `None` unless the status is failed.
    pub failure: Option<FailureReason>,
    /// The provider's checkout; `None` until the provider has answered its creation.
    pub checkout: Option<Checkout>,
    /// The instant of the request.
    pub created_at: Instant,
    /// The deadline for the payment.
    pub expires_at: Instant,
    /// The instant at which it was completed, failed or expired; `None` while it is pending.
    pub ended_at: Option<Instant>,
    /// The refund of its payment; `None` if none was decided.
    pub refund: Option<Refund>,
    /// The instant of the job's next call of the provider; `None` if no call is left to make.
    pub next_attempt_at: Option<Instant>,
    /// The number of the job's attempts since the last success.
    pub attempts: u32,
    /// The creating request; `None` once it is answered.
    pub request: Option<UnansweredRequest>,
}

/// The effect of a provider's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The status stays.
    Unchanged,
    /// The status changed; the wallet didn't.
    Changed,
    /// The wallet is credited by this entry.
    Credited(LedgerEntry),
}

impl TopUp {
    /// The status at `now`: an unpaid top-up has expired at its deadline, whether or not a job has recorded it.
    pub fn status_at(&self, now: Instant) -> TopUpStatus {
        if self.status == TopUpStatus::Pending && now >= self.expires_at { TopUpStatus::Expired } else { self.status }
    }

    /// Whether the provider still has to refund the payment.
    pub fn owes_refund(&self) -> bool {
        self.refund.is_some_and(|refund| refund.refunded_at.is_none())
    }

    /// Applies the state of the checkout that the provider reported. A confirmed payment credits the wallet once, also
    /// after another answer or the deadline. If the wallet can't be credited, the payment is refunded.
    pub fn settle(&mut self, state: &CheckoutState, wallet: &mut Wallet, now: Instant) -> Settlement {
        match state {
            CheckoutState::Open => {
                self.postpone(now);
                Settlement::Unchanged
            }
            CheckoutState::Paid(amount) => self.pay(*amount, wallet, now),
            CheckoutState::Failed => self.end(TopUpStatus::Failed, Some(FailureReason::Declined), now),
            CheckoutState::Expired => self.end(TopUpStatus::Expired, None, now),
        }
    }

    fn pay(&mut self, amount: Points, wallet: &mut Wallet, now: Instant) -> Settlement {
        if self.status == TopUpStatus::Completed || self.refund.is_some() {
            return Settlement::Unchanged;
        }
        if amount != self.amount {
            return self.return_payment(FailureReason::WrongAmount, now);
        }
        match wallet.change(TransactionId(self.id.0), LedgerKind::Charge, amount, now) {
            Ok(entry) => {
                (self.status, self.failure, self.ended_at) = (TopUpStatus::Completed, None, Some(now));
                self.rest();
                Settlement::Credited(entry)
            }
            Err(Refusal::BalanceLimitExceeded) => self.return_payment(FailureReason::BalanceLimitExceeded, now),
            Err(_) => self.return_payment(FailureReason::AccountClosed, now),
        }
    }

    /// Decides the refund of a payment that can't be credited. The job requests it from the provider.
    fn return_payment(&mut self, reason: FailureReason, now: Instant) -> Settlement {
        (self.status, self.failure, self.ended_at) = (TopUpStatus::Failed, Some(reason), Some(now));
        self.refund = Some(Refund { requested_at: now, transaction_id: None, refunded_at: None });
        (self.next_attempt_at, self.attempts) = (Some(now), 0);
        Settlement::Changed
    }

    /// Ends a pending top-up by a final answer of the provider, after which the job makes no further call, except for a
    /// refund. Any other top-up keeps its status.
    pub fn end(&mut self, status: TopUpStatus, failure: Option<FailureReason>, now: Instant) -> Settlement {
        if !self.owes_refund() {
            self.rest();
        }
        if self.status != TopUpStatus::Pending {
            return Settlement::Unchanged;
        }
        (self.status, self.failure, self.ended_at) = (status, failure, Some(now));
        Settlement::Changed
    }

    /// Schedules the job's next attempt, with pauses of 10 seconds to 10 minutes. An unpaid top-up expires at its
    /// deadline, and the job reads its checkout for three more days. A refund is attempted without a time limit.
    pub fn postpone(&mut self, now: Instant) {
        if !self.owes_refund() {
            if self.status == TopUpStatus::Pending && now >= self.expires_at {
                (self.status, self.ended_at) = (TopUpStatus::Expired, Some(now));
            }
            if self.status == TopUpStatus::Completed || self.checkout.is_none() && self.status != TopUpStatus::Pending {
                return self.rest();
            }
            if now >= self.expires_at + GIVE_UP {
                return self.rest();
            }
        }
        let pause = FIRST_CHECK * 2_i32.pow(self.attempts.min(6));
        let next = now + pause.min(MAX_PAUSE);
        let before_deadline = self.status == TopUpStatus::Pending && now < self.expires_at;
        self.next_attempt_at = Some(if before_deadline { next.min(self.expires_at) } else { next });
    }

    /// Stores the checkout that the provider has created.
    pub fn open(&mut self, checkout: Checkout, now: Instant) {
        if self.checkout.is_none() {
            self.checkout = Some(checkout);
        }
        if self.status == TopUpStatus::Pending {
            self.attempts = 0;
            self.postpone(now);
        }
    }

    /// Takes the points of a completed top-up back, so that its payment is refunded. Returns the ledger entry; `None`
    /// if that was done before.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopUpNotRefundable`] unless it is completed; [`Refusal::InsufficientPoints`] if the balance is less
    /// than its amount; [`Refusal::UserNotFound`] for a deleted account.
    pub fn refund(
        &mut self,
        transaction_id: TransactionId,
        wallet: &mut Wallet,
        now: Instant,
    ) -> Result<Option<LedgerEntry>, Refusal> {
        if self.status != TopUpStatus::Completed {
            return Err(Refusal::TopUpNotRefundable);
        }
        if self.refund.is_some() {
            return Ok(None);
        }
        let kind = LedgerKind::Adjustment(Direction::Debit);
        let entry = wallet.change(transaction_id, kind, self.amount, now).map_err(|refusal| match refusal {
            Refusal::Unauthenticated => Refusal::UserNotFound,
            refusal => refusal,
        })?;
        self.refund = Some(Refund { requested_at: now, transaction_id: Some(transaction_id), refunded_at: None });
        (self.next_attempt_at, self.attempts) = (Some(now), 0);
        Ok(Some(entry))
    }

    /// Records that the provider has refunded the payment.
    pub fn record_refund(&mut self, now: Instant) {
        if let Some(refund) = &mut self.refund {
            refund.refunded_at = refund.refunded_at.or(Some(now));
        }
        self.rest();
    }

    fn rest(&mut self) {
        (self.next_attempt_at, self.attempts) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn points(text: &str) -> Points {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> Instant {
        Instant::default() + TimeDelta::seconds(seconds)
    }

    fn top_up() -> TopUp {
        TopUp {
            id: TopUpId(Uuid::from_u128(1)),
            user_id: UserId(Uuid::from_u128(2)),
            provider: "sandbox".to_owned(),
            amount: points("100"),
            status: TopUpStatus::Pending,
            failure: None,
            checkout: Some(Checkout { id: "c".to_owned(), url: None }),
            created_at: at(0),
            expires_at: at(100),
            ended_at: None,
            refund: None,
            next_attempt_at: Some(at(10)),
            attempts: 0,
            request: None,
        }
    }

    fn paid() -> CheckoutState {
        CheckoutState::Paid(points("100"))
    }

    #[test]
    fn a_payment_is_credited_once_whatever_the_order_of_the_providers_answers() {
        let answers = [paid(), CheckoutState::Failed, CheckoutState::Expired, CheckoutState::Open];
        for first in &answers {
            for second in &answers {
                let mut wallet = Wallet::empty(UserId(Uuid::from_u128(2)));
                let mut top_up = top_up();
                for state in [first, second, first] {
                    top_up.settle(state, &mut wallet, at(150));
                }
                let is_paid = [first, second].contains(&&paid());
                let expected = if is_paid { points("100") } else { Points::ZERO };
                assert_eq!(wallet.balance, expected, "{first:?}, {second:?}");
                assert_eq!(top_up.status == TopUpStatus::Completed, is_paid, "{first:?}, {second:?}");
                assert!(top_up.next_attempt_at.is_none() || !is_paid, "{first:?}, {second:?}");
            }
        }
    }

    #[test]
    fn a_payment_that_the_wallet_cannot_take_goes_back() {
        let user = UserId(Uuid::from_u128(2));
        let closed = Wallet { closed_at: Some(at(1)), ..Wallet::empty(user) };
        let full = Wallet { balance: Points::MAX_BALANCE, ..Wallet::empty(user) };
        let cases = [
            (closed, paid(), FailureReason::AccountClosed),
            (full, paid(), FailureReason::BalanceLimitExceeded),
            (Wallet::empty(user), CheckoutState::Paid(points("99")), FailureReason::WrongAmount),
        ];
        for (mut wallet, state, reason) in cases {
            let mut top_up = top_up();
            let version = wallet.version;
            assert_eq!(top_up.settle(&state, &mut wallet, at(5)), Settlement::Changed);
            assert_eq!((top_up.status, top_up.failure), (TopUpStatus::Failed, Some(reason)));
            assert_eq!((top_up.owes_refund(), top_up.next_attempt_at, wallet.version), (true, Some(at(5)), version));
            assert_eq!(top_up.settle(&paid(), &mut Wallet::empty(user), at(6)), Settlement::Unchanged);
            top_up.settle(&CheckoutState::Expired, &mut wallet, at(7));
            assert_eq!(top_up.next_attempt_at, Some(at(5)), "the refund is still to be made");
            top_up.record_refund(at(8));
            assert_eq!((top_up.owes_refund(), top_up.next_attempt_at), (false, None));
        }
    }

    #[test]
    fn a_completed_top_up_is_refunded_once_from_an_unspent_balance() {
        let id = TransactionId(Uuid::from_u128(3));
        let mut wallet = Wallet::empty(UserId(Uuid::from_u128(2)));
        let mut top_up = top_up();
        assert_eq!(top_up.refund(id, &mut wallet, at(1)), Err(Refusal::TopUpNotRefundable));
        top_up.settle(&paid(), &mut wallet, at(2));
        let spent = Wallet { balance: points("99.99"), ..wallet };
        let refused = top_up.clone().refund(id, &mut spent.clone(), at(3)).unwrap_err();
        assert!(matches!(refused, Refusal::InsufficientPoints { .. }), "{refused:?}");
        let entry = top_up.refund(id, &mut wallet, at(3)).unwrap().unwrap();
        assert_eq!((entry.balance_after, wallet.balance), (Points::ZERO, Points::ZERO));
        assert_eq!((top_up.owes_refund(), top_up.next_attempt_at), (true, Some(at(3))));
        assert_eq!(top_up.refund(id, &mut wallet, at(4)), Ok(None));
        assert_eq!(top_up.settle(&paid(), &mut wallet, at(5)), Settlement::Unchanged);
        assert_eq!((wallet.balance, top_up.owes_refund()), (Points::ZERO, true));
        top_up.record_refund(at(6));
        assert_eq!((top_up.status, top_up.owes_refund()), (TopUpStatus::Completed, false));
    }

    #[test]
    fn the_job_polls_with_growing_pauses_until_the_deadline_and_then_for_three_days() {
        let mut top_up = top_up();
        let mut now = at(0);
        let mut polled = Vec::new();
        loop {
            top_up.postpone(now);
            let Some(next) = top_up.next_attempt_at else { break };
            assert!(next > now);
            now = next;
            polled.push((next - at(0)).num_seconds());
            top_up.attempts += 1;
        }
        assert_eq!(polled[..5], [10, 30, 70, 100, 260]);
        assert_eq!(top_up.status, TopUpStatus::Expired);
        assert!(now >= at(100) + GIVE_UP && now < at(100) + GIVE_UP + MAX_PAUSE, "{now}");
        assert!(polled.windows(2).all(|pair| pair[1] - pair[0] <= MAX_PAUSE.num_seconds()));
    }

    #[test]
    fn an_unpaid_top_up_has_expired_at_its_deadline() {
        let top_up = top_up();
        assert_eq!(top_up.status_at(at(99)), TopUpStatus::Pending);
        assert_eq!(top_up.status_at(at(100)), TopUpStatus::Expired);
    }
}
