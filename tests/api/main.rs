//! The API, tested from outside: one module a feature, then what crosses them.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

mod journey;

mod deletion;
mod password_reset;
mod session_limits;
mod sessions;
mod users;
mod verification;

mod catalogue_bounds;
mod catalogue_cache;
mod complimentary;
mod concerts;
mod draw;
mod draw_rules;
mod lifecycle;
mod presence;
mod queue;
mod queue_events;
mod queue_rules;
mod schedules;
mod year;

mod gate;
mod seat_events;
mod seats;
mod stream_endings;

mod best_available;
mod blocks;
mod booking_mail;
mod bookings;
mod expiry;
mod seat_limit;

mod payments;
mod points;
mod tickets;

mod idempotency;

mod deliveries;
mod event_growth;
#[cfg(feature = "kafka")]
mod kafka;
mod mail;
mod webhooks;

mod admin;
mod admin_bookings;
mod admin_points;
mod admin_top_ups;
mod admin_users;
mod alerts;
mod budgets;
mod clock;
mod command_line;
mod document;
mod exports;
mod hostile;
mod logs;
mod loss;
mod operation;
mod own_sessions;
mod page;
mod rate_limits;
mod sales;
mod serving;
mod top_ups;

mod bad_input;
mod conventions;

mod races;

mod support;
