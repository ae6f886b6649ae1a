//! Mail: what the messages say, and their sending as deliveries of events.
//!
//! [`MailSender`] is the sender of the destination [`Mail`](crate::domain::event::Destination::Mail). It writes a
//! message when it sends it: to the user's address of that time, and to no deleted user. `letter.rs` renders a message
//! as plain text and as HTML; `code.rs` and `booking.rs` have the words. A confirmation carries the booking's tickets.
//! One event of a new start is many mails: `reschedule.rs` makes an event for each, so that each is retried by itself.

mod booking;
mod code;
mod letter;
mod reschedule;
mod sender;
mod words;

pub use sender::{EventSenders, MailSender};
