//! SQL of the outbox of events.

use async_trait::async_trait;
use chrono::SecondsFormat;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{rows_by_id::BindAll, sql, unit_of_work::Session};
use crate::domain::{
    booking::Booking,
    clock::Instant,
    event::{Dispatched, Event, Fact, OutboxRepository, Undispatched},
    id::{EventId, TicketId},
    payment::Payment,
    repository_error::RepositoryError,
};

/// Index: `ix_outbox_events_dispatch`. No lock.
const HAS_UNDISPATCHED: &str = "SELECT 1 FROM outbox_events FORCE INDEX (ix_outbox_events_dispatch) \
     WHERE dispatched_at IS NULL LIMIT 1";

/// Index: `ix_outbox_events_dispatch`. Locks the rows found, and skips rows that are locked or not committed. An event
/// that commits after a later one is found by the next claim.
const CLAIM_UNDISPATCHED: &str = "SELECT id, type, created_at FROM outbox_events FORCE INDEX (ix_outbox_events_dispatch) \
     WHERE dispatched_at IS NULL ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED";

/// Primary key. Locks the event.
const LOCK: &str = "SELECT 1 FROM outbox_events WHERE id = ? FOR UPDATE";

/// Index: `ix_outbox_events_dispatch`. Locks the rows found, and skips locked ones.
const CLAIM_DISPATCHED: &str = "SELECT id, created_at, dispatched_at FROM outbox_events \
     FORCE INDEX (ix_outbox_events_dispatch) WHERE dispatched_at >= ? AND dispatched_at < ? \
     AND (dispatched_at > ? OR id > ?) ORDER BY dispatched_at, id LIMIT ? FOR UPDATE SKIP LOCKED";

/// Primary key: the table has one row.
const MOVE_HORIZON: &str = "INSERT INTO outbox_horizon (id, removed_before) VALUES (1, ?) \
     ON DUPLICATE KEY UPDATE removed_before = GREATEST(removed_before, VALUES(removed_before))";

/// The data that receivers read. It is written once, so that every delivery and attempt sends the same.
#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    #[serde(rename_all = "camelCase")]
    Booking {
        booking_id: Uuid,
        user_id: Uuid,
        concert_id: u64,
        performance_id: u64,
        seat_ids: Vec<u64>,
        status: &'static str,
        total_price: String,
        held_until: String,
    },
    #[serde(rename_all = "camelCase")]
    Payment { payment_id: Uuid, booking_id: Uuid, user_id: Uuid, amount: String, status: &'static str },
    #[serde(rename_all = "camelCase")]
    Points { transaction_id: Uuid, user_id: Uuid, amount: String, balance: String },
    #[serde(rename_all = "camelCase")]
    Seats { performance_id: u64, seats: Vec<SeatData> },
    #[serde(rename_all = "camelCase")]
    Ticket { ticket_id: Uuid, booking_id: Uuid, performance_id: u64, seat_id: u64 },
    #[serde(rename_all = "camelCase")]
    Schedule { performance_id: u64, concert_id: u64, previous_starts_at: String, starts_at: String },
    #[serde(rename_all = "camelCase")]
    Cancellation { performance_id: u64, concert_id: u64, starts_at: String },
    #[serde(rename_all = "camelCase")]
    Code { code_id: Uuid },
    #[serde(rename_all = "camelCase")]
    Notice { booking_id: Uuid },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SeatData {
    seat_id: u64,
    status: &'static str,
}

impl Data {
    fn of(event: &Event) -> Self {
        match &event.fact {
            Fact::BookingHeld(booking)
            | Fact::BookingConfirmed(booking)
            | Fact::BookingCancelled(booking)
            | Fact::BookingExpired(booking)
            | Fact::BookingRefunded(booking) => Self::of_booking(booking, event),
            Fact::PaymentCompleted(payment) | Fact::PaymentRefunded(payment) => Self::of_payment(payment),
            Fact::PointsCharged { transaction_id, user_id, amount, balance } => Self::Points {
                transaction_id: transaction_id.0,
                user_id: user_id.0,
                amount: amount.to_string(),
                balance: balance.to_string(),
            },
            Fact::PointsAdjusted { transaction_id, user_id, amount, balance } => Self::Points {
                transaction_id: transaction_id.0,
                user_id: user_id.0,
                amount: amount.to_string(),
                balance: balance.to_string(),
            },
            Fact::SeatsChanged { performance_id, seats } => Self::Seats {
                performance_id: performance_id.0,
                seats: seats.iter().map(|(id, status)| SeatData { seat_id: id.0, status: status.name() }).collect(),
            },
            Fact::TicketUsed { booking_id, performance_id, seat_id, .. } => Self::Ticket {
                ticket_id: TicketId::of(*booking_id, *seat_id).0,
                booking_id: booking_id.0,
                performance_id: performance_id.0,
                seat_id: seat_id.0,
            },
            Fact::PerformanceRescheduled { performance_id, concert_id, previous_starts_at, starts_at } => {
                Self::Schedule {
                    performance_id: performance_id.0,
                    concert_id: concert_id.0,
                    previous_starts_at: time(*previous_starts_at),
                    starts_at: time(*starts_at),
                }
            }
            Fact::PerformanceCancelled { performance_id, concert_id, starts_at } => Self::Cancellation {
                performance_id: performance_id.0,
                concert_id: concert_id.0,
                starts_at: time(*starts_at),
            },
            Fact::CodeIssued(id) => Self::Code { code_id: id.0 },
            Fact::RescheduleNoticed(id) => Self::Notice { booking_id: id.0 },
        }
    }

    fn of_booking(booking: &Booking, event: &Event) -> Self {
        Self::Booking {
            booking_id: booking.id.0,
            user_id: booking.user_id.0,
            concert_id: booking.concert_id.0,
            performance_id: booking.performance_id.0,
            seat_ids: booking.seat_ids().map(|id| id.0).collect(),
            // At the event's instant: a hold past its deadline is expired here, too.
            status: booking.state_at(event.at).name(),
            total_price: booking.total.to_string(),
            held_until: time(booking.held_until),
        }
    }

    fn of_payment(payment: &Payment) -> Self {
        Self::Payment {
            payment_id: payment.id.0,
            booking_id: payment.booking_id.0,
            user_id: payment.user_id.0,
            amount: payment.amount.to_string(),
            status: payment.state.name(),
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Booking { booking_id, .. } | Self::Ticket { booking_id, .. } | Self::Notice { booking_id } => {
                booking_id.to_string()
            }
            Self::Payment { payment_id, .. } => payment_id.to_string(),
            Self::Points { transaction_id, .. } => transaction_id.to_string(),
            Self::Seats { performance_id, .. }
            | Self::Schedule { performance_id, .. }
            | Self::Cancellation { performance_id, .. } => performance_id.to_string(),
            Self::Code { code_id } => code_id.to_string(),
        }
    }
}

fn time(instant: Instant) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[async_trait]
impl OutboxRepository for Session {
    async fn insert(&mut self, events: &[Event], dispatched_at: Option<Instant>) -> Result<(), RepositoryError> {
        for events in sql::parts(events, sql::rows_per_statement()) {
            let text = format!(
                "INSERT INTO outbox_events (id, stream_id, sequence, type, subject, data, created_at, dispatched_at) \
                 VALUES {}",
                sql::placeholder_rows(8, events.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for event in events {
                let data = Data::of(event);
                let json = serde_json::to_string(&data).map_err(|error| RepositoryError::Storage(error.into()))?;
                query = query
                    .bind(event.id.0)
                    .bind(event.stream_id())
                    .bind(event.fact.sequence())
                    .bind(event.fact.kind())
                    .bind(data.subject())
                    .bind(json)
                    .bind(event.at)
                    .bind(dispatched_at);
            }
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn list_existing(&mut self, ids: &[EventId]) -> Result<Vec<EventId>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = sql::padded(ids.iter().map(|id| id.0));
        // Primary key.
        let text = format!("SELECT id FROM outbox_events WHERE id IN {}", sql::placeholder_list(ids.len()));
        let found: Vec<Uuid> =
            sqlx::query_scalar(AssertSqlSafe(text)).bind_all(ids).fetch_all(self.connection()).await?;
        Ok(found.into_iter().map(EventId).collect())
    }

    async fn has_undispatched(&mut self) -> Result<bool, RepositoryError> {
        let found: Option<i64> = sqlx::query_scalar(HAS_UNDISPATCHED).fetch_optional(self.connection()).await?;
        Ok(found.is_some())
    }

    async fn claim_undispatched(&mut self, limit: u32) -> Result<Vec<Undispatched>, RepositoryError> {
        let rows: Vec<(Uuid, String, Instant)> =
            sqlx::query_as(CLAIM_UNDISPATCHED).bind(limit).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(|(id, kind, at)| Undispatched { id: EventId(id), kind, at }).collect())
    }

    async fn mark_dispatched(&mut self, ids: &[EventId], now: Instant) -> Result<(), RepositoryError> {
        // Primary key; the rows are locked already.
        self.write_by_id(
            ids.iter().map(|id| id.0),
            |ids| format!("UPDATE outbox_events SET dispatched_at = ? WHERE id IN {ids}"),
            |query, ids| query.bind(now).bind_all(ids),
        )
        .await?;
        Ok(())
    }

    async fn lock(&mut self, id: EventId) -> Result<bool, RepositoryError> {
        let found: Option<i64> = sqlx::query_scalar(LOCK).bind(id.0).fetch_optional(self.connection()).await?;
        Ok(found.is_some())
    }

    async fn claim_removable(
        &mut self,
        horizon: Instant,
        after: Option<(Instant, EventId)>,
        limit: u32,
    ) -> Result<Vec<Dispatched>, RepositoryError> {
        let (after, after_id) = after.map_or((Instant::UNIX_EPOCH, Uuid::nil()), |(at, id)| (at, id.0));
        let after = sql::datetime(after);
        let query = sqlx::query_as(CLAIM_DISPATCHED).bind(after).bind(horizon).bind(after).bind(after_id).bind(limit);
        let rows: Vec<(Uuid, Instant, Instant)> = query.fetch_all(self.connection()).await?;
        let dispatched = |(id, at, dispatched_at)| Dispatched { id: EventId(id), at, dispatched_at };
        Ok(rows.into_iter().map(dispatched).collect())
    }

    async fn remove(&mut self, ids: &[EventId], horizon: Instant) -> Result<(), RepositoryError> {
        if ids.is_empty() {
            return Ok(());
        }
        // Primary keys; the events are locked, and deliveries are restarted only under that lock.
        for (table, key) in [("event_deliveries", "event_id"), ("outbox_events", "id")] {
            self.write_by_id(
                ids.iter().map(|id| id.0),
                |ids| format!("DELETE FROM {table} WHERE {key} IN {ids}"),
                BindAll::bind_all,
            )
            .await?;
        }
        sqlx::query(MOVE_HORIZON).bind(horizon).execute(self.connection()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::MySqlPool;

    use super::*;
    use crate::{
        domain::{
            booking::{BookedSeat, BookingState},
            concert::SeatStatus,
            id::{BookingId, ConcertId, PaymentId, PerformanceId, SeatId, TransactionId, UserId},
            payment::PaymentState,
            unit_of_work::Database,
        },
        infrastructure::mysql::{MySqlDatabase, fixtures},
    };

    const USER: UserId = UserId(Uuid::from_u128(0xa));
    const BOOKING: BookingId = BookingId(Uuid::from_u128(0xb));

    fn booking(state: BookingState) -> Booking {
        let seat = |id| BookedSeat {
            id: SeatId(id),
            section: "A".to_owned(),
            row: "A".to_owned(),
            number: 1,
            grade: "VIP".to_owned(),
            price: fixtures::points("25000.25"),
        };
        Booking {
            id: BOOKING,
            user_id: USER,
            concert_id: ConcertId(1),
            performance_id: PerformanceId(2),
            state,
            seats: vec![seat(3), seat(4)],
            total: fixtures::points("50000.50"),
            held_until: fixtures::at(10) + TimeDelta::microseconds(1_999),
            is_extended: false,
            is_complimentary: false,
            created_at: fixtures::at(0),
            language: None,
        }
    }

    fn payment(state: PaymentState) -> Payment {
        Payment {
            id: PaymentId(Uuid::from_u128(0xc)),
            booking_id: BOOKING,
            user_id: USER,
            amount: fixtures::points("50000.50"),
            state,
            paid_at: fixtures::at(1),
        }
    }

    fn event(id: u128, fact: Fact) -> Event {
        Event { id: EventId(Uuid::from_u128(id)), fact, at: fixtures::at(0) }
    }

    /// Each fact has the type, subject, stream and data that the contract promises to receivers.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn events_are_written_as_their_receivers_read_them(pool: MySqlPool) {
        let events = [
            event(1, Fact::BookingHeld(booking(BookingState::Pending))),
            Event { at: fixtures::at(11), ..event(2, Fact::BookingExpired(booking(BookingState::Pending))) },
            event(3, Fact::PaymentCompleted(payment(PaymentState::Completed))),
            event(4, Fact::PaymentRefunded(payment(PaymentState::Refunded(fixtures::at(2))))),
            event(
                5,
                Fact::PointsCharged {
                    transaction_id: TransactionId(Uuid::from_u128(0xd)),
                    user_id: USER,
                    amount: fixtures::points("10"),
                    balance: fixtures::points("20.5"),
                },
            ),
            event(
                6,
                Fact::SeatsChanged {
                    performance_id: PerformanceId(2),
                    seats: vec![
                        (SeatId(3), SeatStatus::Available),
                        (SeatId(4), SeatStatus::Held),
                        (SeatId(5), SeatStatus::Sold),
                    ],
                },
            ),
            event(
                7,
                Fact::PerformanceRescheduled {
                    performance_id: PerformanceId(2),
                    concert_id: ConcertId(1),
                    previous_starts_at: fixtures::at(10),
                    starts_at: fixtures::at(20),
                },
            ),
            event(
                8,
                Fact::PerformanceCancelled {
                    performance_id: PerformanceId(2),
                    concert_id: ConcertId(1),
                    starts_at: fixtures::at(20),
                },
            ),
        ];
        let mut uow = MySqlDatabase::new(pool.clone()).begin().await.unwrap();
        uow.outbox().insert(&[], None).await.unwrap();
        uow.outbox().insert(&events, None).await.unwrap();
        uow.commit().await.unwrap();

        let rows: Vec<(Uuid, u8, String, String, String, Instant)> = sqlx::query_as(
            "SELECT stream_id, sequence, type, subject, data, created_at FROM outbox_events \
             WHERE dispatched_at IS NULL ORDER BY id",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        let user = USER.to_string();
        let subject = |id: u128| Uuid::from_u128(id).to_string();
        let booking_data = |status: &str| {
            format!(
                concat!(
                    r#"{{"bookingId":"{}","userId":"{}","concertId":1,"performanceId":2,"seatIds":[3,4],"#,
                    r#""status":"{}","totalPrice":"50000.50","heldUntil":"2026-11-20T00:00:10.001Z"}}"#
                ),
                BOOKING, user, status
            )
        };
        let payment_data = |status: &str| {
            format!(
                concat!(
                    r#"{{"paymentId":"{}","bookingId":"{}","userId":"{}","#,
                    r#""amount":"50000.50","status":"{}"}}"#
                ),
                subject(0xc),
                BOOKING,
                user,
                status
            )
        };
        let expected = [
            (BOOKING.0, 1, "booking.held", subject(0xb), booking_data("PENDING")),
            (BOOKING.0, 2, "booking.expired", subject(0xb), booking_data("EXPIRED")),
            (BOOKING.0, 3, "payment.completed", subject(0xc), payment_data("COMPLETED")),
            (BOOKING.0, 5, "payment.refunded", subject(0xc), payment_data("REFUNDED")),
            (
                Uuid::from_u128(5),
                0,
                "points.charged",
                subject(0xd),
                format!(r#"{{"transactionId":"{}","userId":"{user}","amount":"10","balance":"20.50"}}"#, subject(0xd)),
            ),
            (
                Uuid::from_u128(6),
                0,
                "seats.changed",
                "2".to_owned(),
                concat!(
                    r#"{"performanceId":2,"seats":[{"seatId":3,"status":"AVAILABLE"},"#,
                    r#"{"seatId":4,"status":"HELD"},{"seatId":5,"status":"SOLD"}]}"#
                )
                .to_owned(),
            ),
            (
                Uuid::from_u128(7),
                0,
                "performance.rescheduled",
                "2".to_owned(),
                concat!(
                    r#"{"performanceId":2,"concertId":1,"previousStartsAt":"2026-11-20T00:00:10.000Z","#,
                    r#""startsAt":"2026-11-20T00:00:20.000Z"}"#
                )
                .to_owned(),
            ),
            (
                Uuid::from_u128(8),
                0,
                "performance.cancelled",
                "2".to_owned(),
                r#"{"performanceId":2,"concertId":1,"startsAt":"2026-11-20T00:00:20.000Z"}"#.to_owned(),
            ),
        ];
        assert_eq!(rows.len(), expected.len());
        for ((row, event), (stream_id, sequence, kind, subject, data)) in rows.into_iter().zip(&events).zip(expected) {
            assert_eq!(row, (stream_id, sequence, kind.to_owned(), subject, data, event.at));
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_booking_is_not_reported_as_both_expired_and_confirmed(pool: MySqlPool) {
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let confirmed = BookingState::Confirmed { at: fixtures::at(1), payment_id: PaymentId(Uuid::from_u128(0xc)) };
        uow.outbox().insert(&[event(1, Fact::BookingConfirmed(booking(confirmed)))], None).await.unwrap();

        let expired = event(2, Fact::BookingExpired(booking(BookingState::Expired)));
        let refused = uow.outbox().insert(&[expired], None).await.unwrap_err();
        assert!(
            matches!(&refused, RepositoryError::NotUnique { constraint } if constraint == "uq_outbox_events_stream"),
            "{refused:?}"
        );
    }
}
