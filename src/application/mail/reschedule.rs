//! Notices of a new start: one event for each confirmed booking of the performance.

use std::{collections::HashSet, time::Duration};

use sha2::{Digest, Sha256};
use tokio::time::Instant as Stopwatch;

use crate::{
    application::{
        Ports,
        database_loss::{TRANSACTION_TIMEOUT, or_unavailable_within},
    },
    domain::{
        booking::BookingState,
        clock::Instant,
        event::{Event, Fact, RecordedEvent},
        id::{BookingId, EventId, PerformanceId},
        repository_error::RepositoryError,
    },
};

/// The number of bookings for which one transaction records notices.
const BATCH: u32 = 200;

/// The time for which one attempt records notices. With the timeout of its last transaction it stays within the lease.
const TIME_BUDGET: Duration = Duration::from_secs(20);

/// Records a notice for each booking that was confirmed before the start changed. Returns whether every one has its
/// notice.
///
/// A repetition continues, because a notice's id is computed from the event and the booking.
pub(super) async fn notify_buyers(ports: &Ports, event: &RecordedEvent, now: Instant) -> Result<bool, RepositoryError> {
    let Ok(performance_id) = event.subject.parse().map(PerformanceId) else { return Ok(true) };
    let started = Stopwatch::now();
    let mut after = None;
    while started.elapsed() < TIME_BUDGET {
        let recording = record_notices(ports, event, performance_id, after, now);
        let open = or_unavailable_within(&*ports.database, TRANSACTION_TIMEOUT, recording).await??;
        ports.event_written.notify_one();
        after = open.last().copied();
        if open.len() < BATCH as usize {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Records the missing notices of the next bookings after `after`, and returns these bookings.
async fn record_notices(
    ports: &Ports,
    event: &RecordedEvent,
    performance_id: PerformanceId,
    after: Option<BookingId>,
    now: Instant,
) -> Result<Vec<BookingId>, RepositoryError> {
    let mut uow = ports.database.begin().await?;
    let open = uow.bookings().list_open_of_performance(performance_id, after, BATCH).await?;
    let bookings = uow.bookings().list(&open).await?;
    let needs_notice = |state| matches!(state, BookingState::Confirmed { at, .. } if at <= event.at);
    let mut notices: Vec<_> = bookings
        .iter()
        .filter(|booking| needs_notice(booking.state))
        .map(|booking| Event {
            id: notice_id(event.id, booking.id),
            fact: Fact::RescheduleNoticed(booking.id),
            at: now,
        })
        .collect();
    let ids: Vec<_> = notices.iter().map(|notice| notice.id).collect();
    let existing: HashSet<_> = uow.outbox().list_existing(&ids).await?.into_iter().collect();
    notices.retain(|notice| !existing.contains(&notice.id));
    uow.outbox().insert(&notices, None).await?;
    uow.commit().await?;
    Ok(open)
}

/// The id of a booking's notice, the same for every attempt. It begins with the time of the event, like the id of every
/// event.
fn notice_id(event: EventId, booking: BookingId) -> EventId {
    let digest = Sha256::new().chain_update(event.0).chain_update(booking.0).finalize();
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    let millis = event.0.as_u128() >> 80;
    let millis = u64::try_from(millis).unwrap_or_default();
    EventId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}
