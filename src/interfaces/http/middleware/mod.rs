//! What surrounds every request. The order is in [`build_router`](super::router::build_router).

mod bounds;
mod measure;
mod problems;
mod refusal;
mod request_id;
mod request_log;

pub use problems::convert_failures;
pub use refusal::refusal_writer;
pub use request_id::assign_request_id;
