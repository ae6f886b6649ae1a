//! Mail: the messages, and the ports that send them and read what they say.

mod message;
mod repository;

pub use message::{Mail, Mailer, QrPicture};
pub use repository::{BookingNotice, CodeNotice, MailRepository};
