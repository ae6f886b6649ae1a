//! What surrounds every request. The order is in [`build_router`](super::router::build_router).

mod bounds;
mod measure;
mod problems;
mod request_id;
mod request_log;

pub use bounds::{Places, bound};
pub use problems::{catch_panic, render_problems};
pub use request_id::set_request_id;
pub use request_log::log_request;
