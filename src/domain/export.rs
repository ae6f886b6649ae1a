//! The rows of exports, and the port that reads them in pages.

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    booking::Booking,
    clock::Instant,
    point::LedgerEntry,
    repository_error::RepositoryError,
    text::{Email, Name},
};

/// The range of creation times of the exported rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExportRange {
    /// The first instant; `None` for the oldest row.
    pub from: Option<Instant>,
    /// The instant before which rows were created; `None` for the newest row.
    pub to: Option<Instant>,
}

/// The position of a row in an export: its creation time and its id. Rows are sorted by it.
pub type ExportPosition = (Instant, Uuid);

/// The part of an account that an export shows.
#[derive(Clone, Debug)]
pub struct ExportedUser {
    /// The e-mail address.
    pub email: Email,
    /// The displayed name.
    pub name: Name,
}

/// A booking with its owner and its performance.
#[derive(Clone, Debug)]
pub struct ExportedBooking {
    /// The booking.
    pub booking: Booking,
    /// Its user; `None` once the account is deleted.
    pub user: Option<ExportedUser>,
    /// The title of its concert.
    pub title: Name,
    /// The start of its performance.
    pub starts_at: Instant,
}

/// A change of a balance with the owner of the wallet.
#[derive(Clone, Debug)]
pub struct ExportedTransaction {
    /// The ledger's entry.
    pub entry: LedgerEntry,
    /// Its user; `None` once the account is deleted.
    pub user: Option<ExportedUser>,
}

/// A row of an export.
pub trait ExportedRow {
    /// The position of the row.
    fn position(&self) -> ExportPosition;
}

impl ExportedRow for ExportedBooking {
    fn position(&self) -> ExportPosition {
        (self.booking.created_at, self.booking.id.0)
    }
}

impl ExportedRow for ExportedTransaction {
    fn position(&self) -> ExportPosition {
        (self.entry.created_at, self.entry.id.0)
    }
}

/// Reads the rows of exports in the order of their positions. Takes no lock.
#[async_trait]
pub trait ExportRepository: Send {
    /// At most `limit` bookings created in `range`, after the position `after`.
    async fn list_bookings(
        &mut self,
        range: ExportRange,
        after: Option<ExportPosition>,
        limit: u32,
    ) -> Result<Vec<ExportedBooking>, RepositoryError>;

    /// At most `limit` changes of balances made in `range`, after the position `after`.
    async fn list_transactions(
        &mut self,
        range: ExportRange,
        after: Option<ExportPosition>,
        limit: u32,
    ) -> Result<Vec<ExportedTransaction>, RepositoryError>;
}
