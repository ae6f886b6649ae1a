//! Tickets: one for each seat of a confirmed booking, and their use at a door.
//!
//! A ticket has no row: its id and code are computed from the booking and the seat. Its one use has a row.

mod model;
mod repository;
mod service;
mod signer;

pub use model::{Ticket, UsedTicket, tickets_of};
pub use repository::TicketRepository;
pub use service::use_ticket;
pub use signer::{TicketClaims, TicketKey, TicketSigner};
