//! The changes of bookings, sorted by the statements that write them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::sql::IDS_PER_STATEMENT;
use crate::domain::{
    booking::{Booking, BookingState},
    clock::Instant,
    language::Language,
};

/// Bookings sorted by the kind of their change.
#[derive(Default)]
pub(super) struct BookingChanges<'a> {
    pub(super) held_longer: Vec<&'a Booking>,
    /// By the language of the buyer, with one statement each. Most are of one language.
    pub(super) confirmed: BTreeMap<Option<Language>, Vec<&'a Booking>>,
    pub(super) expired: Vec<&'a Booking>,
    /// By instant and language, with one statement each. The bookings of a call usually have the same.
    pub(super) cancelled: BTreeMap<(Instant, Option<Language>), Vec<&'a Booking>>,
    pub(super) refunded: BTreeMap<(Instant, Option<Language>), Vec<&'a Booking>>,
}

impl<'a> BookingChanges<'a> {
    pub(super) fn of(bookings: &'a [Booking]) -> Self {
        let mut changes = Self::default();
        for booking in bookings {
            match booking.state {
                // The only change of a booking that stays pending is an extension.
                BookingState::Pending => changes.held_longer.push(booking),
                BookingState::Confirmed { .. } => changes.confirmed.entry(booking.language).or_default().push(booking),
                BookingState::Expired => changes.expired.push(booking),
                BookingState::Cancelled { at } => {
                    changes.cancelled.entry((at, booking.language)).or_default().push(booking);
                }
                BookingState::Refunded { at, .. } => {
                    changes.refunded.entry((at, booking.language)).or_default().push(booking);
                }
            }
        }
        changes
    }
}

pub(super) fn booking_ids(bookings: &[&Booking]) -> impl Iterator<Item = Uuid> {
    bookings.iter().map(|booking| booking.id.0)
}

pub(super) fn seat_ids(bookings: &[&Booking]) -> impl Iterator<Item = u64> {
    bookings.iter().flat_map(|booking| booking.seat_ids()).map(|id| id.0)
}

/// The number of seats of all bookings. A seat of two bookings counts twice, so its write finds too few rows.
pub(super) fn seat_count(bookings: &[&Booking]) -> usize {
    bookings.iter().map(|booking| booking.seats.len()).sum()
}

/// Divides bookings into portions whose seats fit into one statement.
pub(super) fn portions<'a, 'b>(bookings: &'b [&'a Booking]) -> Vec<&'b [&'a Booking]> {
    let (mut portions, mut start, mut seats) = (Vec::new(), 0, 0);
    for (index, booking) in bookings.iter().enumerate() {
        if seats + booking.seats.len() > IDS_PER_STATEMENT {
            portions.push(&bookings[start..index]);
            (start, seats) = (index, 0);
        }
        seats += booking.seats.len();
    }
    portions.push(&bookings[start..]);
    portions.retain(|portion| !portion.is_empty());
    portions
}

/// `CASE column WHEN ? THEN ? … END`, for different values per row. Each row binds its id and its value.
pub(super) fn case_expression(column: &str, len: usize) -> String {
    format!("CASE {column}{} END", " WHEN ? THEN ?".repeat(len))
}
