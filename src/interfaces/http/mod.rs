//! The HTTP interface: routes, middleware, requests, responses and problems.
//!
//! Each feature has a file or a folder. It shows an operation whole: its request, its problems, its documentation and
//! its handler. A handler translates between HTTP and one facade call, and decides nothing. Every failure becomes a
//! [`Problem`](problem::Problem). Start with [`router`].

pub mod address;
pub mod admin;
pub mod auth;
pub mod body;
pub mod booking;
pub mod client_language;
pub mod client_network;
pub mod concert;
pub mod context;
pub mod draw;
pub mod event_stream;
pub mod gate;
pub mod idempotency;
pub mod limits;
pub mod mailed_code;
pub mod middleware;
pub mod openapi;
pub mod operation;
mod page;
pub mod paths;
pub mod payment;
pub mod point;
pub mod problem;
pub mod query;
pub mod queue;
pub mod queue_events;
pub mod range;
pub mod rate_limit;
pub mod router;
pub mod sandbox;
pub mod seat;
pub mod seat_events;
pub mod serve;
pub mod session;
pub mod spreadsheet;
pub mod state;
pub mod ticket;
pub mod top_up;
pub mod user;
pub mod values;
pub mod words;
