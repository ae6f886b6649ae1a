//! Mail: the messages, the port that sends them, and the port that reads their contents.

mod message;
mod repository;

pub use message::{Mail, Mailer, QrPicture};
pub use repository::{BookingNotice, CodeNotice, MailRepository};
