//! What calls the server: HTTP clients, and the clock that starts the recurring jobs.
//!
//! Translation and nothing else: from a request to a command, from a result to an answer.

pub mod http;
pub mod scheduler;
