//! Events: recorded in the transaction of the change, dispatched and delivered after its commit.
//!
//! [mod@record] writes events, [relay] dispatches them, a [worker] delivers them to one receiver. [receivers] lists all
//! receivers, [senders] chooses the sender of each, and [upkeep] deletes old events.

mod deliveries;
mod facade;
mod pause;
mod receivers;
mod record;
mod relay;
mod senders;
mod upkeep;
mod worker;

pub use facade::EventFacade;
pub use receivers::Receivers;
pub(crate) use record::record;
pub use relay::EventRelay;
pub use senders::EventSenders;
pub use upkeep::{EventRetention, EventUpkeep};
