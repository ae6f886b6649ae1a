//! The drivers of the application: the HTTP interface, and the scheduler of recurring jobs.
//!
//! They translate requests into commands and results into responses, and decide nothing.

pub mod http;
pub mod scheduler;
