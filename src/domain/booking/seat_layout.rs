//! The seats of a performance by section and row, and the free ones among them: the input of best-available selection.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::BookedSeat;
use crate::domain::{concert::Seat, id::SeatId, points::Points};

/// The arrangement of a performance's seats. It never changes.
#[derive(Debug)]
pub struct SeatLayout {
    /// In the promoter's order.
    pub(super) sections: Vec<PriceSection>,
    /// From the front to the back; rows of one rank in the order of their sections.
    pub(super) rows: Vec<Row>,
    /// By ascending id.
    positions: Vec<(SeatId, SeatPosition)>,
}

/// The rows with one section name, grade and price.
#[derive(Debug)]
pub(super) struct PriceSection {
    pub(super) name: String,
    pub(super) grade: String,
    pub(super) price: Points,
    /// Indexes into the layout's rows, from the front to the back.
    pub(super) rows: Vec<usize>,
    /// The lowest and the highest seat number.
    pub(super) numbers: (u16, u16),
}

/// Adjacent seats of one row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) section: usize,
    name: String,
    /// The distance from the front in rows, from 1.
    pub(super) rank: u16,
    /// The number of the first seat; numbers increase by one.
    pub(super) first: u16,
    pub(super) seats: Vec<SeatId>,
}

/// The index of the row in the layout, and of the seat in the row.
#[derive(Clone, Copy, Debug)]
struct SeatPosition {
    row: usize,
    seat: usize,
}

impl SeatLayout {
    /// Builds the layout from all seats of one performance.
    pub fn new(mut seats: Vec<Seat>) -> Self {
        let order = sections_in_order(&seats);
        let section_of = |seat: &Seat| order.get(&section_key(seat)).copied().unwrap_or_default();
        seats.sort_unstable_by_key(|seat| (seat.row_rank, section_of(seat), seat.number));
        let mut layout = Self { sections: Vec::with_capacity(order.len()), rows: Vec::new(), positions: Vec::new() };
        let mut first_seats: Vec<_> = order.iter().map(|(key, section)| (*section, key.clone())).collect();
        first_seats.sort_unstable();
        for (_, (name, grade, price)) in first_seats {
            layout.sections.push(PriceSection { name, grade, price, rows: Vec::new(), numbers: (u16::MAX, 0) });
        }
        for seat in &seats {
            layout.append_seat(seat, section_of(seat));
        }
        layout.positions.sort_unstable_by_key(|(id, _)| *id);
        layout
    }

    /// Appends a seat to the last row if it continues that row, else to a new row.
    fn append_seat(&mut self, seat: &Seat, section: usize) {
        let follows = |row: &Row| {
            (row.section, row.rank) == (section, seat.row_rank)
                && usize::from(seat.number) == usize::from(row.first) + row.seats.len()
        };
        if !self.rows.last().is_some_and(follows) {
            self.sections[section].rows.push(self.rows.len());
            let (name, rank, first) = (seat.row.clone(), seat.row_rank, seat.number);
            self.rows.push(Row { section, name, rank, first, seats: Vec::new() });
        }
        let numbers = &mut self.sections[section].numbers;
        *numbers = (numbers.0.min(seat.number), numbers.1.max(seat.number));
        let index = self.rows.len() - 1;
        let row = &mut self.rows[index];
        self.positions.push((seat.id, SeatPosition { row: index, seat: row.seats.len() }));
        row.seats.push(seat.id);
    }

    /// The number of seats.
    pub fn seat_count(&self) -> usize {
        self.positions.len()
    }

    /// The seat with this id, as a booking stores it.
    pub fn seat(&self, id: SeatId) -> Option<BookedSeat> {
        let position = self.find(id)?;
        let row = &self.rows[position.row];
        let section = &self.sections[row.section];
        Some(BookedSeat {
            id,
            section: section.name.clone(),
            row: row.name.clone(),
            number: row.first + u16::try_from(position.seat).unwrap_or_default(),
            grade: section.grade.clone(),
            price: section.price,
        })
    }

    fn find(&self, id: SeatId) -> Option<SeatPosition> {
        let index = self.positions.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.positions[index].1)
    }
}

type SectionKey = (String, String, Points);

fn section_key(seat: &Seat) -> SectionKey {
    (seat.section.clone(), seat.grade.clone(), seat.price)
}

/// The index of each section: sections are ordered by their lowest seat id, which is the promoter's order.
fn sections_in_order(seats: &[Seat]) -> HashMap<SectionKey, usize> {
    let mut lowest: HashMap<SectionKey, SeatId> = HashMap::new();
    for seat in seats {
        let id = lowest.entry(section_key(seat)).or_insert(seat.id);
        *id = seat.id.min(*id);
    }
    let mut keys: Vec<_> = lowest.into_iter().map(|(key, id)| (id, key)).collect();
    keys.sort_unstable();
    keys.into_iter().enumerate().map(|(index, (_, key))| (key, index)).collect()
}

/// A maximal range of adjacent free seats, as indexes into a row: on either side is a taken seat or the row's end.
pub(super) type FreeRun = Range<usize>;

/// The free seats of a layout.
#[derive(Clone, Debug)]
pub struct FreeSeats {
    pub(super) layout: Arc<SeatLayout>,
    /// The free runs of each row, ascending.
    pub(super) runs: Vec<Vec<FreeRun>>,
}

impl FreeSeats {
    /// All seats of a layout except `taken`.
    pub fn excluding(layout: Arc<SeatLayout>, taken: &[SeatId]) -> Self {
        let mut is_taken: Vec<Vec<bool>> = layout.rows.iter().map(|row| vec![false; row.seats.len()]).collect();
        for position in taken.iter().filter_map(|id| layout.find(*id)) {
            is_taken[position.row][position.seat] = true;
        }
        let runs = is_taken.iter().map(|row| runs(row)).collect();
        Self { layout, runs }
    }

    /// The seat with this id, free or not, as a booking stores it.
    pub fn seat(&self, id: SeatId) -> Option<BookedSeat> {
        self.layout.seat(id)
    }

    /// Whether the seat with this id is free.
    pub fn contains(&self, id: SeatId) -> bool {
        self.layout
            .find(id)
            .is_some_and(|position| self.runs[position.row].iter().any(|run| run.contains(&position.seat)))
    }

    /// Marks a seat as taken.
    pub fn remove(&mut self, id: SeatId) {
        let Some(position) = self.layout.find(id) else { return };
        let runs = &mut self.runs[position.row];
        if let Some(index) = runs.iter().position(|run| run.contains(&position.seat)) {
            let Range { start, end } = runs[index];
            let rest = [start..position.seat, position.seat + 1..end];
            runs.splice(index..=index, rest.into_iter().filter(|run| !run.is_empty()));
        }
    }
}

fn runs(is_taken: &[bool]) -> Vec<FreeRun> {
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
