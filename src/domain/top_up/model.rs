//! A top-up, and what its provider's answers make of it.

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

/// The time for which a caller of the provider has the top-up to itself: longer than any call.
pub const LEASE: TimeDelta = TimeDelta::seconds(30);

/// The time from the creation of a checkout until the job first asks for it.
pub const FIRST_CHECK: TimeDelta = TimeDelta::seconds(10);

/// The longest pause between two attempts of the job.
const MAX_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// The time after the deadline for which the job still asks a provider that doesn't answer. Then the reconciliation
/// alone can find a difference.
const GIVE_UP: TimeDelta = TimeDelta::days(3);

/// The status of a top-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum TopUpStatus {
    /// The payer can still pay.
    Pending,
    /// The provider confirmed the payment, and the wallet is credited. This is final.
    Completed,
    /// The provider or the server refused it. A later confirmation of a payment still credits it.
    Failed,
    /// It wasn't paid in time. A later confirmation of a payment still credits it.
    Expired,
}

impl TopUpStatus {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Why a top-up failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureReason {
    /// The payment was declined.
    Declined,
    /// The provider refused to create a checkout.
    CheckoutRefused,
    /// The payment was confirmed after the account's deletion: the money goes back.
    AccountClosed,
    /// The payment would raise the balance above its limit: the money goes back.
    BalanceLimitExceeded,
    /// Another amount was paid than asked for: the money goes back.
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
    /// The provider's id of it.
    pub id: String,
    /// Its address; `None` once it can't be paid any more, for some providers.
    pub url: Option<String>,
}

/// The state of a checkout, as its provider says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckoutState {
    /// It can be paid, or a payment is being processed.
    Open,
    /// This amount was paid.
    Paid(Points),
    /// The payment was declined, and can't be repeated.
    Failed,
    /// It can't be paid any more, and wasn't.
    Expired,
}

/// Money that goes back to the payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The instant of the decision.
    pub requested_at: Instant,
    /// The ledger's entry that took the points back; `None` if they were never credited.
    pub transaction_id: Option<TransactionId>,
    /// The instant at which the provider confirmed it.
    pub refunded_at: Option<Instant>,
}

/// The request that opened a top-up, until it is answered.
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
    /// Identifies it, at the provider as well.
    pub id: TopUpId,
    /// The owner of the wallet.
    pub user_id: UserId,
    /// The provider's name.
    pub provider: String,
    /// The points, and the price in the provider's currency.
    pub amount: Points,
    /// The stored status; [`status_at`](Self::status_at) reflects the clock.
    pub status: TopUpStatus,
    /// The reason of a failure.
    pub failure: Option<FailureReason>,
    /// `None` until its creation was answered.
    pub checkout: Option<Checkout>,
    /// The instant of the request.
    pub created_at: Instant,
    /// The deadline for the payment.
    pub expires_at: Instant,
    /// The instant at which it was completed, failed or expired.
    pub ended_at: Option<Instant>,
    /// Money that goes back.
    pub refund: Option<Refund>,
    /// The next call of the provider by the job; `None` if nothing is left to do.
    pub next_attempt_at: Option<Instant>,
    /// The attempts of the job since the last success.
    pub attempts: u32,
    /// The request, until it is answered.
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

    /// Whether money still has to go back.
    pub fn owes_refund(&self) -> bool {
        self.refund.is_some_and(|refund| refund.refunded_at.is_none())
    }

    /// Takes the provider's word for the checkout. A confirmed payment credits the wallet once, also after another
    /// answer or the deadline; if the wallet can't take it, the money goes back.
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

    /// The payment can't be credited, so it goes back to the payer: the job asks the provider.
    fn return_payment(&mut self, reason: FailureReason, now: Instant) -> Settlement {
        (self.status, self.failure, self.ended_at) = (TopUpStatus::Failed, Some(reason), Some(now));
        self.refund = Some(Refund { requested_at: now, transaction_id: None, refunded_at: None });
        (self.next_attempt_at, self.attempts) = (Some(now), 0);
        Settlement::Changed
    }

    /// Ends a pending top-up; the provider's answer is final, so the job doesn't ask again.
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

    /// Schedules the job's next attempt. After the deadline an unpaid top-up has expired; the job asks on for some
    /// days.
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

    /// The provider has created the checkout.
    pub fn open(&mut self, checkout: Checkout, now: Instant) {
        if self.checkout.is_none() {
            self.checkout = Some(checkout);
        }
        if self.status == TopUpStatus::Pending {
            self.attempts = 0;
            self.postpone(now);
        }
    }

    /// Takes the points of a completed top-up back, so that its payment goes back to the payer. `None` if that was done
    /// before.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopUpNotRefundable`] unless it is completed; [`Refusal::InsufficientPoints`] when its points are
    /// spent; [`Refusal::UserNotFound`] for a deleted account.
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

    /// The provider has sent the money back.
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
    fn a_payment_is_credited_once_in_whatever_order_the_provider_speaks() {
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
    fn the_job_asks_with_growing_pauses_until_the_deadline_and_a_silent_provider_some_days_longer() {
        let mut top_up = top_up();
        let mut now = at(0);
        let mut asked = Vec::new();
        loop {
            top_up.postpone(now);
            let Some(next) = top_up.next_attempt_at else { break };
            assert!(next > now);
            now = next;
            asked.push((next - at(0)).num_seconds());
            top_up.attempts += 1;
        }
        assert_eq!(asked[..5], [10, 30, 70, 100, 260]);
        assert_eq!(top_up.status, TopUpStatus::Expired);
        assert!(now >= at(100) + GIVE_UP && now < at(100) + GIVE_UP + MAX_PAUSE, "{now}");
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] <= MAX_PAUSE.num_seconds()));
    }

    #[test]
    fn an_unpaid_top_up_has_expired_at_its_deadline() {
        let top_up = top_up();
        assert_eq!(top_up.status_at(at(99)), TopUpStatus::Pending);
        assert_eq!(top_up.status_at(at(100)), TopUpStatus::Expired);
    }
}
