//! The port of the uses of tickets.

use async_trait::async_trait;

use super::UsedTicket;
use crate::domain::{
    clock::Instant,
    id::{BookingId, SeatId},
    repository_error::RepositoryError,
};

/// Stores the uses of tickets. They are written under the lock of the booking, and never change.
#[async_trait]
pub trait TicketRepository: Send {
    /// The used seats of a booking, with the instants of their uses, in no order. Takes no lock.
    async fn list_used(&mut self, booking_id: BookingId) -> Result<Vec<(SeatId, Instant)>, RepositoryError>;

    /// The ones among these bookings that have a used ticket. Takes no lock: a decision needs the bookings' locks.
    async fn list_bookings_with_uses(&mut self, ids: &[BookingId]) -> Result<Vec<BookingId>, RepositoryError>;

    /// Inserts a use. [`RepositoryError::NotUnique`] for a second use of the ticket.
    async fn insert_use(&mut self, used: &UsedTicket) -> Result<(), RepositoryError>;
}
