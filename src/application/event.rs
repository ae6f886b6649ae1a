//! Writing events with the change they tell of.

use std::collections::BTreeMap;

use super::Ports;
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
    uow.outbox().insert(&events).await
}
