//! The rules: what a seat, a hold, a place in the queue and a point are, and what may become of them.
//!
//! Pure values and decisions, and the ports through which they are loaded and stored. Nothing here knows of HTTP,
//! SQL, JSON or a runtime (`tests/tidy.rs` checks it), and nothing reads a clock or a random number by itself.
//!
//! Every feature has the same files where it needs them: `model.rs` (values and states), `service.rs` (decisions over
//! what was locked), `repository.rs` (the port).

pub mod audit;
pub mod booking;
pub mod clock;
pub mod concert;
pub mod event;
pub mod id;
pub mod idempotency;
pub mod page;
pub mod payment;
pub mod point;
pub mod points;
pub mod queue;
pub mod randomness;
pub mod refusal;
pub mod repository_error;
pub mod text;
pub mod token;
pub mod unit_of_work;
pub mod user;
