//! The rendered layout of a performance's seats. It is immutable.

use crate::domain::{
    concert::Seat,
    id::{PerformanceId, SeatId},
};

/// Appends the constant part of a rendered seat, up to its status.
pub type WriteSeat = fn(&Seat, &mut String);

/// The seats of one performance, rendered without their statuses.
#[derive(Debug)]
pub(super) struct Layout {
    performance_id: PerformanceId,
    /// By section, row and number.
    seats: Vec<PlacedSeat>,
    /// Positions in `seats`, by ascending id.
    by_id: Vec<usize>,
    /// The rendered seats, concatenated into one allocation.
    text: String,
}

#[derive(Debug)]
struct PlacedSeat {
    id: SeatId,
    /// The end of the seat in the text, in bytes.
    end: usize,
}

impl Layout {
    pub(super) fn new(performance_id: PerformanceId, seats: &[Seat], write_seat: WriteSeat) -> Self {
        let mut text = String::new();
        let mut placed = Vec::with_capacity(seats.len());
        for seat in seats {
            write_seat(seat, &mut text);
            placed.push(PlacedSeat { id: seat.id, end: text.len() });
        }
        text.shrink_to_fit();
        let mut by_id: Vec<_> = (0..placed.len()).collect();
        by_id.sort_unstable_by_key(|position| placed.get(*position).map(|seat| seat.id));
        Self { performance_id, seats: placed, by_id, text }
    }

    pub(super) fn performance_id(&self) -> PerformanceId {
        self.performance_id
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// The ids of all seats, by section, row and number.
    pub(super) fn ids(&self) -> impl Iterator<Item = SeatId> {
        self.seats.iter().map(|seat| seat.id)
    }

    /// The approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        self.text.len() + self.seats.len() * (size_of::<PlacedSeat>() + size_of::<usize>())
    }

    pub(super) fn position(&self, id: SeatId) -> Option<usize> {
        let id_at = |position: &usize| self.seats.get(*position).map(|seat| seat.id);
        let index = self.by_id.binary_search_by_key(&Some(id), id_at).ok()?;
        self.by_id.get(index).copied()
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.seats.iter().map(move |seat| {
            let text = self.text.get(start..seat.end).unwrap_or("");
            start = seat.end;
            text
        })
    }
}
