//! Ids: one type each, so that a seat is never taken for a booking.

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

id_type!(/// An account.
    UserId(Uuid));
id_type!(/// One login and the refresh tokens that follow from it.
    SessionId(Uuid));
id_type!(/// What is performed.
    ConcertId(u64));
id_type!(/// Where it is performed.
    VenueId(u64));
id_type!(/// One dated showing of a concert.
    PerformanceId(u64));
id_type!(/// One numbered place of one performance.
    SeatId(u64));
id_type!(/// One user's seats of one performance.
    BookingId(Uuid));
id_type!(/// Points taken for one booking.
    PaymentId(Uuid));
id_type!(/// One row of a wallet's ledger.
    TransactionId(Uuid));
id_type!(/// A fact published after commit.
    EventId(Uuid));
id_type!(/// A receiver of events.
    WebhookId(Uuid));
id_type!(
    /// A queue token: its concert in the upper 32 bits, its number in that concert's queue in the lower.
    QueueTokenId(u64)
);

impl QueueTokenId {
    /// The id of the `number`th token of a concert's queue; `None` for a concert id that doesn't fit.
    pub fn new(concert: ConcertId, number: u32) -> Option<Self> {
        let concert = u32::try_from(concert.0).ok()?;
        Some(Self((u64::from(concert) << 32) | u64::from(number)))
    }

    /// The concert whose queue it belongs to.
    pub fn concert(self) -> ConcertId {
        ConcertId(self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_token_id_carries_its_concert() {
        let id = QueueTokenId::new(ConcertId(7), 9).unwrap();
        assert_eq!(id, QueueTokenId(7 * 4_294_967_296 + 9));
        assert_eq!(id.concert(), ConcertId(7));
        assert_eq!(QueueTokenId::new(ConcertId(1 << 32), 1), None);
    }
}
