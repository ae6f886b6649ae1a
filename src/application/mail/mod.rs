//! Mail: the contents of the messages, and their delivery as events.
//!
//! [`MailSender`] is the sender of the destination [`Mail`](crate::domain::event::Destination::Mail). It composes a
//! message at each attempt to send it: for the user's current address, and for no deleted user. `letter.rs` renders a
//! message as plain text and as HTML; `code.rs` and `booking.rs` have the texts. A confirmation contains the booking's
//! tickets. An event of a new start causes many mails: `reschedule.rs` records an event for each, so that each is
//! retried by itself.

mod booking;
mod code;
mod letter;
mod reschedule;
mod sender;
mod words;

pub use sender::MailSender;
