//! The recording of events in the transaction of the change.

use std::{collections::BTreeMap, sync::Arc};

use crate::application::Ports;
use crate::domain::{
    clock::Instant,
    concert::SeatStatus,
    event::{Event, Fact},
    id::{PerformanceId, SeatId},
    repository_error::RepositoryError,
    unit_of_work::UnitOfWork,
};

/// Records facts as events, with one `seats.changed` event for each performance whose seats changed.
///
/// Locks the registration of webhooks (shared) unless a receiver is configured, so that each receiver gets all events
/// of a transaction or none.
pub(crate) async fn record(
    ports: &Ports,
    uow: &mut dyn UnitOfWork,
    now: Instant,
    facts: Vec<Fact>,
    seats: Vec<(PerformanceId, SeatId, SeatStatus)>,
) -> Result<(), RepositoryError> {
    let mut by_performance: BTreeMap<PerformanceId, Vec<(SeatId, SeatStatus)>> = BTreeMap::new();
    if !seats.is_empty() {
        let changes = ports.seat_change_counter.clone();
        uow.after_commit(Box::new(move || changes.increment()));
    }
    for (performance_id, seat, status) in seats {
        by_performance.entry(performance_id).or_default().push((seat, status));
    }
    let changed =
        by_performance.into_iter().map(|(performance_id, seats)| Fact::SeatsChanged { performance_id, seats });
    let events: Vec<_> =
        facts.into_iter().chain(changed).map(|fact| Event { id: ports.event_id(now), fact, at: now }).collect();
    if events.is_empty() {
        return Ok(());
    }
    count_after_commit(uow, &events);
    // No receiver is added between this check and the commit, so each one gets all of these events or none.
    if ports.receivers.may_have_any(uow).await? {
        let written = Arc::clone(&ports.event_written);
        uow.after_commit(Box::new(move || written.notify_one()));
        uow.outbox().insert(&events, None).await
    } else {
        // Recorded as dispatched, which saves the relay's write for each event.
        uow.outbox().insert(&events, Some(now)).await
    }
}

/// Counts bookings, payments and points after the commit. Each of their changes except the extension of a hold has one
/// event, so each is counted once.
fn count_after_commit(uow: &mut dyn UnitOfWork, events: &[Event]) {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut moved = Vec::new();
    for Event { fact, .. } in events {
        *counts.entry(fact.kind()).or_default() += 1;
        match fact {
            Fact::PointsCharged { amount, .. } => moved.push(("charge", amount.approximate())),
            Fact::PointsAdjusted { amount, .. } => moved.push(("adjustment", amount.magnitude.approximate())),
            Fact::PaymentCompleted(payment) => moved.push(("payment", payment.amount.approximate())),
            Fact::PaymentRefunded(payment) => moved.push(("refund", payment.amount.approximate())),
            _ => {}
        }
    }
    uow.after_commit(Box::new(move || {
        for (kind, count) in counts {
            match kind.split_once('.') {
                Some(("booking", change)) => metrics::counter!("bookings_total", "change" => change).increment(count),
                Some(("payment", change)) => metrics::counter!("payments_total", "change" => change).increment(count),
                _ => {}
            }
        }
        for (by, points) in moved {
            metrics::histogram!("points_moved", "by" => by).record(points);
        }
    }));
}
