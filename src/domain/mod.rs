//! The rules of the sale: values, states, decisions, and the ports that load and store them.
//!
//! Decisions are pure functions over values. The domain depends on no HTTP, SQL, JSON or async runtime (`tests/tidy.rs`
//! checks it). Time comes from a [`Clock`](clock::Clock), and random bytes come from a
//! [`Randomness`](randomness::Randomness).
//!
//! Each feature uses the same file names: `model.rs` for values and states, `service.rs` for decisions over locked
//! rows, `repository.rs` for the port.
//!
//! Features are ordered: a feature imports only the features before it. `user`, `concert`, `queue`, `point`, `payment`
//! and `administration` import none. `booking` imports `concert` and `queue`, `ticket` imports `booking` and `concert`.
//! `event` describes bookings, seats and payments, and `mail` describes bookings and codes to people. `settlement`
//! decides every command that moves points or changes a booking, and collects its events. `top_up` imports `point`.

pub mod administration;
pub mod audit;
pub mod booking;
pub mod clock;
pub mod concert;
pub mod event;
pub mod export;
pub mod id;
pub mod idempotency;
pub mod language;
pub mod mail;
pub mod page;
pub mod payment;
pub mod point;
pub mod points;
pub mod queue;
pub mod randomness;
pub mod refusal;
pub mod repository_error;
pub mod settlement;
pub mod text;
pub mod ticket;
pub mod token;
pub mod top_up;
pub mod unit_of_work;
pub mod user;
