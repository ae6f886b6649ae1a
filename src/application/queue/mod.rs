//! The waiting queue: joining and leaving, positions, the gate, streams, admission, and the public draw.
//!
//! Each use case has a facade; [`Queues`] starts all of them, because they share reads and lanes. Only `token_info.rs`
//! reads and describes tokens.

mod admission;
mod command;
mod draw;
mod estimate;
mod failing_queues;
mod feed;
mod gate;
mod lane;
mod locked_queue;
mod membership;
mod presence;
mod queues;
mod selection;
mod snapshot;
mod stream;
mod token_info;

pub use admission::AdmissionFacade;
pub use draw::{DrawFacade, DrawInfo, EntrantList};
pub use gate::GateFacade;
pub use membership::MembershipFacade;
pub use queues::Queues;
pub use snapshot::QueueSnapshot;
pub use stream::{QueueStreamFacade, TokenStream};
pub use token_info::{QueueTokenFacade, QueueTokenInfo, QueueTokenStatus};
