//! Events: writing them with the change they tell of, and sending them after its commit.

mod record;
mod relay;
mod worker;

pub(crate) use record::record;
pub use relay::{EventRelay, RelaySettings};
