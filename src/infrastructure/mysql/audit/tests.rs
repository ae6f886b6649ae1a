//! Tests of the audit: it finds every violation, and none in consistent rows.

use std::time::{Duration, Instant as Stopwatch};

use sqlx::{AssertSqlSafe, MySqlPool, mysql::MySqlDatabaseError};
use uuid::Uuid;

use super::{
    super::fixtures_catalogue::{at, database, hold, payment, sale, user, write},
    checks::{AdmissionRow, Budget, Window},
};
use crate::domain::{
    booking::{Booking, BookingState},
    id::{BookingId, ConcertId, PaymentId, UserId},
    queue::{AdmissionRecord, QueueSettings},
    unit_of_work::Database,
};

async fn run(pool: &MySqlPool, text: &str) {
    sqlx::query(AssertSqlSafe(text.to_owned())).execute(pool).await.unwrap_or_else(|error| {
        panic!("{text}: {error}");
    });
}

/// The seat limit of the tests: as many seats as the user of the consistent rows has.
const SEATS: u32 = 2;

/// The numbers of the violated invariants.
async fn violations(pool: &MySqlPool) -> Vec<u8> {
    let mut snapshot = database(pool).snapshot().await.unwrap();
    let invariants = snapshot.audit().check(at(30), SEATS, Some(Duration::from_mins(1))).await.unwrap();
    assert_eq!(invariants.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    invariants.iter().filter(|it| it.violations > 0).map(|it| it.number).collect()
}

async fn event(pool: &MySqlPool, stream_id: Uuid, sequence: u8, kind: &str, subject: Uuid) {
    sqlx::query(
        "INSERT INTO outbox_events (id, stream_id, sequence, type, subject, data, created_at) \
         VALUES (?, ?, ?, ?, ?, '{}', ?)",
    )
    .bind(Uuid::now_v7())
    .bind(stream_id)
    .bind(sequence)
    .bind(kind)
    .bind(subject.to_string())
    .bind(at(0))
    .execute(pool)
    .await
    .unwrap();
}

async fn entry(
    pool: &MySqlPool,
    user_id: UserId,
    (version, kind, amount, balance): (u64, &str, &str, &str),
    paid: Option<(&Booking, PaymentId)>,
) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO point_transactions (id, user_id, version, type, amount, balance_after, booking_id, \
         payment_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(user_id.0)
    .bind(version)
    .bind(kind)
    .bind(amount)
    .bind(balance)
    .bind(paid.map(|(booking, _)| booking.id.0))
    .bind(paid.map(|(_, payment_id)| payment_id.0))
    .bind(at(0))
    .execute(pool)
    .await
    .unwrap();
    id
}

async fn admissions(pool: &MySqlPool) {
    let database = database(pool);
    let mut uow = database.begin().await.unwrap();
    let due = sqlx::query_scalar("SELECT concert_id FROM queues").fetch_one(pool).await.unwrap();
    let mut queue = uow.queues().lock_queues(&[ConcertId(due)]).await.unwrap().remove(0);
    let mut token = queue.issue(UserId(Uuid::from_u128(1)), 1, at(0)).unwrap();
    queue.admit(&mut token, at(0));
    uow.queue_tokens().insert_tokens(&[token]).await.unwrap();
    let record = AdmissionRecord {
        concert_id: queue.concert_id,
        admitted_at: at(0),
        admitted: 1,
        active: 1,
        settings: QueueSettings::default(),
    };
    uow.admissions().insert_admission(&record).await.unwrap();
    uow.queues().update_queue(&queue).await.unwrap();
    uow.commit().await.unwrap();
}

/// Stores the ledger and the wallet of the consistent sale, with the events and the action of its entries.
async fn ledger(pool: &MySqlPool, user_id: UserId, paid: (&Booking, PaymentId), refunded: (&Booking, PaymentId)) {
    let charge = entry(pool, user_id, (1, "CHARGE", "100", "100"), None).await;
    entry(pool, user_id, (2, "PAYMENT", "-10.50", "89.50"), Some(paid)).await;
    entry(pool, user_id, (3, "PAYMENT", "-10.50", "79"), Some(refunded)).await;
    entry(pool, user_id, (4, "REFUND", "10.50", "89.50"), Some(refunded)).await;
    let adjustment = entry(pool, user_id, (5, "ADJUSTMENT", "-9.50", "80"), None).await;
    let wallet = "INSERT INTO point_wallets (user_id, balance, version, updated_at) \
                  SELECT id, 80, 5, created_at FROM users";
    run(pool, wallet).await;
    event(pool, Uuid::now_v7(), 0, "points.charged", charge).await;
    event(pool, Uuid::now_v7(), 0, "points.adjusted", adjustment).await;
    let action = format!(
        "INSERT INTO admin_actions (id, actor_id, action, target_id, details, created_at) \
         SELECT REPEAT('a', 16), id, 'points.adjusted', '{adjustment}', '', created_at FROM users"
    );
    run(pool, &action).await;
}

/// Cancels the performance of the consistent sale, whose bookings are still to be cancelled.
async fn cancelled_performance(pool: &MySqlPool) {
    run(pool, "UPDATE performances SET cancelled_at = starts_at").await;
    run(
        pool,
        "INSERT INTO outbox_events SELECT REPEAT('p', 16), REPEAT('p', 16), 0, 'performance.cancelled', id, '{}', \
         cancelled_at, NULL FROM performances",
    )
    .await;
}

/// Stores a consistent sale: a booking of each state, its payment, ledger entries and events.
async fn consistent_rows(pool: &MySqlPool) {
    let database = database(pool);
    let sale = sale(&database).await;
    let user_id = user(pool, 1).await;
    let held: Vec<_> =
        (0..5u8).map(|number| sale.booking(u128::from(number) + 1, user_id, usize::from(number), 1)).collect();
    hold(&database, &held).await;
    let (paid, refunded) = (payment(pool, &held[1], at(1)).await, payment(pool, &held[2], at(1)).await);
    let states = [
        BookingState::Pending,
        BookingState::Confirmed { at: at(1), payment_id: paid },
        BookingState::Refunded { confirmed_at: at(1), payment_id: refunded, at: at(2) },
        BookingState::Cancelled { at: at(2) },
        BookingState::Expired,
    ];
    let written: Vec<_> =
        held.iter().zip(states).map(|(booking, state)| Booking { state, ..booking.clone() }).collect();
    let mut uow = database.begin().await.unwrap();
    write(&mut uow, &written, at(2)).await;
    let others: Vec<_> = sale.seats[7..].iter().map(|seat| seat.id).collect();
    uow.seat_claims().insert_blocks(sale.performance_id, &others, at(1)).await.unwrap();
    uow.seat_claims().release_blocks(&others[..1], at(2)).await.unwrap();
    uow.commit().await.unwrap();
    run(
        pool,
        "UPDATE payments p JOIN bookings b ON b.payment_id = p.id SET p.status = 'REFUNDED', \
         p.refunded_at = b.cancelled_at WHERE b.status = 'REFUNDED'",
    )
    .await;

    ledger(pool, user_id, (&held[1], paid), (&held[2], refunded)).await;
    let top_up = "INSERT INTO top_ups (id, user_id, provider, amount, status, created_at, expires_at, ended_at, \
                  transaction_id, attempts) SELECT id, user_id, 'sandbox', amount, 'COMPLETED', created_at, created_at, \
                  created_at, id, 0 FROM point_transactions WHERE type = 'CHARGE'";
    run(pool, top_up).await;
    for (number, booking) in held.iter().enumerate() {
        let stream = booking.id.0;
        event(pool, stream, 1, "booking.held", stream).await;
        if let Some(kind) =
            ["", "confirmed", "confirmed", "cancelled", "expired"].get(number).filter(|it| !it.is_empty())
        {
            event(pool, stream, 2, &format!("booking.{kind}"), stream).await;
        }
    }
    for (booking, payment_id) in [(&held[1], paid), (&held[2], refunded)] {
        event(pool, booking.id.0, 3, "payment.completed", payment_id.0).await;
    }
    event(pool, held[2].id.0, 4, "booking.refunded", held[2].id.0).await;
    event(pool, held[2].id.0, 5, "payment.refunded", refunded.0).await;
    event(pool, held[1].id.0, 6, "ticket.used", held[1].id.0).await;
    run(
        pool,
        "INSERT INTO used_tickets SELECT bs.booking_id, bs.seat_id, b.payment_id, b.confirmed_at, b.user_id \
         FROM bookings b JOIN booking_seats bs ON bs.booking_id = b.id WHERE b.status = 'CONFIRMED'",
    )
    .await;
    run(pool, TICKET_ACTION).await;
    cancelled_performance(pool).await;
    admissions(pool).await;
    run(
        pool,
        "INSERT INTO idempotency_keys SELECT REPEAT('d', 32), id, REPEAT('f', 32), 201, '{}', created_at \
         FROM users",
    )
    .await;
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn consistent_rows_have_no_violation(pool: MySqlPool) {
    assert_eq!(violations(&pool).await, Vec::<u8>::new());
    consistent_rows(&pool).await;
    assert_eq!(violations(&pool).await, Vec::<u8>::new());
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn a_hold_past_its_deadline_is_not_live_for_a_slow_clock_either(pool: MySqlPool) {
    consistent_rows(&pool).await;
    let database = database(&pool);
    let mut uow = database.begin().await.unwrap();
    let pending = BookingId(Uuid::from_u128(1));
    let old = uow.bookings().list(&[pending]).await.unwrap().remove(0);
    let id = BookingId(Uuid::from_u128(77));
    let new = Booking { id, held_until: at(600), created_at: at(300), ..old };
    uow.bookings().insert(std::slice::from_ref(&new)).await.unwrap();
    uow.seat_claims().delete_expired_claims(&new.seat_ids().collect::<Vec<_>>(), at(300)).await.unwrap();
    uow.seat_claims().insert_claims(std::slice::from_ref(&new), at(300)).await.unwrap();
    uow.commit().await.unwrap();
    event(&pool, new.id.0, 1, "booking.held", new.id.0).await;
    assert_eq!(violations(&pool).await, Vec::<u8>::new());
}

#[test]
fn an_interval_is_open_at_its_beginning_and_closed_at_its_end() {
    let mut window = Window::default();
    let mut overfull = |concert_id, seconds, admitted, mode: &str| {
        window.is_overfull(&AdmissionRow {
            concert_id,
            admitted_at: at(seconds),
            admitted,
            mode: mode.to_owned(),
            admit_count: 10,
            admit_interval_seconds: 10,
        })
    };
    assert!(!overfull(1, 0, 4, "QUEUE"));
    assert!(!overfull(1, 9, 6, "QUEUE"));
    assert!(!overfull(1, 10, 4, "QUEUE"));
    assert!(!overfull(1, 18, 1, "OPEN"));
    assert!(overfull(1, 18, 1, "QUEUE"));
    assert!(!overfull(2, 18, 10, "QUEUE"));
    assert!(overfull(2, 5_000, 11, "QUEUE"));
}

/// Applies one violation after another to consistent rows, and repairs it. A change may violate several invariants.
#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn every_violation_is_found(pool: MySqlPool) {
    consistent_rows(&pool).await;
    for (number, violate, repair) in VIOLATIONS {
        run(&pool, violate).await;
        let found = violations(&pool).await;
        assert!(found.contains(number), "{violate}: {found:?}");
        run(&pool, repair).await;
        assert_eq!(violations(&pool).await, Vec::<u8>::new(), "{repair}");
    }
}

/// The entry in the action log about the one used ticket.
const TICKET_ACTION: &str = "INSERT INTO admin_actions SELECT REPEAT('t', 16), id, 'ticket.used', 'x', '', NULL, \
                             created_at FROM users";

/// The invariant, the statement that violates it, and the one that repairs it.
const VIOLATIONS: &[(u8, &str, &str)] = &[
    (
        1,
        "UPDATE seat_claims SET held_until = changed_at WHERE booking_id = UNHEX(LPAD('1', 32, '0'))",
        "UPDATE seat_claims c JOIN bookings b ON b.id = c.booking_id SET c.held_until = b.held_until \
         WHERE b.status = 'PENDING'",
    ),
    (
        1,
        "INSERT INTO booking_seats SELECT UNHEX(LPAD('1', 32, '0')), seat_id, price FROM booking_seats \
         WHERE booking_id = UNHEX(LPAD('2', 32, '0'))",
        "DELETE FROM booking_seats WHERE booking_id = UNHEX(LPAD('1', 32, '0')) ORDER BY seat_id DESC LIMIT 1",
    ),
    // The seat of a hold is blocked.
    (
        1,
        "UPDATE seat_claims SET booking_id = NULL, held_until = '9999-12-31' \
         WHERE booking_id = UNHEX(LPAD('1', 32, '0'))",
        "UPDATE seat_claims c JOIN booking_seats s ON s.seat_id = c.seat_id JOIN bookings b ON b.id = s.booking_id \
         SET c.booking_id = b.id, c.held_until = b.held_until WHERE b.status = 'PENDING'",
    ),
    (2, "UPDATE point_wallets SET balance = balance + 1", "UPDATE point_wallets SET balance = balance - 1"),
    (2, "UPDATE point_wallets SET version = 6", "UPDATE point_wallets SET version = 5"),
    (
        2,
        "UPDATE point_transactions SET balance_after = 99 WHERE version = 1",
        "UPDATE point_transactions SET balance_after = 100 WHERE version = 1",
    ),
    (
        2,
        "UPDATE point_transactions SET version = 9 WHERE version = 4",
        "UPDATE point_transactions SET version = 4 WHERE version = 9",
    ),
    (
        2,
        "UPDATE point_transactions SET type = 'CHARGE' WHERE type = 'ADJUSTMENT'",
        "UPDATE point_transactions SET type = 'ADJUSTMENT' WHERE version = 5",
    ),
    (
        3,
        "UPDATE payments SET status = 'REFUNDED', refunded_at = paid_at WHERE status = 'COMPLETED' LIMIT 1",
        "UPDATE payments p JOIN bookings b ON b.payment_id = p.id SET p.status = 'COMPLETED', \
         p.refunded_at = NULL WHERE b.status = 'CONFIRMED'",
    ),
    (
        3,
        "UPDATE point_transactions SET amount = 10.49 WHERE type = 'REFUND'",
        "UPDATE point_transactions SET amount = 10.50 WHERE type = 'REFUND'",
    ),
    (
        3,
        "UPDATE point_transactions SET booking_id = payment_id WHERE version = 2",
        "UPDATE point_transactions t JOIN payments p ON p.id = t.payment_id SET t.booking_id = p.booking_id",
    ),
    (
        4,
        "UPDATE seat_claims SET held_until = changed_at, payment_id = NULL WHERE held_until IS NULL",
        "UPDATE seat_claims c JOIN bookings b ON b.id = c.booking_id SET c.held_until = NULL, \
         c.payment_id = b.payment_id WHERE b.status = 'CONFIRMED'",
    ),
    (
        4,
        "UPDATE seat_claims c JOIN bookings b ON b.id = c.booking_id SET c.held_until = NULL, \
         c.payment_id = b.payment_id WHERE b.status = 'REFUNDED'",
        "UPDATE seat_claims c JOIN bookings b ON b.id = c.booking_id SET c.held_until = c.changed_at, \
         c.payment_id = NULL WHERE b.status = 'REFUNDED'",
    ),
    // A sold seat is blocked.
    (
        4,
        "UPDATE seat_claims SET booking_id = NULL, payment_id = NULL, held_until = '9999-12-31' \
         WHERE held_until IS NULL",
        "UPDATE seat_claims c JOIN booking_seats s ON s.seat_id = c.seat_id JOIN bookings b ON b.id = s.booking_id \
         SET c.booking_id = b.id, c.payment_id = b.payment_id, c.held_until = NULL WHERE b.status = 'CONFIRMED'",
    ),
    (
        5,
        "UPDATE outbox_events SET type = 'seats.changed' WHERE type = 'booking.expired'",
        "UPDATE outbox_events SET type = 'booking.expired' WHERE type = 'seats.changed'",
    ),
    (
        5,
        "UPDATE outbox_events SET type = 'booking.cancelled' WHERE type = 'booking.refunded'",
        "UPDATE outbox_events SET type = 'booking.refunded' WHERE type = 'booking.cancelled' AND sequence = 4",
    ),
    (
        5,
        "INSERT INTO outbox_events SELECT REPEAT('e', 16), stream_id, 9, type, subject, data, created_at, NULL \
         FROM outbox_events WHERE type = 'booking.expired'",
        "DELETE FROM outbox_events WHERE sequence = 9",
    ),
    (
        5,
        "UPDATE outbox_events SET subject = REPLACE(subject, '-', 'x') WHERE type = 'points.charged'",
        "UPDATE outbox_events SET subject = REPLACE(subject, 'x', '-') WHERE type = 'points.charged'",
    ),
    (
        5,
        "INSERT INTO outbox_events SELECT REPEAT('e', 16), REPEAT('e', 16), 9, type, subject, data, created_at, \
         NULL FROM outbox_events WHERE type = 'points.charged'",
        "DELETE FROM outbox_events WHERE sequence = 9",
    ),
    (
        5,
        "UPDATE outbox_events SET subject = REPLACE(subject, '-', 'x') WHERE type = 'points.adjusted'",
        "UPDATE outbox_events SET subject = REPLACE(subject, 'x', '-') WHERE type = 'points.adjusted'",
    ),
    (5, "UPDATE performances SET cancelled_at = NULL", "UPDATE performances SET cancelled_at = starts_at"),
    (
        5,
        "INSERT INTO outbox_events SELECT REPEAT('e', 16), REPEAT('e', 16), 9, type, subject, data, created_at, \
         NULL FROM outbox_events WHERE type = 'performance.cancelled'",
        "DELETE FROM outbox_events WHERE sequence = 9",
    ),
    (6, "UPDATE queue_admissions SET admitted = 2", "UPDATE queue_admissions SET admitted = 1"),
    (6, "UPDATE queue_admissions SET active = 0", "UPDATE queue_admissions SET active = 1"),
    (6, "UPDATE queue_admissions SET admit_count = 0", "UPDATE queue_admissions SET admit_count = 200"),
    (
        6,
        "UPDATE queue_tokens SET admitted_at = lapses_at",
        "UPDATE queue_tokens t JOIN queue_admissions a ON a.concert_id = t.concert_id \
         SET t.admitted_at = a.admitted_at",
    ),
    (7, "UPDATE idempotency_keys SET status = 503", "UPDATE idempotency_keys SET status = 409"),
    (7, "UPDATE idempotency_keys SET body = ''", "UPDATE idempotency_keys SET body = '{}'"),
    (
        8,
        "UPDATE performances SET total_seats = total_seats + 1",
        "UPDATE performances SET total_seats = total_seats - 1",
    ),
    (
        8,
        "UPDATE seat_claims SET performance_id = performance_id + 1",
        "UPDATE seat_claims SET performance_id = performance_id - 1",
    ),
    (
        8,
        "UPDATE seat_claims SET held_until = '9999-12-31' WHERE booking_id = UNHEX(LPAD('4', 32, '0'))",
        "UPDATE seat_claims SET held_until = changed_at WHERE booking_id = UNHEX(LPAD('4', 32, '0'))",
    ),
    (
        8,
        "UPDATE seat_claims SET held_until = '9999-12-30' WHERE held_until = '9999-12-31' AND booking_id IS NULL",
        "UPDATE seat_claims SET held_until = '9999-12-31' WHERE held_until = '9999-12-30'",
    ),
    (8, "UPDATE bookings SET seat_count = 2", "UPDATE bookings SET seat_count = 1"),
    (
        9,
        "UPDATE bookings SET status = 'PENDING' WHERE status = 'EXPIRED'",
        "UPDATE bookings SET status = 'EXPIRED' WHERE id = UNHEX(LPAD('5', 32, '0'))",
    ),
    (
        10,
        "UPDATE admin_actions SET action = 'user.updated' WHERE action = 'points.adjusted'",
        "UPDATE admin_actions SET action = 'points.adjusted' WHERE action = 'user.updated'",
    ),
    (
        10,
        "UPDATE admin_actions SET target_id = LPAD('1', 32, '0') WHERE action = 'points.adjusted'",
        "UPDATE admin_actions a JOIN point_transactions t ON t.type = 'ADJUSTMENT' SET a.target_id = HEX(t.id) \
         WHERE a.action = 'points.adjusted'",
    ),
    (
        3,
        "UPDATE bookings SET complimentary = TRUE WHERE status = 'EXPIRED'",
        "UPDATE bookings SET complimentary = FALSE",
    ),
    (
        10,
        "UPDATE bookings SET complimentary = TRUE WHERE status = 'CONFIRMED'",
        "UPDATE bookings SET complimentary = FALSE",
    ),
    (
        10,
        "INSERT INTO admin_actions SELECT REPEAT('e', 16), actor_id, 'booking.created', target_id, details, reason, \
         created_at FROM admin_actions WHERE action = 'points.adjusted'",
        "DELETE FROM admin_actions WHERE id = REPEAT('e', 16)",
    ),
    (
        10,
        "INSERT INTO admin_actions SELECT REPEAT('e', 16), actor_id, action, target_id, details, reason, created_at \
         FROM admin_actions WHERE action = 'points.adjusted'",
        "DELETE FROM admin_actions WHERE id = REPEAT('e', 16)",
    ),
    (
        10,
        "UPDATE used_tickets SET admitted_at = '2000-01-01'",
        "UPDATE used_tickets u JOIN bookings b ON b.id = u.booking_id SET u.admitted_at = b.confirmed_at",
    ),
    (
        10,
        "UPDATE used_tickets u JOIN payments p ON p.status = 'REFUNDED' SET u.payment_id = p.id",
        "UPDATE used_tickets u JOIN bookings b ON b.id = u.booking_id SET u.payment_id = b.payment_id",
    ),
    (
        10,
        "UPDATE outbox_events SET type = 'seats.changed' WHERE type = 'ticket.used'",
        "UPDATE outbox_events SET type = 'ticket.used' WHERE type = 'seats.changed'",
    ),
    (10, "DELETE FROM admin_actions WHERE action = 'ticket.used'", TICKET_ACTION),
    (10, "UPDATE top_ups SET amount = 99", "UPDATE top_ups SET amount = 100"),
    (
        10,
        "UPDATE top_ups SET status = 'FAILED', failure = 'DECLINED', transaction_id = NULL",
        "UPDATE top_ups SET status = 'COMPLETED', failure = NULL, transaction_id = id",
    ),
];

/// The statement would run for hours without the limit.
#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn a_statement_is_stopped_when_the_time_limit_is_reached(pool: MySqlPool) {
    let text = "SELECT COUNT(*) FROM information_schema.COLUMNS a, information_schema.COLUMNS b, \
                information_schema.COLUMNS c, information_schema.COLUMNS d";
    let budget = Budget { started: Stopwatch::now(), limit: Some(Duration::from_millis(50)) };
    let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(budget.bounded(text))).persistent(false);
    let error = query.fetch_one(&pool).await.unwrap_err();
    let error = error.as_database_error().unwrap().try_downcast_ref::<MySqlDatabaseError>().unwrap();
    assert!([1969, 3024].contains(&error.number()), "{error}");
    assert_eq!(Budget { limit: None, ..budget }.bounded(text), text);
}
