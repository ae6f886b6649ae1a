//! The port that signs and verifies the codes of tickets.

use super::Ticket;
use crate::domain::id::{BookingId, PerformanceId, SeatId};

/// The part of a code's content that a decision needs. The rest is for display at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketClaims {
    /// The performance of the booking.
    pub performance_id: PerformanceId,
    /// The booking of the ticket.
    pub booking_id: BookingId,
    /// The seat of the ticket.
    pub seat_id: SeatId,
}

/// A public key that verifies codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketKey {
    /// The id of the key, which each code contains.
    pub id: u32,
    /// The public key of Ed25519 (RFC 8032).
    pub public_key: [u8; 32],
}

/// Signs codes, so that a door can verify one without the server, and can't make one.
pub trait TicketSigner: Send + Sync {
    /// The code of a ticket: letters and digits in upper case. The same ticket and key always result in the same code.
    fn code(&self, ticket: &Ticket) -> String;

    /// Verifies a code; `None` unless a configured key signed it.
    fn read(&self, code: &str) -> Option<TicketClaims>;

    /// The keys that verify codes. The first one signs.
    fn keys(&self) -> Vec<TicketKey>;
}
