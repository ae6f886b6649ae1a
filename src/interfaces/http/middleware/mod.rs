//! What surrounds every request. The order is in [`build_router`](super::router::build_router).

mod bounds;
mod measure;
mod problems;
mod request_id;
mod request_log;

pub use bounds::Places;
pub use problems::answer;
pub use request_id::attend;
