//! SQL of the data of mails.

use async_trait::async_trait;
use sqlx::FromRow;

use super::{code::CodeRow, error::corrupt, unit_of_work::Session};
use crate::domain::{
    booking::BookingRepository,
    clock::Instant,
    id::{BookingId, CodeId},
    language::Language,
    mail::{BookingNotice, CodeNotice, MailRepository},
    repository_error::RepositoryError,
    text::{Email, Name},
    user::MailedCode,
};

// Both primary keys. No lock.
const CODE: &str = "SELECT c.id, c.user_id, c.purpose, c.digest, c.key_id, c.language, c.created_at, c.expires_at, \
                    c.used_at, u.email FROM mailed_codes c JOIN users u ON u.id = c.user_id \
                    WHERE c.id = ? AND u.deleted_at IS NULL AND u.blocked_at IS NULL";

// Primary keys, and for a booking without a language ix_bookings_user and ix_mailed_codes_user. No lock.
const BOOKING: &str = "SELECT u.email, COALESCE(b.language, (SELECT o.language FROM bookings o \
                       WHERE o.user_id = b.user_id AND o.language IS NOT NULL ORDER BY o.id DESC LIMIT 1), \
                       (SELECT m.language FROM mailed_codes m WHERE m.user_id = b.user_id \
                       ORDER BY m.created_at DESC LIMIT 1)) AS language, c.title, c.artist, v.name AS venue, v.address, p.starts_at, \
                       p.cancelled_at FROM bookings b JOIN users u ON u.id = b.user_id \
                       JOIN performances p ON p.id = b.performance_id JOIN venues v ON v.id = p.venue_id \
                       JOIN concerts c ON c.id = b.concert_id WHERE b.id = ? AND u.deleted_at IS NULL";

#[derive(FromRow)]
struct CodeNoticeRow {
    #[sqlx(flatten)]
    code: CodeRow,
    email: String,
}

#[derive(FromRow)]
struct BookingNoticeRow {
    email: String,
    language: Option<String>,
    title: String,
    artist: String,
    venue: String,
    address: String,
    starts_at: Instant,
    cancelled_at: Option<Instant>,
}

#[async_trait]
impl MailRepository for Session {
    async fn find_code_notice(&mut self, id: CodeId) -> Result<Option<CodeNotice>, RepositoryError> {
        let row: Option<CodeNoticeRow> = sqlx::query_as(CODE).bind(id.0).fetch_optional(self.connection()).await?;
        let notice = |row: CodeNoticeRow| {
            let code = MailedCode::try_from(row.code)?;
            Ok(CodeNotice { code, email: Email::stored(row.email) })
        };
        row.map(notice).transpose()
    }

    async fn find_booking_notice(&mut self, id: BookingId) -> Result<Option<BookingNotice>, RepositoryError> {
        let Some(booking) = BookingRepository::list(self, &[id]).await?.pop() else { return Ok(None) };
        let row: Option<BookingNoticeRow> =
            sqlx::query_as(BOOKING).bind(id.0).fetch_optional(self.connection()).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(BookingNotice {
            booking,
            email: Email::stored(row.email),
            language: read_language(row.language.as_deref())?.unwrap_or_default(),
            title: Name::stored(row.title),
            artist: Name::stored(row.artist),
            venue: Name::stored(row.venue),
            address: Name::stored(row.address),
            starts_at: row.starts_at,
            is_performance_cancelled: row.cancelled_at.is_some(),
        }))
    }
}

/// Reads a language; `None` where none is stored.
pub(super) fn read_language(tag: Option<&str>) -> Result<Option<Language>, RepositoryError> {
    tag.map(|tag| Language::from_tag(tag).ok_or_else(|| corrupt("a language", tag))).transpose()
}
