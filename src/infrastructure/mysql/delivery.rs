//! SQL of the deliveries of events to destinations.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    delivery_rows::{DeliveryRow, EarlierRow, EventRow, read_destination},
    rows_by_id::BindAll,
    sql,
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    event::{
        Backlog, Candidate, DeliveryRecord, DeliveryRepository, DeliverySettlement, DeliveryStatus, Destination,
        NewDelivery, Predecessor, PredecessorState, RecordedEvent, WebhookRepository,
    },
    id::EventId,
    page::{Page, PageRequest},
    repository_error::RepositoryError,
};

/// Index: `ix_event_deliveries_destination`. No lock.
const HAS_DUE: &str = "SELECT 1 FROM event_deliveries FORCE INDEX (ix_event_deliveries_destination) \
     WHERE destination = ? AND status = 'PENDING' AND next_attempt_at <= ? LIMIT 1";

/// Index: `ix_event_deliveries_destination`. Locks the rows found, and skips locked ones.
const CLAIM_DUE: &str = "SELECT event_id, attempts FROM event_deliveries FORCE INDEX (ix_event_deliveries_destination) \
     WHERE destination = ? AND status = 'PENDING' AND next_attempt_at <= ? \
     ORDER BY next_attempt_at LIMIT ? FOR UPDATE SKIP LOCKED";

/// Primary key. The lease fences: after its end another worker may own the delivery.
const SETTLE: &str = "UPDATE event_deliveries SET status = ?, attempts = ?, last_error = COALESCE(?, last_error), \
     next_attempt_at = ?, lease = NULL WHERE event_id = ? AND destination = ? AND lease = ? AND status = 'PENDING'";

/// Primary key. The caller has locked the delivery.
const POSTPONE: &str = "UPDATE event_deliveries SET next_attempt_at = ? WHERE event_id = ? AND destination = ?";

/// Index: `ix_event_deliveries_status`. No lock.
const COUNT_PENDING: &str = "SELECT CAST(COUNT(*) AS UNSIGNED) FROM (SELECT 1 FROM event_deliveries \
     FORCE INDEX (ix_event_deliveries_status) WHERE status = 'PENDING' LIMIT ?) some";

/// Index: `ix_event_deliveries_status`; ids begin with the time. No lock.
const OLDEST_PENDING: &str = "SELECT created_at FROM event_deliveries FORCE INDEX (ix_event_deliveries_status) \
     WHERE status = 'PENDING' ORDER BY event_id LIMIT 1";

/// Index: `ix_outbox_events_dispatch`. No lock.
const OLDEST_UNDISPATCHED: &str = "SELECT created_at FROM outbox_events FORCE INDEX (ix_outbox_events_dispatch) \
     WHERE dispatched_at IS NULL ORDER BY id LIMIT 1";

/// Primary key. It restarts a delivery in progress, too, whose event is then sent again.
const RESTART: &str = "UPDATE event_deliveries SET status = 'PENDING', attempts = 0, lease = NULL, \
     next_attempt_at = ? WHERE event_id = ? AND destination = ?";

/// Primary key. No lock.
const LIST_DESTINATIONS: &str = "SELECT destination FROM event_deliveries WHERE event_id = ?";

/// Index: `ix_event_deliveries_destination`. Locks the deliveries.
const PARK: &str = "UPDATE event_deliveries SET status = 'PARKED', lease = NULL, last_error = ? \
     WHERE destination = ? AND status = 'PENDING' AND next_attempt_at < ? LIMIT ?";

/// Index: `ix_event_deliveries_destination`. Locks the deliveries.
const REMOVE_PARKED: &str = "DELETE FROM event_deliveries WHERE destination = ? AND status = 'PARKED' LIMIT ?";

/// Maximum characters of a stored error.
const ERROR_LENGTH: usize = 500;

impl Session {
    async fn list_events(&mut self, ids: &[Uuid]) -> Result<Vec<RecordedEvent>, RepositoryError> {
        let ids = sql::padded(ids.iter().copied());
        // Primary key; no lock: an event never changes.
        let text = format!(
            "SELECT id, stream_id, sequence, type, subject, data, created_at FROM outbox_events WHERE id IN {}",
            sql::placeholder_list(ids.len())
        );
        let query = sqlx::query_as::<_, EventRow>(AssertSqlSafe(text));
        let rows = query.bind_all(ids).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// The number of parked deliveries of active receivers, at most `limit`.
    async fn count_parked(&mut self, limit: u32) -> Result<u64, RepositoryError> {
        let ended = WebhookRepository::list_ended(self).await?;
        // A list can't be empty; no destination has this name.
        let ended = sql::padded(ended.iter().map(|(id, _)| id.to_string()).chain(["none".to_owned()]));
        // Index: ix_event_deliveries_status.
        let text = format!(
            "SELECT CAST(COUNT(*) AS UNSIGNED) FROM (SELECT 1 FROM event_deliveries \
             FORCE INDEX (ix_event_deliveries_status) WHERE status = 'PARKED' AND destination NOT IN {} LIMIT ?) some",
            sql::placeholder_list(ended.len())
        );
        let query = sqlx::query_scalar(AssertSqlSafe(text));
        let query = query.bind_all(ended);
        Ok(query.bind(limit).fetch_one(self.connection()).await?)
    }

    /// The earlier events of each event's stream that aren't dispatched, or are pending at the destination.
    async fn list_earlier(
        &mut self,
        destination: Destination,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<Predecessor>>, RepositoryError> {
        let ids = sql::padded(ids.iter().copied());
        // Primary key; uq_outbox_events_stream; primary key. No lock: the next claim sees later settlements.
        let text = format!(
            "SELECT own.id AS event_id, earlier.id AS earlier_id, d.next_attempt_at, d.lease \
             FROM outbox_events own \
             JOIN outbox_events earlier ON earlier.stream_id = own.stream_id AND earlier.sequence < own.sequence \
             LEFT JOIN event_deliveries d ON d.event_id = earlier.id AND d.destination = ? \
             WHERE own.id IN {} AND own.sequence > 0 AND (earlier.dispatched_at IS NULL OR d.status = 'PENDING')",
            sql::placeholder_list(ids.len())
        );
        let query = sqlx::query_as::<_, EarlierRow>(AssertSqlSafe(text)).bind(destination.to_string());
        let rows = query.bind_all(ids).fetch_all(self.connection()).await?;
        let mut earlier: HashMap<Uuid, Vec<Predecessor>> = HashMap::new();
        for row in rows {
            let state = match (row.next_attempt_at, row.lease) {
                (Some(at), None) => PredecessorState::ScheduledAt(at),
                _ => PredecessorState::InProgress,
            };
            let event_id = EventId(row.earlier_id);
            earlier.entry(row.event_id).or_default().push(Predecessor { event_id, state });
        }
        Ok(earlier)
    }
}

#[async_trait]
impl DeliveryRepository for Session {
    async fn insert(&mut self, deliveries: &[NewDelivery], now: Instant) -> Result<(), RepositoryError> {
        for part in sql::parts(deliveries, sql::ROWS_PER_STATEMENT) {
            let text = format!(
                "INSERT INTO event_deliveries (event_id, destination, status, attempts, created_at, next_attempt_at) \
                 VALUES {}",
                sql::placeholder_rows(6, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for delivery in part {
                query = query
                    .bind(delivery.event_id.0)
                    .bind(delivery.destination.to_string())
                    .bind("PENDING")
                    .bind(0_u16)
                    .bind(delivery.at)
                    .bind(now);
            }
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn has_due(&mut self, destination: Destination, now: Instant) -> Result<bool, RepositoryError> {
        let query = sqlx::query_scalar::<_, i64>(HAS_DUE).bind(destination.to_string()).bind(now);
        Ok(query.fetch_optional(self.connection()).await?.is_some())
    }

    async fn claim_due(
        &mut self,
        destination: Destination,
        now: Instant,
        limit: u32,
    ) -> Result<Vec<Candidate>, RepositoryError> {
        let query = sqlx::query_as(CLAIM_DUE).bind(destination.to_string()).bind(now).bind(limit);
        let due: Vec<(Uuid, u16)> = query.fetch_all(self.connection()).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = due.iter().map(|(id, _)| *id).collect();
        let attempts: HashMap<_, _> = due.into_iter().collect();
        let events = self.list_events(&ids).await?;
        let mut earlier = self.list_earlier(destination, &ids).await?;
        let candidate = |event: RecordedEvent| Candidate {
            attempts: attempts.get(&event.id.0).copied().unwrap_or_default(),
            predecessors: earlier.remove(&event.id.0).unwrap_or_default(),
            event,
        };
        Ok(events.into_iter().map(candidate).collect())
    }

    async fn lease(
        &mut self,
        destination: Destination,
        ids: &[EventId],
        lease: Uuid,
        until: Instant,
    ) -> Result<(), RepositoryError> {
        // Primary key; the rows are locked.
        let text = |ids: &str| {
            format!(
                "UPDATE event_deliveries SET lease = ?, next_attempt_at = ? WHERE destination = ? AND event_id IN {ids}"
            )
        };
        self.write_by_id(ids.iter().map(|id| id.0), text, |query, ids| {
            query.bind(lease).bind(until).bind(destination.to_string()).bind_all(ids)
        })
        .await?;
        Ok(())
    }

    async fn postpone(
        &mut self,
        destination: Destination,
        postponed: &[(EventId, Instant)],
    ) -> Result<(), RepositoryError> {
        for (id, until) in postponed {
            let query = sqlx::query(POSTPONE).bind(until).bind(id.0).bind(destination.to_string());
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn settle_delivered(
        &mut self,
        destination: Destination,
        lease: Uuid,
        ids: &[EventId],
    ) -> Result<(), RepositoryError> {
        // Primary key. The lease fences: a delivery of another worker isn't changed.
        let text = |ids: &str| {
            format!(
                "UPDATE event_deliveries SET status = 'DELIVERED', attempts = attempts + 1, last_error = NULL, \
                 lease = NULL WHERE destination = ? AND lease = ? AND status = 'PENDING' AND event_id IN {ids}"
            )
        };
        self.write_by_id(ids.iter().map(|id| id.0), text, |query, ids| {
            query.bind(destination.to_string()).bind(lease).bind_all(ids)
        })
        .await?;
        Ok(())
    }

    async fn settle(
        &mut self,
        destination: Destination,
        lease: Uuid,
        settlement: &DeliverySettlement,
    ) -> Result<(), RepositoryError> {
        let error = settlement.error.as_ref().map(|text| text.chars().take(ERROR_LENGTH).collect::<String>());
        let query = sqlx::query(SETTLE)
            .bind(if settlement.is_parked { "PARKED" } else { "PENDING" })
            .bind(settlement.attempts)
            .bind(error)
            .bind(settlement.next_attempt_at)
            .bind(settlement.event_id.0)
            .bind(destination.to_string())
            .bind(lease);
        query.execute(self.connection()).await?;
        Ok(())
    }

    async fn release(
        &mut self,
        destination: Destination,
        lease: Uuid,
        ids: &[EventId],
        now: Instant,
    ) -> Result<(), RepositoryError> {
        // Primary key. The lease fences: a delivery of another worker isn't changed.
        let text = |ids: &str| {
            format!(
                "UPDATE event_deliveries SET lease = NULL, next_attempt_at = ? \
                 WHERE destination = ? AND lease = ? AND status = 'PENDING' AND event_id IN {ids}"
            )
        };
        self.write_by_id(ids.iter().map(|id| id.0), text, |query, ids| {
            query.bind(now).bind(destination.to_string()).bind(lease).bind_all(ids)
        })
        .await?;
        Ok(())
    }

    async fn list_kept(&mut self, ids: &[EventId], horizon: Instant) -> Result<Vec<EventId>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = sql::padded(ids.iter().map(|id| id.0));
        // Primary key.
        let text = format!(
            "SELECT DISTINCT event_id FROM event_deliveries WHERE event_id IN {} \
             AND (status = 'PENDING' OR status = 'PARKED' AND created_at >= ?)",
            sql::placeholder_list(ids.len())
        );
        let query = sqlx::query_scalar::<_, Uuid>(AssertSqlSafe(text));
        let query = query.bind_all(ids).bind(horizon);
        Ok(query.fetch_all(self.connection()).await?.into_iter().map(EventId).collect())
    }

    async fn list(
        &mut self,
        status: Option<DeliveryStatus>,
        page: PageRequest<(EventId, Destination)>,
    ) -> Result<Page<DeliveryRecord>, RepositoryError> {
        let mut text = "SELECT d.event_id, e.type, e.subject, d.destination, d.status, d.attempts, d.last_error, \
             d.created_at, d.next_attempt_at FROM event_deliveries d JOIN outbox_events e ON e.id = d.event_id \
             WHERE TRUE"
            .to_owned();
        // Index: `ix_event_deliveries_status`; without a status the primary key.
        if status.is_some() {
            text.push_str(" AND d.status = ?");
        }
        if page.after.is_some() {
            text.push_str(" AND d.event_id <= ? AND (d.event_id < ? OR d.destination < ?)");
        }
        text.push_str(" ORDER BY d.event_id DESC, d.destination DESC LIMIT ?");
        let mut query = sqlx::query_as::<_, DeliveryRow>(AssertSqlSafe(text));
        if let Some(status) = status {
            query = query.bind(status.name());
        }
        if let Some((id, destination)) = page.after {
            query = query.bind(id.0).bind(id.0).bind(destination.to_string());
        }
        let rows = query.bind(page.rows_to_read()).fetch_all(self.connection()).await?;
        let records: Result<Vec<_>, _> = rows.into_iter().map(TryInto::try_into).collect();
        Ok(Page::of(records?, page.limit))
    }

    async fn restart(&mut self, id: EventId, now: Instant) -> Result<(), RepositoryError> {
        let destinations: Vec<String> =
            sqlx::query_scalar(LIST_DESTINATIONS).bind(id.0).fetch_all(self.connection()).await?;
        let active = WebhookRepository::list_active(self).await?;
        for name in destinations {
            let webhook = read_destination(&name)?.webhook();
            if webhook.is_none_or(|id| active.iter().any(|webhook| webhook.id == id)) {
                sqlx::query(RESTART).bind(now).bind(id.0).bind(name).execute(self.connection()).await?;
            }
        }
        Ok(())
    }

    async fn park(
        &mut self,
        destination: Destination,
        horizon: Instant,
        reason: &str,
        limit: u32,
    ) -> Result<u64, RepositoryError> {
        let query = sqlx::query(PARK).bind(reason).bind(destination.to_string());
        let query = query.bind(sql::datetime(horizon)).bind(limit);
        Ok(query.execute(self.connection()).await?.rows_affected())
    }

    async fn remove_parked(&mut self, destination: Destination, limit: u32) -> Result<u64, RepositoryError> {
        let query = sqlx::query(REMOVE_PARKED).bind(destination.to_string()).bind(limit);
        Ok(query.execute(self.connection()).await?.rows_affected())
    }

    async fn backlog(&mut self, limit: u32) -> Result<Backlog, RepositoryError> {
        let parked = self.count_parked(limit).await?;
        let count = sqlx::query_scalar(COUNT_PENDING).bind(limit).fetch_one(self.connection()).await?;
        let pending: Option<Instant> = sqlx::query_scalar(OLDEST_PENDING).fetch_optional(self.connection()).await?;
        let undispatched: Option<Instant> =
            sqlx::query_scalar(OLDEST_UNDISPATCHED).fetch_optional(self.connection()).await?;
        let oldest = pending.into_iter().chain(undispatched).min();
        Ok(Backlog { pending: count, parked, oldest })
    }
}
