//! The rules of the sale: values, states, decisions, and the ports that load and store them.
//!
//! Decisions are pure functions over values. The domain knows nothing of HTTP, SQL, JSON or a runtime (`tests/tidy.rs`
//! checks it). It reads time from a [`Clock`](clock::Clock) and random numbers from a
//! [`Randomness`](randomness::Randomness).
//!
//! Each feature uses the same file names: `model.rs` for values and states, `service.rs` for decisions over locked
//! rows, `repository.rs` for the port.
//!
//! Features are ordered: a feature names only the features before it. `user`, `concert`, `queue`, `point`, `payment`
//! and `administration` name none. `booking` names `concert` and `queue`, `ticket` names `booking` and `concert`.
//! `event` describes bookings, seats and payments, and `mail` describes bookings and codes to people. `settlement`
//! decides everything that moves points or changes a booking, and records the events of it. `top_up` names `point`.

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
