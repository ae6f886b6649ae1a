//! Events: recorded in the transaction of the change, dispatched and delivered after its commit.
//!
//! [mod@record] writes events, [relay] dispatches them, a [worker] delivers them to one receiver, [receivers] lists all
//! receivers, and [upkeep] deletes old events.

mod deliveries;
mod facade;
mod pause;
mod receivers;
mod record;
mod relay;
mod upkeep;
mod worker;

pub use facade::EventFacade;
pub use receivers::Receivers;
pub(crate) use record::record;
pub use relay::EventRelay;
pub use upkeep::{EventRetention, EventUpkeep};
