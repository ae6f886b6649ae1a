//! The middleware of every request. [`build_router`](super::router::build_router) defines the order.

mod bounds;
mod measure;
mod problems;
mod refusal;
mod request_id;
mod request_log;

pub use problems::convert_failures;
pub use refusal::refusal_writer;
pub use request_id::assign_request_id;
