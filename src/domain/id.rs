//! Ids: one type per kind of row, so that the compiler keeps them apart.

use std::fmt;

use uuid::Uuid;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id_type!(/// The id of a user account.
    UserId(Uuid));
id_type!(/// The id of a login and its family of refresh tokens.
    SessionId(Uuid));
id_type!(/// The id of a concert: at most 2³² − 1, so that a [`QueueTokenId`] can contain it.
    ConcertId(u64));
id_type!(/// The id of a venue.
    VenueId(u64));
id_type!(/// The id of one dated performance of a concert.
    PerformanceId(u64));
id_type!(/// The id of one seat of one performance.
    SeatId(u64));
id_type!(/// The id of a booking: one user and seats of one performance.
    BookingId(Uuid));
id_type!(/// The id of the payment for a booking.
    PaymentId(Uuid));
id_type!(/// The id of an entry in a wallet's ledger.
    TransactionId(Uuid));
id_type!(/// The id of a ticket: a UUIDv5 of its booking and seat.
    TicketId(Uuid));
id_type!(/// The id of an event: the same in every delivery.
    EventId(Uuid));
id_type!(/// The id of a webhook.
    WebhookId(Uuid));
id_type!(/// The id of a mailed code.
    CodeId(Uuid));
id_type!(/// The id of a top-up, and of the entry in the ledger that credits it.
    TopUpId(Uuid));
id_type!(/// The id of an entry in the action log.
    ActionId(Uuid));
id_type!(
    /// The id of a queue token: the concert in the upper 32 bits, the number in its queue in the lower.
    QueueTokenId(u64)
);

impl TicketId {
    /// The ticket of a booking's seat: the UUIDv5 with the booking's id as namespace and the seat's id, in decimal
    /// digits, as name.
    pub fn of(booking: BookingId, seat: SeatId) -> Self {
        Self(Uuid::new_v5(&booking.0, seat.to_string().as_bytes()))
    }
}

impl QueueTokenId {
    /// The id of the `number`th token of a concert's queue; `None` for a concert id beyond 32 bits.
    pub fn new(concert: ConcertId, number: u32) -> Option<Self> {
        let concert = u32::try_from(concert.0).ok()?;
        Some(Self((u64::from(concert) << 32) | u64::from(number)))
    }

    /// The concert of the token's queue.
    pub fn concert(self) -> ConcertId {
        ConcertId(self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_token_id_contains_its_concert() {
        let id = QueueTokenId::new(ConcertId(7), 9).unwrap();
        assert_eq!(id, QueueTokenId(7 * 4_294_967_296 + 9));
        assert_eq!(id.concert(), ConcertId(7));
        assert_eq!(QueueTokenId::new(ConcertId(1 << 32), 1), None);
    }

    /// Computed with Python: `uuid.uuid5(uuid.UUID("01939e6b-0c5d-7b11-8f3e-5a0d6c1b2e34"), "41")`.
    #[test]
    fn a_tickets_id_is_derived_from_booking_and_seat() {
        let booking = BookingId("01939e6b-0c5d-7b11-8f3e-5a0d6c1b2e34".parse().unwrap());
        assert_eq!(TicketId::of(booking, SeatId(41)).to_string(), "43097c79-650a-55f2-8e2f-9144e04bd059");
    }
}
