//! Events: writing them with the change they tell of, and sending them after its commit.

mod facade;
mod record;
mod relay;
mod upkeep;
mod worker;

pub use facade::EventFacade;
pub(crate) use record::record;
pub use relay::{EventRelay, RelaySettings};
pub use upkeep::{EventRetention, EventUpkeep};
