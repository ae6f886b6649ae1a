//! The port that reads the contents of mails.

use async_trait::async_trait;

use crate::domain::{
    booking::Booking,
    clock::Instant,
    id::{BookingId, CodeId},
    language::Language,
    repository_error::RepositoryError,
    text::{Email, Name},
    user::MailedCode,
};

/// The content of a mail with a code.
#[derive(Clone, Debug)]
pub struct CodeNotice {
    /// The code's record.
    pub code: MailedCode,
    /// The current address of the account.
    pub email: Email,
}

/// The content of a mail about a booking.
#[derive(Clone, Debug)]
pub struct BookingNotice {
    /// The booking with its seats.
    pub booking: Booking,
    /// The current address of its user.
    pub email: Email,
    /// The language of the buyer's last request. For a complimentary booking it is that of the user's latest other
    /// booking with a language. Without one it is that of the latest mailed code, which is kept for days.
    pub language: Language,
    /// The concert's title.
    pub title: Name,
    /// The performing artist.
    pub artist: Name,
    /// The venue's name.
    pub venue: Name,
    /// The venue's postal address.
    pub address: Name,
    /// The current start of the performance.
    pub starts_at: Instant,
    /// Whether the promoter cancelled the performance.
    pub is_performance_cancelled: bool,
}

/// Reads the contents of mails. Takes no lock.
#[async_trait]
pub trait MailRepository: Send {
    /// A code with its account; `None` if the code is removed or has no recipient, or the account is deleted or
    /// blocked.
    async fn find_code_notice(&mut self, id: CodeId) -> Result<Option<CodeNotice>, RepositoryError>;

    /// A booking with its user and performance, also of a deleted concert; `None` if the account is deleted.
    async fn find_booking_notice(&mut self, id: BookingId) -> Result<Option<BookingNotice>, RepositoryError>;
}
