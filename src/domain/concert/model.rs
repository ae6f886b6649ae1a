//! Venues, concerts, performances and seats.

use std::collections::HashSet;

use chrono::TimeDelta;
use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::domain::{
    clock::Instant,
    id::{ConcertId, PerformanceId, SeatId, VenueId},
    points::Points,
    text::Name,
};

/// A venue of performances.
#[derive(Clone, Debug)]
pub struct Venue {
    /// Identifies the venue.
    pub id: VenueId,
    /// The displayed name.
    pub name: Name,
    /// The postal address as free text.
    pub address: Name,
}

/// The fields of a concert that an administrator edits.
#[derive(Clone, Debug)]
pub struct ConcertFields {
    /// The displayed title.
    pub title: Name,
    /// The performing artist.
    pub artist: Name,
    /// The genre, by which lists can be filtered.
    pub category: Name,
    /// Free text; may be empty.
    pub description: String,
}

/// A concert, with values derived from its performances that aren't cancelled.
#[derive(Clone, Debug)]
pub struct Concert {
    /// Identifies the concert.
    pub id: ConcertId,
    /// The fields that an administrator edits.
    pub fields: ConcertFields,
    /// The starts of the first and the last performance; `None` without a performance.
    pub first_and_last: Option<(Instant, Instant)>,
    /// The lowest and the highest price, in points; `None` without a performance.
    pub prices: Option<(Points, Points)>,
    /// The sort key of lists: the start of a performance, or the largest instant without one.
    pub listed_at: Instant,
}

/// The time from the start of a performance to its end: six hours. Confirmed bookings stop being live then.
pub const PERFORMANCE_LENGTH: TimeDelta = TimeDelta::hours(6);

/// The status of a performance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum PerformanceStatus {
    /// It takes place.
    Scheduled,
    /// It was cancelled at this instant.
    Cancelled(Instant),
}

impl PerformanceStatus {
    /// The name that clients, receivers and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A dated performance of a concert at a venue.
#[derive(Clone, Debug)]
pub struct Performance {
    /// Identifies the performance.
    pub id: PerformanceId,
    /// The performed concert.
    pub concert_id: ConcertId,
    /// The venue, as it is now.
    pub venue: Venue,
    /// The start.
    pub starts_at: Instant,
    /// The end of sales, not after the start; `None` if sales end at the start.
    pub sales_end_at: Option<Instant>,
    /// The number of seats: 1 to [`Seating::MAX_SEATS`].
    pub total_seats: u32,
    /// The lowest and the highest price in points.
    pub prices: (Points, Points),
    /// Scheduled or cancelled.
    pub status: PerformanceStatus,
}

impl Performance {
    /// The instant from which no seat can be held.
    pub fn sales_end(&self) -> Instant {
        self.sales_end_at.unwrap_or(self.starts_at)
    }

    /// Whether seats can be held at `now`: the performance is scheduled and its sales haven't ended.
    pub fn is_on_sale(&self, now: Instant) -> bool {
        self.status == PerformanceStatus::Scheduled && now < self.sales_end()
    }
}

/// A seat of a performance. It is immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Identifies the seat of this performance.
    pub id: SeatId,
    /// The performance that the seat belongs to.
    pub performance_id: PerformanceId,
    /// The section's name.
    pub section: String,
    /// The row's name.
    pub row: String,
    /// The row's distance from the front, in rows, from 1.
    pub row_rank: u16,
    /// The number in the row, from 1; adjacent seats differ by 1.
    pub number: u16,
    /// The price category.
    pub grade: String,
    /// The price in points.
    pub price: Points,
}

/// The status of a seat as buyers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum SeatStatus {
    /// It can be held.
    Available,
    /// It is held and unpaid.
    Held,
    /// It is paid.
    Sold,
    /// An administrator holds it back from sale.
    Blocked,
}

impl SeatStatus {
    /// The name that clients, receivers and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A section of a new performance: all of its seats have one grade and one price.
#[derive(Clone, Debug)]
pub struct Section {
    /// The displayed name, unique in a performance.
    pub name: Name,
    /// The price category.
    pub grade: Name,
    /// The number of rows.
    pub rows: u16,
    /// The number of seats in each row.
    pub seats_per_row: u16,
    /// The price of each seat, in points.
    pub price: Points,
}

/// The sections of a new performance: 1 to 100,000 seats, with distinct section names.
#[derive(Clone, Debug)]
pub struct Seating(Vec<Section>);

/// The sections aren't a valid seating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeatingError {
    /// There is no section.
    #[error("must have at least one section")]
    Empty,
    /// Two sections have the same name; the second has this index.
    #[error("names must differ between sections")]
    DuplicateName(usize),
    /// The sections have more than 100,000 seats in total.
    #[error("must have at most 100000 seats in all")]
    TooLarge,
}

impl Seating {
    /// The most seats of a performance.
    pub const MAX_SEATS: u32 = 100_000;

    /// Checks the names and the number of seats.
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

    /// The sections, in the promoter's order.
    pub fn sections(&self) -> &[Section] {
        &self.0
    }

    /// The number of seats.
    pub fn seat_count(&self) -> u64 {
        self.0.iter().map(|section| u64::from(section.rows) * u64::from(section.seats_per_row)).sum()
    }

    /// The lowest and the highest price in points.
    pub fn prices(&self) -> (Points, Points) {
        let prices = || self.0.iter().map(|section| section.price);
        (prices().min().unwrap_or_default(), prices().max().unwrap_or_default())
    }
}

/// The name of the `rank`th row from the front: A to Z, then AA, AB and so on, as in a spreadsheet.
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
