//! What is sold: concerts, their performances, and seats.

use std::collections::HashSet;

use chrono::TimeDelta;

use crate::domain::{
    clock::Instant,
    id::{ConcertId, PerformanceId, SeatId, VenueId},
    points::Points,
    text::Name,
};

/// Where.
#[derive(Clone, Debug)]
pub struct Venue {
    /// Its id.
    pub id: VenueId,
    /// What it is called.
    pub name: Name,
    /// Where it stands.
    pub address: Name,
}

/// What an administrator says of a concert.
#[derive(Clone, Debug)]
pub struct ConcertFields {
    /// What it is called.
    pub title: Name,
    /// Who performs.
    pub artist: Name,
    /// Of what kind.
    pub category: Name,
    /// More about it; may be empty.
    pub description: String,
}

/// A concert with what follows from its performances that aren't cancelled.
#[derive(Clone, Debug)]
pub struct Concert {
    /// Its id.
    pub id: ConcertId,
    /// What was said of it.
    pub fields: ConcertFields,
    /// The first and the last performance; `None` while there is none.
    pub first_and_last: Option<(Instant, Instant)>,
    /// The lowest and the highest price; `None` while there is no performance.
    pub prices: Option<(Points, Points)>,
    /// Its place in the list: the first performance, or the end of time.
    pub listed_at: Instant,
}

/// How long after its start a performance has ended. Its bookings aren't live any more then.
pub const PERFORMANCE_LENGTH: TimeDelta = TimeDelta::hours(6);

/// Whether a performance takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerformanceStatus {
    /// It does.
    Scheduled,
    /// It doesn't, since this instant.
    Cancelled(Instant),
}

/// One dated showing of a concert at a venue.
#[derive(Clone, Debug)]
pub struct Performance {
    /// Its id.
    pub id: PerformanceId,
    /// Of what.
    pub concert_id: ConcertId,
    /// Where.
    pub venue: Venue,
    /// When it begins.
    pub starts_at: Instant,
    /// How many seats it has.
    pub total_seats: u32,
    /// The lowest and the highest price.
    pub prices: (Points, Points),
    /// Whether it takes place.
    pub status: PerformanceStatus,
}

impl Performance {
    /// Whether its seats can be held at `now`: it takes place and hasn't begun.
    pub fn is_on_sale(&self, now: Instant) -> bool {
        self.status == PerformanceStatus::Scheduled && now < self.starts_at
    }
}

/// One numbered place of one performance. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its id.
    pub id: SeatId,
    /// Of which performance.
    pub performance_id: PerformanceId,
    /// The part of the house.
    pub section: String,
    /// The row's name.
    pub row: String,
    /// The row's place from the front, from 1.
    pub row_rank: u16,
    /// The place in the row, from 1; neighbours differ by 1.
    pub number: u16,
    /// The price category.
    pub grade: String,
    /// What it costs.
    pub price: Points,
}

/// What a buyer sees of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatStatus {
    /// It can be held.
    Available,
    /// Somebody holds it and hasn't paid.
    Held,
    /// It is paid.
    Sold,
}

/// A part of the house with one price.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it is called: once per performance.
    pub name: Name,
    /// Its price category.
    pub grade: Name,
    /// How many rows.
    pub rows: u16,
    /// How many seats in each.
    pub seats_per_row: u16,
    /// What each costs.
    pub price: Points,
}

/// The seats of a new performance: 1 to 100,000 in sections of different names.
#[derive(Clone, Debug)]
pub struct Seating(Vec<Section>);

/// Why sections make no seating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeatingError {
    /// None at all.
    #[error("must have at least one section")]
    Empty,
    /// Two of the same name; the second is at this index.
    #[error("names must differ between sections")]
    DuplicateName(usize),
    /// More than 100,000 seats.
    #[error("must have at most 100000 seats in all")]
    TooLarge,
}

impl Seating {
    /// The most seats a performance can have.
    pub const MAX_SEATS: u32 = 100_000;

    /// Checks the sections together.
    pub fn new(sections: Vec<Section>) -> Result<Self, SeatingError> {
        if sections.is_empty() {
            return Err(SeatingError::Empty);
        }
        let mut names = HashSet::new();
        if let Some(index) = sections.iter().position(|section| !names.insert(section.name.as_str())) {
            return Err(SeatingError::DuplicateName(index));
        }
        let seating = Self(sections);
        if seating.seat_count() > u64::from(Self::MAX_SEATS) {
            return Err(SeatingError::TooLarge);
        }
        Ok(seating)
    }

    /// Its sections.
    pub fn sections(&self) -> &[Section] {
        &self.0
    }

    /// How many seats it has.
    pub fn seat_count(&self) -> u64 {
        self.0.iter().map(|section| u64::from(section.rows) * u64::from(section.seats_per_row)).sum()
    }

    /// The lowest and the highest price.
    pub fn prices(&self) -> (Points, Points) {
        let prices = || self.0.iter().map(|section| section.price);
        (prices().min().unwrap_or_default(), prices().max().unwrap_or_default())
    }
}

/// The name of the `rank`th row from the front: A to Z, then AA, AB and on, as in a spreadsheet.
pub(crate) fn row_name(rank: u16) -> String {
    let mut rest = rank;
    let mut letters = Vec::new();
    while rest > 0 {
        let digit = (rest - 1) % 26;
        letters.push(char::from(b'A' + u8::try_from(digit).unwrap_or(0)));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, rows: u16, seats_per_row: u16) -> Section {
        let name = Name::new(name).unwrap();
        Section { grade: name.clone(), name, rows, seats_per_row, price: Points::ZERO }
    }

    #[test]
    fn rows_are_named_as_in_a_spreadsheet() {
        let names: Vec<_> = [1, 26, 27, 52, 53, 702, 703].into_iter().map(row_name).collect();
        assert_eq!(names, ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]);
    }

    #[test]
    fn a_seating_has_1_to_100_000_seats_in_sections_of_different_names() {
        assert_eq!(Seating::new(vec![]).unwrap_err(), SeatingError::Empty);
        assert!(Seating::new(vec![section("A", 1_000, 100)]).is_ok());
        assert_eq!(
            Seating::new(vec![section("A", 1_000, 100), section("B", 1, 1)]).unwrap_err(),
            SeatingError::TooLarge
        );
        assert_eq!(
            Seating::new(vec![section("A", 1, 1), section("A", 1, 1)]).unwrap_err(),
            SeatingError::DuplicateName(1)
        );
    }
}
