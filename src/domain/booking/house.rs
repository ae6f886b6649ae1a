//! Where the seats of a performance are, and which of them are free: what seats are chosen by.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::BookedSeat;
use crate::domain::{concert::Seat, id::SeatId, points::Points};

/// The seats of a performance as they lie. Never changes.
#[derive(Debug)]
pub struct House {
    /// In the promoter's order.
    pub(super) parts: Vec<Part>,
    /// From the front to the back, whatever their part; then in the parts' order.
    pub(super) rows: Vec<Row>,
    /// By ascending id.
    places: Vec<(SeatId, Place)>,
}

/// Neighbouring rows of one section, grade and price.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) section: String,
    pub(super) grade: String,
    pub(super) price: Points,
    /// Positions in the house's rows, from the front to the back.
    pub(super) rows: Vec<usize>,
    /// The lowest and the highest number.
    pub(super) numbers: (u16, u16),
}

/// Seats side by side.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) part: usize,
    name: String,
    /// From the front, from 1.
    pub(super) rank: u16,
    /// The number of the first seat; each of the others is one more than its neighbour's.
    pub(super) first: u16,
    pub(super) seats: Vec<SeatId>,
}

/// Where a seat is: its row's position in the house, and its own in the row.
#[derive(Clone, Copy, Debug)]
struct Place {
    row: usize,
    seat: usize,
}

impl House {
    /// Lays out the seats of one performance.
    pub fn new(mut seats: Vec<Seat>) -> Self {
        let order = parts_in_order(&seats);
        let part_of = |seat: &Seat| order.get(&part_key(seat)).copied().unwrap_or_default();
        seats.sort_unstable_by_key(|seat| (seat.row_rank, part_of(seat), seat.number));
        let mut house = Self { parts: Vec::with_capacity(order.len()), rows: Vec::new(), places: Vec::new() };
        let mut first_seats: Vec<_> = order.iter().map(|(key, part)| (*part, key.clone())).collect();
        first_seats.sort_unstable();
        for (_, (section, grade, price)) in first_seats {
            house.parts.push(Part { section, grade, price, rows: Vec::new(), numbers: (u16::MAX, 0) });
        }
        for seat in &seats {
            house.place(seat, part_of(seat));
        }
        house.places.sort_unstable_by_key(|(id, _)| *id);
        house
    }

    /// Puts the next seat behind its neighbour, or at the beginning of a row.
    fn place(&mut self, seat: &Seat, part: usize) {
        let follows = |row: &Row| {
            (row.part, row.rank) == (part, seat.row_rank)
                && usize::from(seat.number) == usize::from(row.first) + row.seats.len()
        };
        if !self.rows.last().is_some_and(follows) {
            self.parts[part].rows.push(self.rows.len());
            let (name, rank, first) = (seat.row.clone(), seat.row_rank, seat.number);
            self.rows.push(Row { part, name, rank, first, seats: Vec::new() });
        }
        let numbers = &mut self.parts[part].numbers;
        *numbers = (numbers.0.min(seat.number), numbers.1.max(seat.number));
        let index = self.rows.len() - 1;
        let row = &mut self.rows[index];
        self.places.push((seat.id, Place { row: index, seat: row.seats.len() }));
        row.seats.push(seat.id);
    }

    /// How many seats it has.
    pub fn seat_count(&self) -> usize {
        self.places.len()
    }

    /// A seat, as a booking keeps it.
    pub fn seat(&self, id: SeatId) -> Option<BookedSeat> {
        let place = self.find(id)?;
        let row = &self.rows[place.row];
        let part = &self.parts[row.part];
        Some(BookedSeat {
            id,
            section: part.section.clone(),
            row: row.name.clone(),
            number: row.first + u16::try_from(place.seat).unwrap_or_default(),
            grade: part.grade.clone(),
            price: part.price,
        })
    }

    fn find(&self, id: SeatId) -> Option<Place> {
        let index = self.places.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.places[index].1)
    }
}

type PartKey = (String, String, Points);

fn part_key(seat: &Seat) -> PartKey {
    (seat.section.clone(), seat.grade.clone(), seat.price)
}

/// The parts, numbered by their lowest seat: the order in which the promoter named them.
fn parts_in_order(seats: &[Seat]) -> HashMap<PartKey, usize> {
    let mut lowest: HashMap<PartKey, SeatId> = HashMap::new();
    for seat in seats {
        let id = lowest.entry(part_key(seat)).or_insert(seat.id);
        *id = seat.id.min(*id);
    }
    let mut keys: Vec<_> = lowest.into_iter().map(|(key, id)| (id, key)).collect();
    keys.sort_unstable();
    keys.into_iter().enumerate().map(|(index, (_, key))| (key, index)).collect()
}

/// Free seats side by side: positions in a row. Nobody's seat, or the row's end, is on either side.
pub(super) type Run = Range<usize>;

/// Which seats of a house are free.
#[derive(Clone, Debug)]
pub struct FreeSeats {
    pub(super) house: Arc<House>,
    /// For each row, from its first seat on.
    pub(super) runs: Vec<Vec<Run>>,
}

impl FreeSeats {
    /// All of a house's seats but these.
    pub fn without(house: Arc<House>, taken: &[SeatId]) -> Self {
        let mut is_taken: Vec<Vec<bool>> = house.rows.iter().map(|row| vec![false; row.seats.len()]).collect();
        for place in taken.iter().filter_map(|id| house.find(*id)) {
            is_taken[place.row][place.seat] = true;
        }
        let runs = is_taken.iter().map(|row| runs(row)).collect();
        Self { house, runs }
    }

    /// A seat of the house, as a booking keeps it, whether or not it is free.
    pub fn seat(&self, id: SeatId) -> Option<BookedSeat> {
        self.house.seat(id)
    }

    /// Whether a seat of the house is free.
    pub fn contains(&self, id: SeatId) -> bool {
        self.house.find(id).is_some_and(|place| self.runs[place.row].iter().any(|run| run.contains(&place.seat)))
    }

    /// Takes a seat away.
    pub fn remove(&mut self, id: SeatId) {
        let Some(place) = self.house.find(id) else { return };
        let runs = &mut self.runs[place.row];
        if let Some(index) = runs.iter().position(|run| run.contains(&place.seat)) {
            let Range { start, end } = runs[index];
            let rest = [start..place.seat, place.seat + 1..end];
            runs.splice(index..=index, rest.into_iter().filter(|run| !run.is_empty()));
        }
    }
}

fn runs(is_taken: &[bool]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut start = 0;
    for end in (0..is_taken.len()).filter(|seat| is_taken[*seat]).chain([is_taken.len()]) {
        if start < end {
            runs.push(start..end);
        }
        start = end + 1;
    }
    runs
}
