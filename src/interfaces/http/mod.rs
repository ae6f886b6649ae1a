//! The HTTP interface: routes, the gate in front of some of them, and the form of every answer.
//!
//! One file per feature holds its routes, its handlers and the types they read and write. A handler translates and
//! nothing else. Every failure becomes a [`Problem`](problem::Problem).

pub mod address;
pub mod admin;
pub mod admin_user;
pub mod auth;
pub mod body;
pub mod booking;
pub mod client_network;
pub mod concert;
pub mod context;
pub mod draw;
pub mod event_stream;
pub mod gate;
pub mod idempotency;
pub mod limits;
pub mod middleware;
pub mod openapi;
pub mod operation;
pub mod paths;
pub mod payment;
pub mod point;
pub mod problem;
pub mod query;
pub mod queue;
pub mod queue_events;
pub mod rate_limit;
pub mod router;
pub mod seat;
pub mod seat_events;
pub mod serve;
pub mod session;
pub mod state;
pub mod user;
pub mod values;
pub mod words;
