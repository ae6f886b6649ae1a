//! Writing events with the change they tell of.

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

/// Stores facts, and one `seats.changed` for each performance whose seats changed.
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
    // Nobody is registered between this and the commit: who is registered later is sent none of these, who was before, all.
    if ports.has_data_platform || uow.webhooks().any_active().await? {
        let written = Arc::clone(&ports.event_written);
        uow.after_commit(Box::new(move || written.notify_one()));
        uow.outbox().insert(&events, None).await
    } else {
        // There is nobody whom the relay could hand them to: to have it find that out is a second write for each.
        uow.outbox().insert(&events, Some(now)).await
    }
}

/// Counts what the events tell of, once it is committed. Every change of a booking, a payment or a wallet has its
/// event, so nothing is missed and nothing counted twice.
fn count_after_commit(uow: &mut dyn UnitOfWork, events: &[Event]) {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut moved = Vec::new();
    for Event { fact, .. } in events {
        *counts.entry(fact.kind()).or_default() += 1;
        match fact {
            Fact::PointsCharged { amount, .. } => moved.push(("charge", amount.approximate())),
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
