//! The invariants of the contract, and the statements that count the rows that violate them.

/// An invariant of the contract, and the statements that find its violations.
pub(super) struct Check {
    pub(super) number: u8,
    pub(super) name: &'static str,
    /// Statements that each count violating rows. Every `?` is the instant of the audit.
    pub(super) counts: &'static [&'static str],
}

/// The number and name of the invariant of the seat limit, which is configurable.
pub(super) const SEAT_LIMIT: (u8, &str) =
    (9, "A user has no more seats of a performance in live bookings than the limit allows, complimentary ones aside");

/// The invariant whose admission windows are counted in code, not in SQL.
pub(super) const ADMISSION_INVARIANT: u8 = 6;

/// The invariants of tickets, top-ups and administrators' actions, as far as SQL can check them. A top-up's entry in
/// the ledger has its id, so there is at most one. An adjustment and a complimentary booking have exactly one entry in
/// the log, and a cancellation in the log took place. The shared transaction ensures the rest, and the primary key
/// refuses a second use of a ticket.
pub(super) const ONCE: Check = Check {
    number: 10,
    name: "A completed top-up is credited once, a ticket used once at most, an administrative write logged once",
    counts: &[
        COMPLETED_UNCREDITED,
        CREDITED_UNCOMPLETED,
        REFUND_WITHOUT_ENTRY,
        REFUND_WITHOUT_ACTION,
        ACTION_WITHOUT_REFUND,
        ADJUSTMENT_WITHOUT_ACTION,
        ACTION_WITHOUT_ADJUSTMENT,
        GIFT_WITHOUT_ACTION,
        ACTION_WITHOUT_GIFT,
        ACTION_WITHOUT_CANCELLATION,
        REPEATED_ACTION,
        USED_UNCONFIRMED,
        USE_AND_EVENT,
        USE_AND_ACTION,
    ],
};

pub(super) const CHECKS: [Check; 8] = [
    Check {
        number: 1,
        name: "A seat belongs to at most one live booking",
        counts: &[TWO_LIVE_BOOKINGS, LIVE_WITHOUT_CLAIM],
    },
    Check {
        number: 2,
        name: "A balance equals the sum of its ledger, whose chain has no gap",
        counts: &[BALANCE_AND_LEDGER, LEDGER_WITHOUT_WALLET, BROKEN_CHAIN, ENTRY_AGAINST_ITS_TYPE],
    },
    Check {
        number: 3,
        name: "A booking is confirmed if it is paid exactly, and refunded if the points are back",
        counts: &[
            CONFIRMED_UNPAID,
            REFUNDED_UNPAID,
            PAYMENT_AND_BOOKING,
            PAYMENT_WITHOUT_ENTRY,
            ENTRY_AND_PAYMENT,
            GIFT_WITH_PRICE,
        ],
    },
    Check {
        number: 4,
        name: "A seat is sold if and only if a confirmed booking holds it",
        counts: &[SOLD_UNCONFIRMED, CONFIRMED_UNSOLD],
    },
    Check {
        number: 5,
        name: "Every change of a booking or payment has exactly one event of its kind",
        counts: &[
            CHANGE_WITHOUT_EVENT,
            EVENT_WITHOUT_CHANGE,
            REPEATED_EVENT,
            CHARGE_WITHOUT_EVENT,
            EVENT_WITHOUT_CHARGE,
            REPEATED_CHARGE,
            ADJUSTMENT_WITHOUT_EVENT,
            EVENT_WITHOUT_ADJUSTMENT,
            REPEATED_ADJUSTMENT,
            EVENT_WITHOUT_CANCELLATION,
            REPEATED_CANCELLATION,
        ],
    },
    Check {
        number: ADMISSION_INVARIANT,
        name: "No token is admitted beyond the limits, and a user has one live token per concert",
        counts: &[
            TOO_MANY_ACTIVE,
            MORE_ACTIVE_THAN_ADMITTED,
            ADMISSIONS_AND_TOKENS,
            TOKEN_WITHOUT_ADMISSION,
            TWO_LIVE_TOKENS,
        ],
    },
    // No row shows that a key has one effect: nothing links an effect to its key. The primary key and the common
    // transaction ensure it. The audit can check only that every recorded answer may be replayed.
    Check { number: 7, name: "An idempotency key keeps an answer that can be repeated", counts: &[UNFIT_ANSWER] },
    // Available seats are computed from seats and claims on each request, so they are wrong only if those don't match.
    Check {
        number: 8,
        name: "Available seats are the seats of the performance without a claim",
        counts: &[TOTAL_AND_SEATS, MISPLACED_CLAIM, BLOCK_AND_HOLD, BOOKING_AND_SEATS, MISPLACED_SEAT],
    },
];

/// Performances that have ended (6 hours after their start) aren't counted, so that the limit can be lowered between
/// seasons.
pub(super) const SEATS_BEYOND_LIMIT: &str = "SELECT COUNT(*) FROM (SELECT b.user_id FROM bookings b \
     JOIN performances p ON p.id = b.performance_id \
     WHERE NOT b.complimentary \
     AND ((b.status = 'CONFIRMED' AND p.starts_at > ?) OR (b.status = 'PENDING' AND b.held_until > ?)) GROUP BY b.user_id, b.performance_id HAVING SUM(b.seat_count) > ?) users";

/// The latest instant of a decision. An audit with a slower clock would count a hold as live whose seat another
/// instance has rightly given to another booking.
pub(super) const LATEST_INSTANT: &str = "SELECT MAX(latest.at) FROM (SELECT MAX(created_at) AS at FROM bookings UNION ALL \
     SELECT MAX(changed_at) FROM seat_claims UNION ALL SELECT MAX(decided_at) FROM queues) latest";

const TWO_LIVE_BOOKINGS: &str = "SELECT COUNT(*) FROM (SELECT bs.seat_id FROM bookings b \
     JOIN booking_seats bs ON bs.booking_id = b.id \
     WHERE b.status = 'CONFIRMED' OR (b.status = 'PENDING' AND b.held_until > ?) \
     GROUP BY bs.seat_id HAVING COUNT(*) > 1) seats";

const LIVE_WITHOUT_CLAIM: &str = "SELECT COUNT(*) FROM bookings b JOIN booking_seats bs ON bs.booking_id = b.id \
     LEFT JOIN seat_claims c ON c.seat_id = bs.seat_id AND c.booking_id = b.id \
     WHERE (b.status = 'CONFIRMED' AND c.seat_id IS NULL) \
     OR (b.status = 'PENDING' AND b.held_until > ? AND (c.held_until IS NULL OR c.held_until <> b.held_until))";

const BALANCE_AND_LEDGER: &str = "SELECT COUNT(*) FROM point_wallets w \
     LEFT JOIN (SELECT user_id, SUM(amount) AS total, MAX(version) AS version, COUNT(*) AS entries \
     FROM point_transactions GROUP BY user_id) t ON t.user_id = w.user_id \
     WHERE w.balance < 0 OR w.balance <> COALESCE(t.total, 0) OR w.version <> COALESCE(t.version, 0) \
     OR w.version <> COALESCE(t.entries, 0)";

const LEDGER_WITHOUT_WALLET: &str = "SELECT COUNT(*) FROM point_transactions t \
     LEFT JOIN point_wallets w ON w.user_id = t.user_id WHERE w.user_id IS NULL";

const BROKEN_CHAIN: &str = "SELECT COUNT(*) FROM (SELECT version, amount, balance_after, \
     LAG(version) OVER (PARTITION BY user_id ORDER BY version) AS version_before, \
     LAG(balance_after) OVER (PARTITION BY user_id ORDER BY version) AS balance_before \
     FROM point_transactions) chain WHERE balance_after < 0 OR version <> COALESCE(version_before, 0) + 1 \
     OR balance_after <> COALESCE(balance_before, 0) + amount";

/// The rules of an entry's sign and references. They aren't constraints: adding one copies the ledger.
const ENTRY_AGAINST_ITS_TYPE: &str = "SELECT COUNT(*) FROM point_transactions \
     WHERE (type IN ('PAYMENT', 'REFUND')) <> (payment_id IS NOT NULL) \
     OR (type IN ('PAYMENT', 'REFUND')) <> (booking_id IS NOT NULL) OR (type = 'PAYMENT' AND amount > 0) \
     OR (type = 'REFUND' AND amount < 0) OR (type = 'CHARGE' AND amount <= 0) OR (type = 'ADJUSTMENT' AND amount = 0)";

const CONFIRMED_UNPAID: &str = "SELECT COUNT(*) FROM bookings b LEFT JOIN payments p ON p.id = b.payment_id \
     AND p.booking_id = b.id AND p.user_id = b.user_id AND p.amount = b.total_price AND p.status = 'COMPLETED' \
     WHERE b.status = 'CONFIRMED' AND p.id IS NULL";

const REFUNDED_UNPAID: &str = "SELECT COUNT(*) FROM bookings b LEFT JOIN payments p ON p.id = b.payment_id \
     AND p.booking_id = b.id AND p.user_id = b.user_id AND p.amount = b.total_price AND p.status = 'REFUNDED' \
     LEFT JOIN point_transactions t ON t.payment_id = p.id AND t.type = 'REFUND' AND t.booking_id = b.id \
     AND t.user_id = b.user_id AND t.amount = p.amount WHERE b.status = 'REFUNDED' AND t.id IS NULL";

const PAYMENT_AND_BOOKING: &str = "SELECT COUNT(*) FROM payments p LEFT JOIN bookings b ON b.id = p.booking_id \
     AND b.payment_id = p.id AND b.status = IF(p.status = 'COMPLETED', 'CONFIRMED', 'REFUNDED') WHERE b.id IS NULL";

const PAYMENT_WITHOUT_ENTRY: &str = "SELECT COUNT(*) FROM payments p LEFT JOIN point_transactions t \
     ON t.payment_id = p.id AND t.type = 'PAYMENT' AND t.booking_id = p.booking_id AND t.user_id = p.user_id \
     AND t.amount = -p.amount WHERE t.id IS NULL";

const ENTRY_AND_PAYMENT: &str = "SELECT COUNT(*) FROM point_transactions t JOIN payments p ON p.id = t.payment_id \
     WHERE t.booking_id <> p.booking_id OR t.user_id <> p.user_id \
     OR (t.type = 'REFUND' AND p.status <> 'REFUNDED')";

const GIFT_WITH_PRICE: &str = "SELECT COUNT(*) FROM bookings WHERE complimentary \
     AND (total_price <> 0 OR status NOT IN ('CONFIRMED', 'REFUNDED'))";

const SOLD_UNCONFIRMED: &str = "SELECT COUNT(*) FROM seat_claims c LEFT JOIN bookings b ON b.id = c.booking_id \
     AND b.status = 'CONFIRMED' AND b.payment_id = c.payment_id WHERE c.held_until IS NULL AND b.id IS NULL";

const CONFIRMED_UNSOLD: &str = "SELECT COUNT(*) FROM bookings b JOIN booking_seats bs ON bs.booking_id = b.id \
     LEFT JOIN seat_claims c ON c.seat_id = bs.seat_id AND c.booking_id = b.id AND c.held_until IS NULL \
     WHERE b.status = 'CONFIRMED' AND c.seat_id IS NULL";

/// The expected events of a booking by its status.
macro_rules! expected_events {
    () => {
        "(SELECT 'PENDING' AS status, 'booking.held' AS type \
         UNION ALL SELECT 'CONFIRMED', 'booking.held' UNION ALL SELECT 'CONFIRMED', 'booking.confirmed' \
         UNION ALL SELECT 'CONFIRMED', 'payment.completed' \
         UNION ALL SELECT 'CANCELLED', 'booking.held' UNION ALL SELECT 'CANCELLED', 'booking.cancelled' \
         UNION ALL SELECT 'EXPIRED', 'booking.held' UNION ALL SELECT 'EXPIRED', 'booking.expired' \
         UNION ALL SELECT 'REFUNDED', 'booking.held' UNION ALL SELECT 'REFUNDED', 'booking.confirmed' \
         UNION ALL SELECT 'REFUNDED', 'payment.completed' UNION ALL SELECT 'REFUNDED', 'booking.refunded' \
         UNION ALL SELECT 'REFUNDED', 'payment.refunded') expected"
    };
}

/// A complimentary booking is confirmed at once: it was never held, and has no event of that.
macro_rules! is_expected {
    () => {
        "expected.status = b.status AND NOT (b.complimentary AND expected.type = 'booking.held')"
    };
}

/// Events before this instant may have been removed after their delivery, so earlier changes aren't checked.
macro_rules! kept_since {
    () => {
        "COALESCE((SELECT MAX(removed_before) FROM outbox_horizon), '1000-01-01')"
    };
}

const CHANGE_WITHOUT_EVENT: &str = concat!(
    "SELECT COUNT(*) FROM bookings b JOIN ",
    expected_events!(),
    " ON ",
    is_expected!(),
    " LEFT JOIN outbox_events e ON e.stream_id = b.id AND e.type = expected.type ",
    "WHERE e.id IS NULL AND CASE expected.type WHEN 'booking.held' THEN b.created_at ",
    "WHEN 'booking.expired' THEN b.held_until WHEN 'booking.cancelled' THEN b.cancelled_at ",
    "WHEN 'booking.refunded' THEN b.cancelled_at WHEN 'payment.refunded' THEN b.cancelled_at ",
    "ELSE b.confirmed_at END >= ",
    kept_since!()
);

const EVENT_WITHOUT_CHANGE: &str = concat!(
    "SELECT COUNT(*) FROM outbox_events e LEFT JOIN bookings b ON b.id = e.stream_id LEFT JOIN ",
    expected_events!(),
    " ON ",
    is_expected!(),
    " AND expected.type = e.type ",
    "WHERE (e.type LIKE 'booking.%' OR e.type LIKE 'payment.%') AND expected.type IS NULL"
);

const REPEATED_EVENT: &str = "SELECT COUNT(*) FROM (SELECT stream_id FROM outbox_events \
     WHERE type LIKE 'booking.%' OR type LIKE 'payment.%' GROUP BY stream_id, type HAVING COUNT(*) > 1) repeated";

/// The number of entries of a type without an event of their kind: all such entries minus those found from events. No
/// index finds an entry's event.
macro_rules! entries_without_event {
    ($entry:literal, $event:literal) => {
        concat!(
            "SELECT (SELECT COUNT(*) FROM point_transactions WHERE type = '",
            $entry,
            "' AND created_at >= ",
            kept_since!(),
            ") - (SELECT COUNT(DISTINCT t.id) FROM outbox_events e JOIN point_transactions t ",
            "ON t.id = UNHEX(REPLACE(e.subject, '-', '')) AND t.type = '",
            $entry,
            "' WHERE e.type = '",
            $event,
            "' AND t.created_at >= ",
            kept_since!(),
            ")"
        )
    };
}

macro_rules! events_without_entry {
    ($entry:literal, $event:literal) => {
        concat!(
            "SELECT COUNT(*) FROM outbox_events e LEFT JOIN point_transactions t ",
            "ON t.id = UNHEX(REPLACE(e.subject, '-', '')) AND t.type = '",
            $entry,
            "' WHERE e.type = '",
            $event,
            "' AND t.id IS NULL"
        )
    };
}

macro_rules! repeated_events_of_subjects {
    ($event:literal) => {
        concat!(
            "SELECT COUNT(*) FROM (SELECT subject FROM outbox_events WHERE type = '",
            $event,
            "' GROUP BY subject HAVING COUNT(*) > 1) repeated"
        )
    };
}

const CHARGE_WITHOUT_EVENT: &str = entries_without_event!("CHARGE", "points.charged");

const EVENT_WITHOUT_CHARGE: &str = events_without_entry!("CHARGE", "points.charged");

const REPEATED_CHARGE: &str = repeated_events_of_subjects!("points.charged");

const ADJUSTMENT_WITHOUT_EVENT: &str = entries_without_event!("ADJUSTMENT", "points.adjusted");

const EVENT_WITHOUT_ADJUSTMENT: &str = events_without_entry!("ADJUSTMENT", "points.adjusted");

const REPEATED_ADJUSTMENT: &str = repeated_events_of_subjects!("points.adjusted");

/// A cancellation by an older server has no event, so the reverse isn't checked.
const EVENT_WITHOUT_CANCELLATION: &str = "SELECT COUNT(*) FROM outbox_events e LEFT JOIN performances p \
     ON p.id = CAST(e.subject AS UNSIGNED) AND p.cancelled_at IS NOT NULL \
     WHERE e.type = 'performance.cancelled' AND p.id IS NULL";

const REPEATED_CANCELLATION: &str = repeated_events_of_subjects!("performance.cancelled");

/// Uses the limit in force at the admission, since the limit may be lowered while tokens are active.
const TOO_MANY_ACTIVE: &str = "SELECT COUNT(*) FROM queue_admissions WHERE active > max_active";

/// Between two admissions the number of active tokens can only decrease.
const MORE_ACTIVE_THAN_ADMITTED: &str = "SELECT COUNT(*) FROM (SELECT concert_id, COUNT(*) AS active FROM queue_tokens \
     WHERE status = 'ACTIVE' AND lapses_at > ? GROUP BY concert_id) t \
     JOIN (SELECT concert_id, MAX(admitted_at) AS admitted_at FROM queue_admissions GROUP BY concert_id) latest \
     ON latest.concert_id = t.concert_id JOIN queue_admissions a \
     ON a.concert_id = latest.concert_id AND a.admitted_at = latest.admitted_at WHERE t.active > a.active";

/// Reads the admissions in order, for a sliding window in code. The window's length differs from row to row, so SQL
/// would count each window anew.
pub(super) const ADMISSIONS: &str = "SELECT concert_id, admitted_at, admitted, mode, admit_count, admit_interval_seconds \
     FROM queue_admissions ORDER BY concert_id, admitted_at";

const ADMISSIONS_AND_TOKENS: &str = "SELECT COUNT(*) FROM queue_admissions a \
     LEFT JOIN (SELECT concert_id, admitted_at, COUNT(*) AS admitted FROM queue_tokens \
     WHERE admitted_at IS NOT NULL GROUP BY concert_id, admitted_at) t \
     ON t.concert_id = a.concert_id AND t.admitted_at = a.admitted_at WHERE COALESCE(t.admitted, 0) <> a.admitted";

/// Checks tokens since the oldest record of an admission: older records have been deleted.
const TOKEN_WITHOUT_ADMISSION: &str = "SELECT COUNT(*) FROM queue_tokens t LEFT JOIN queue_admissions a \
     ON a.concert_id = t.concert_id AND a.admitted_at = t.admitted_at \
     WHERE t.admitted_at >= (SELECT MIN(admitted_at) FROM queue_admissions) AND a.concert_id IS NULL";

const TWO_LIVE_TOKENS: &str = "SELECT COUNT(*) FROM (SELECT concert_id, user_id FROM queue_tokens \
     WHERE status IN ('SCHEDULED', 'WAITING', 'ACTIVE') GROUP BY concert_id, user_id HAVING COUNT(*) > 1) users";

const UNFIT_ANSWER: &str = "SELECT COUNT(*) FROM idempotency_keys WHERE LENGTH(body) = 0 \
     OR NOT (status BETWEEN 200 AND 299 OR status IN (402, 404, 409, 410))";

const COMPLETED_UNCREDITED: &str = "SELECT COUNT(*) FROM top_ups u LEFT JOIN point_transactions t ON t.id = u.id \
     AND t.user_id = u.user_id AND t.amount = u.amount AND t.type = 'CHARGE' AND u.transaction_id = t.id \
     WHERE u.status = 'COMPLETED' AND t.id IS NULL";

const CREDITED_UNCOMPLETED: &str = "SELECT COUNT(*) FROM top_ups u JOIN point_transactions t ON t.id = u.id \
     WHERE u.status <> 'COMPLETED'";

const TOTAL_AND_SEATS: &str = "SELECT COUNT(*) FROM performances p LEFT JOIN (SELECT performance_id, COUNT(*) AS seats \
     FROM seats GROUP BY performance_id) s ON s.performance_id = p.id WHERE p.total_seats <> COALESCE(s.seats, 0)";

const MISPLACED_CLAIM: &str = "SELECT COUNT(*) FROM seat_claims c LEFT JOIN seats s ON s.id = c.seat_id \
     AND s.performance_id = c.performance_id WHERE s.id IS NULL";

/// A claim without a booking is a block: it has no end, or has been released. A booking's claim ends or is sold.
const BLOCK_AND_HOLD: &str = "SELECT COUNT(*) FROM seat_claims WHERE IF(booking_id IS NULL, \
     held_until IS NULL OR NOT held_until IN (changed_at, '9999-12-31 00:00:00'), \
     COALESCE(held_until = '9999-12-31 00:00:00', FALSE))";

const BOOKING_AND_SEATS: &str = "SELECT COUNT(*) FROM bookings b LEFT JOIN (SELECT booking_id, COUNT(*) AS seats, \
     SUM(price) AS price FROM booking_seats GROUP BY booking_id) bs ON bs.booking_id = b.id \
     WHERE b.seat_count <> COALESCE(bs.seats, 0) OR b.total_price <> COALESCE(bs.price, 0)";

const MISPLACED_SEAT: &str = "SELECT COUNT(*) FROM bookings b JOIN booking_seats bs ON bs.booking_id = b.id \
     JOIN seats s ON s.id = bs.seat_id WHERE s.performance_id <> b.performance_id";

/// The rows of a table, named `t`, that no action of a kind has as its target. Compares counts, since no index finds a
/// row's action.
///
/// Without a derived table: MariaDB 10.11 refuses one here (error 1140) when it prepares the statement again. It does
/// so after a table has left its cache.
macro_rules! rows_without_action {
    ($table:literal, $condition:literal, $action:literal) => {
        concat!(
            "SELECT (SELECT COUNT(*) FROM ",
            $table,
            " t WHERE ",
            $condition,
            ") - (SELECT COUNT(DISTINCT t.id) FROM admin_actions a JOIN ",
            $table,
            " t ON t.id = UNHEX(REPLACE(a.target_id, '-', '')) WHERE a.action = '",
            $action,
            "' AND ",
            $condition,
            ")"
        )
    };
}

macro_rules! actions_without_row {
    ($table:literal, $condition:literal, $action:literal) => {
        concat!(
            "SELECT COUNT(*) FROM admin_actions a LEFT JOIN ",
            $table,
            " t ON t.id = UNHEX(REPLACE(a.target_id, '-', '')) AND ",
            $condition,
            " WHERE a.action = '",
            $action,
            "' AND t.id IS NULL"
        )
    };
}

/// An adjustment that takes back the points of a top-up belongs to the top-up and has no action.
const ADJUSTMENT_WITHOUT_ACTION: &str = rows_without_action!(
    "point_transactions",
    "t.type = 'ADJUSTMENT' AND t.id NOT IN \
     (SELECT refund_transaction_id FROM top_ups WHERE refund_transaction_id IS NOT NULL)",
    "points.adjusted"
);

const REFUND_WITHOUT_ENTRY: &str = "SELECT COUNT(*) FROM top_ups u LEFT JOIN point_transactions t \
     ON t.id = u.refund_transaction_id AND t.user_id = u.user_id AND t.type = 'ADJUSTMENT' AND t.amount = -u.amount \
     WHERE u.status = 'COMPLETED' AND u.refund_requested_at IS NOT NULL AND t.id IS NULL";

const REFUND_WITHOUT_ACTION: &str =
    rows_without_action!("top_ups", "t.refund_transaction_id IS NOT NULL", "top-up.refunded");

const ACTION_WITHOUT_REFUND: &str =
    actions_without_row!("top_ups", "t.refund_transaction_id IS NOT NULL", "top-up.refunded");

const ACTION_WITHOUT_ADJUSTMENT: &str =
    actions_without_row!("point_transactions", "t.type = 'ADJUSTMENT'", "points.adjusted");

const GIFT_WITHOUT_ACTION: &str = rows_without_action!("bookings", "t.complimentary", "booking.created");

const ACTION_WITHOUT_GIFT: &str = actions_without_row!("bookings", "t.complimentary", "booking.created");

const ACTION_WITHOUT_CANCELLATION: &str =
    actions_without_row!("bookings", "t.status IN ('CANCELLED', 'REFUNDED')", "booking.cancelled");

const REPEATED_ACTION: &str = "SELECT COUNT(*) FROM (SELECT target_id FROM admin_actions \
     WHERE action IN ('points.adjusted', 'booking.created', 'booking.cancelled', 'ticket.used', \
     'top-up.refunded') \
     GROUP BY action, target_id HAVING COUNT(*) > 1) repeated";

/// A booking that was refunded after the use still has its payment.
const USED_UNCONFIRMED: &str = "SELECT COUNT(*) FROM used_tickets u LEFT JOIN bookings b ON b.id = u.booking_id \
     AND b.payment_id = u.payment_id AND b.status IN ('CONFIRMED', 'REFUNDED') AND b.confirmed_at <= u.admitted_at \
     LEFT JOIN booking_seats bs ON bs.booking_id = u.booking_id AND bs.seat_id = u.seat_id \
     WHERE b.id IS NULL OR bs.seat_id IS NULL";

/// Counts the bookings whose numbers of uses and of events about uses differ.
const USE_AND_EVENT: &str = concat!(
    "SELECT COUNT(*) FROM (SELECT booking_id, SUM(uses) AS uses, SUM(events) AS events FROM (",
    "SELECT booking_id, 1 AS uses, 0 AS events FROM used_tickets WHERE admitted_at >= ",
    kept_since!(),
    " UNION ALL SELECT stream_id, 0, 1 FROM outbox_events WHERE type = 'ticket.used' AND created_at >= ",
    kept_since!(),
    ") rows_of_both GROUP BY booking_id) bookings WHERE uses <> events"
);

/// Compares counts, since an entry names the ticket by an id that no row has.
const USE_AND_ACTION: &str = "SELECT ABS((SELECT COUNT(*) FROM used_tickets) - \
     (SELECT COUNT(*) FROM admin_actions WHERE action = 'ticket.used'))";
