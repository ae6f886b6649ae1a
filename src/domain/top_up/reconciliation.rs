//! The reconciliation: this server's top-ups compared with the provider's list of paid checkouts.

use std::{collections::HashMap, ops::Range};

use strum::IntoStaticStr;

use super::{PaidCheckout, TopUp, TopUpStatus};
use crate::domain::{clock::Instant, id::TopUpId, points::Points};

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum DifferenceKind {
    /// The provider has a payment that was neither credited nor refunded.
    PaidNotCredited,
    /// A completed top-up has no payment at the provider.
    CreditedNotPaid,
    /// The paid amount isn't the credited one.
    AmountDiffers,
    /// The provider has a payment of a top-up that this server doesn't have.
    UnknownTopUp,
}

impl DifferenceKind {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A difference between the two lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The kind of the difference.
    pub kind: DifferenceKind,
    /// The top-up that differs, or that an unknown payment names.
    pub top_up_id: TopUpId,
    /// The provider's checkout, if any is known.
    pub checkout_id: Option<String>,
    /// The amount of the top-up in points; `None` for an unknown one.
    pub expected: Option<Points>,
    /// The paid amount in points; `None` without a payment.
    pub paid: Option<Points>,
}

/// Compares top-ups with paid checkouts. `listed` is the period for which the provider's list is complete; it ends when
/// the listing began. The top-ups were read later, and include all of that period.
///
/// A payment whose top-up is still pending isn't a difference: its notification may be in transit, and the job will
/// settle it. A checkout that names no top-up belongs to another application of the account.
pub fn compare(top_ups: &[TopUp], paid: &[PaidCheckout], listed: &Range<Instant>, now: Instant) -> Vec<Difference> {
    let known: HashMap<TopUpId, &TopUp> = top_ups.iter().map(|top_up| (top_up.id, top_up)).collect();
    let mut differences = Vec::new();
    let mut payments = HashMap::new();
    for checkout in paid {
        let Some(top_up_id) = checkout.top_up_id else { continue };
        payments.insert(top_up_id, checkout);
        let top_up = known.get(&top_up_id);
        if let Some(kind) = difference_of_payment(top_up.copied(), checkout, now) {
            differences.push(Difference {
                kind,
                top_up_id,
                checkout_id: Some(checkout.checkout_id.clone()),
                expected: top_up.map(|top_up| top_up.amount),
                paid: Some(checkout.amount),
            });
        }
    }
    let is_listed = |top_up: &&TopUp| {
        top_up.created_at >= listed.start && top_up.ended_at.is_some_and(|ended_at| ended_at < listed.end)
    };
    let completed = top_ups.iter().filter(|top_up| top_up.status == TopUpStatus::Completed);
    for top_up in completed.filter(is_listed).filter(|top_up| !payments.contains_key(&top_up.id)) {
        differences.push(Difference {
            kind: DifferenceKind::CreditedNotPaid,
            top_up_id: top_up.id,
            checkout_id: top_up.checkout.as_ref().map(|checkout| checkout.id.clone()),
            expected: Some(top_up.amount),
            paid: None,
        });
    }
    differences
}

fn difference_of_payment(top_up: Option<&TopUp>, paid: &PaidCheckout, now: Instant) -> Option<DifferenceKind> {
    let Some(top_up) = top_up else { return Some(DifferenceKind::UnknownTopUp) };
    if top_up.status == TopUpStatus::Completed {
        return (top_up.amount != paid.amount).then_some(DifferenceKind::AmountDiffers);
    }
    let is_under_way = top_up.status_at(now) == TopUpStatus::Pending;
    (!is_under_way && top_up.refund.is_none()).then_some(DifferenceKind::PaidNotCredited)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::{super::Refund, *};
    use crate::domain::id::UserId;

    fn at(seconds: i64) -> Instant {
        Instant::default() + TimeDelta::seconds(seconds)
    }

    fn top_up(id: u128, status: TopUpStatus) -> TopUp {
        TopUp {
            id: TopUpId(Uuid::from_u128(id)),
            user_id: UserId(Uuid::nil()),
            provider: "sandbox".to_owned(),
            amount: "100".parse().unwrap(),
            status,
            failure: None,
            checkout: None,
            created_at: at(10),
            expires_at: at(100),
            ended_at: Some(at(20)),
            refund: None,
            next_attempt_at: None,
            attempts: 0,
            request: None,
        }
    }

    fn paid(id: u128, amount: &str) -> PaidCheckout {
        PaidCheckout {
            top_up_id: Some(TopUpId(Uuid::from_u128(id))),
            checkout_id: id.to_string(),
            amount: amount.parse().unwrap(),
            created_at: at(10),
        }
    }

    #[test]
    fn every_difference_is_reported_and_what_agrees_is_not() {
        let refund = Some(Refund { requested_at: at(1), transaction_id: None, refunded_at: None });
        let top_ups = [
            top_up(1, TopUpStatus::Completed),
            top_up(2, TopUpStatus::Completed),
            top_up(3, TopUpStatus::Completed),
            top_up(4, TopUpStatus::Expired),
            TopUp { refund, ..top_up(5, TopUpStatus::Failed) },
            top_up(6, TopUpStatus::Pending),
            top_up(7, TopUpStatus::Failed),
            TopUp { created_at: at(-1), ..top_up(9, TopUpStatus::Completed) },
            TopUp { ended_at: Some(at(30)), ..top_up(10, TopUpStatus::Completed) },
        ];
        let other = PaidCheckout { top_up_id: None, ..paid(99, "1") };
        let paid = [paid(1, "100"), paid(2, "99"), paid(4, "100"), paid(5, "1"), paid(6, "100"), paid(8, "5"), other];
        let found = |now| -> Vec<_> {
            let differences = compare(&top_ups, &paid, &(at(0)..at(30)), now).into_iter();
            differences.map(|found| (found.top_up_id.0.as_u128(), found.kind)).collect()
        };
        let expected = vec![
            (2, DifferenceKind::AmountDiffers),
            (4, DifferenceKind::PaidNotCredited),
            (8, DifferenceKind::UnknownTopUp),
            (3, DifferenceKind::CreditedNotPaid),
        ];
        assert_eq!(found(at(50)), expected);
        let mut later = expected;
        later.insert(2, (6, DifferenceKind::PaidNotCredited));
        assert_eq!(found(at(100)), later, "an open top-up that was paid is under way until its deadline");
    }
}
