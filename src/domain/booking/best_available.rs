//! Choosing seats for somebody who doesn't name any.
//!
//! Three kinds of choice, each only if there is none of the kind before: seats side by side; seats of one section,
//! near each other; any seats. Of one kind, a choice that leaves fewer single seats behind is better whatever else it
//! is like; then the one that is nearer together, nearer the front, nearer the middle. What is left is a matter of the
//! seats' order, so that the same house always gives the same answer (`docs/best-available.md`).

use std::fmt;

use super::seat_layout::{FreeRun, FreeSeats, Row};
use crate::domain::{id::SeatId, points::Points, text::Name};

/// A wish for some seats, whichever are best.
#[derive(Clone, Debug)]
pub struct BestAvailable {
    /// How many.
    pub quantity: u32,
    /// Of this grade only.
    pub grade: Option<Name>,
    /// In this section only.
    pub section: Option<Name>,
    /// At this price at most, each.
    pub max_price: Option<Points>,
}

impl fmt::Display for BestAvailable {
    /// Which seats would do: "seats in section Floor of grade R at 50000 at most".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seats")?;
        if let Some(section) = &self.section {
            write!(f, " in section {section}")?;
        }
        if let Some(grade) = &self.grade {
            write!(f, " of grade {grade}")?;
        }
        if let Some(price) = &self.max_price {
            write!(f, " at {price} at most")?;
        }
        Ok(())
    }
}

/// Why a wish can't be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// How many seats would do.
    pub seats: u32,
    /// How many of them are free: fewer than are wanted.
    pub free: u32,
}

/// Some seats side by side: positions in a row of this position in the house.
#[derive(Clone, Debug)]
struct SeatBlock {
    row: usize,
    seats: FreeRun,
}

/// A run, and the part of it that may be taken.
#[derive(Clone, Debug)]
struct UsableRun {
    row: usize,
    run: FreeRun,
    within: FreeRun,
}

/// What is bad about a choice: single seats that it leaves, rows from the front, half seats from the middle.
type Cost = [u32; 3];

/// Some rows of one section, and the numbers between which seats of theirs may be taken.
#[derive(Clone, Debug)]
struct SeatRectangle<'a> {
    rows: &'a [usize],
    numbers: FreeRun,
}

/// How good a corner is: how far its ends are apart, its row in front, half seats from the middle; then its section's
/// position and its lowest number.
type RectangleCost = [usize; 5];

impl FreeSeats {
    /// The best seats that there are.
    pub fn choose(&self, request: &BestAvailable) -> Result<Vec<SeatId>, Shortage> {
        let quantity = request.quantity as usize;
        let sections = self.matching_sections(request);
        let free: usize = sections.iter().flatten().sum();
        if free < quantity {
            return Err(self.shortage(&sections, free));
        }
        let adjacent = || self.best_adjacent(&sections, quantity).map(|block| vec![block]);
        let blocks = adjacent()
            .or_else(|| self.best_in_one_section(&sections, quantity))
            .or_else(|| self.best_across_sections(&sections, quantity));
        let seats = |block: SeatBlock| self.layout.rows[block.row].seats[block.seats].to_vec();
        Ok(blocks.unwrap_or_default().into_iter().flat_map(seats).collect())
    }

    /// How many seats are free in each part that meets the wish; `None` for the others.
    fn matching_sections(&self, request: &BestAvailable) -> Vec<Option<usize>> {
        let is = |requested: &Option<Name>, name: &str| {
            requested.as_ref().is_none_or(|requested| requested.as_str() == name)
        };
        let sections = self.layout.sections.iter().map(|section| {
            let meets = is(&request.section, &section.name)
                && is(&request.grade, &section.grade)
                && request.max_price.is_none_or(|most| section.price <= most);
            meets.then(|| section.rows.iter().flat_map(|row| &self.runs[*row]).map(FreeRun::len).sum())
        });
        sections.collect()
    }

    fn shortage(&self, sections: &[Option<usize>], free: usize) -> Shortage {
        let rows = self.layout.rows.iter().filter(|row| sections[row.section].is_some());
        let count = |seats: usize| u32::try_from(seats).unwrap_or(u32::MAX);
        Shortage { seats: count(rows.map(|row| row.seats.len()).sum()), free: count(free) }
    }

    /// Seats side by side. Nothing behind the first row that has a choice without a single seat is looked at.
    fn best_adjacent(&self, sections: &[Option<usize>], quantity: usize) -> Option<SeatBlock> {
        let mut best: Option<(Cost, SeatBlock)> = None;
        for (index, row) in self.layout.rows.iter().enumerate().filter(|(_, row)| sections[row.section].is_some()) {
            if best.as_ref().is_some_and(|([isolated, rank, _], _)| *isolated == 0 && *rank < u32::from(row.rank)) {
                break;
            }
            for run in self.runs[index].iter().filter(|run| run.len() >= quantity) {
                for start in run.start..=run.end - quantity {
                    let seats = start..start + quantity;
                    let cost = [isolated_seats(run, &seats), u32::from(row.rank), distance_from_centre(row, &seats)];
                    if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                        best = Some((cost, SeatBlock { row: index, seats }));
                    }
                }
            }
        }
        best.map(|(_, block)| block)
    }

    /// Seats of one section, where none are side by side: in the smallest corner that has enough. Its size are the rows
    /// and the places that its ends are apart.
    fn best_in_one_section(&self, sections: &[Option<usize>], quantity: usize) -> Option<Vec<SeatBlock>> {
        let enough = |section: &usize| sections[*section].is_some_and(|free| free >= quantity);
        let sections: Vec<_> =
            (0..sections.len()).filter(enough).map(|section| (section, self.free_rows(section))).collect();
        let isolated: Vec<_> = sections.iter().map(|(_, rows)| self.fewest_isolated_seats(rows, quantity)).collect();
        let fewest = isolated.iter().copied().flatten().min()?;
        let mut best: Option<(RectangleCost, SeatRectangle<'_>)> = None;
        for ((section, rows), _) in sections.iter().zip(&isolated).filter(|(_, isolated)| **isolated == Some(fewest)) {
            for depth in 1..=rows.len() {
                // Each row is one further from the front at least.
                if best.as_ref().is_some_and(|([apart, ..], _)| depth - 1 > *apart) {
                    break;
                }
                for rows in rows.windows(depth) {
                    self.find_narrowest(*section, rows, quantity, fewest, &mut best);
                }
            }
        }
        let (_, rectangle) = best?;
        select_from_runs(self, &self.usable_runs(rectangle.rows, &rectangle.numbers), quantity)
            .map(|(_, blocks)| blocks)
    }

    /// How many single seats must be left where so many are taken of these rows. Of runs of one length no more are
    /// looked at than could be used.
    fn fewest_isolated_seats(&self, rows: &[usize], quantity: usize) -> Option<u32> {
        let mut of_length = vec![0; quantity];
        let mut usable_runs = self.usable_runs(rows, &(0..usize::MAX));
        usable_runs.retain(|usable| {
            let Some(count) = of_length.get_mut(usable.run.len()) else { return true };
            *count += 1;
            *count <= quantity
        });
        select_from_runs(self, &usable_runs, quantity).map(|([isolated, ..], _)| isolated)
    }

    /// Finds, between the first and the last of these rows, the narrowest corners that have enough seats and leave so
    /// few singles, and keeps the best.
    fn find_narrowest<'a>(
        &self,
        section: usize,
        rows: &'a [usize],
        quantity: usize,
        isolated: u32,
        best: &mut Option<(RectangleCost, SeatRectangle<'a>)>,
    ) {
        let rank = |row: Option<&usize>| row.map_or(0, |row| usize::from(self.layout.rows[*row].rank));
        let (front, depth) = (rank(rows.first()), rank(rows.last()) - rank(rows.first()));
        let (lowest, highest) = self.layout.sections[section].numbers;
        let middle = usize::from(lowest) + usize::from(highest);
        let mut numbers: Vec<_> = rows.iter().flat_map(|row| self.free_numbers(*row)).collect();
        numbers.sort_unstable();
        let suffices = |low: usize, high: usize| {
            let usable_runs = || self.usable_runs(rows, &(numbers[low]..numbers[high] + 1));
            high + 1 >= low + quantity
                && select_from_runs(self, &usable_runs(), quantity).is_some_and(|([left, ..], _)| left == isolated)
        };
        // What suffices goes on to do so when it is widened: the upper end never goes back.
        let mut high = 0;
        for low in (0..numbers.len()).filter(|low| *low == 0 || numbers[low - 1] < numbers[*low]) {
            high = high.max(low);
            // What is as large as the best, and further from the front, is none.
            let limit = best.as_ref().map(|([apart, row, ..], _)| apart + usize::from(front <= *row));
            let is_small = |high: usize| limit.is_none_or(|limit| depth + numbers[high] - numbers[low] < limit);
            while high < numbers.len() && is_small(high) && !suffices(low, high) {
                high += 1;
            }
            if high < numbers.len() && is_small(high) {
                let (lowest, highest) = (numbers[low], numbers[high]);
                let key = [depth + highest - lowest, front, middle.abs_diff(lowest + highest), section, lowest];
                if best.as_ref().is_none_or(|(least, _)| key < *least) {
                    *best = Some((key, SeatRectangle { rows, numbers: lowest..highest + 1 }));
                }
            }
        }
    }

    /// Any seats, where no section has enough: those nearest the front.
    fn best_across_sections(&self, sections: &[Option<usize>], quantity: usize) -> Option<Vec<SeatBlock>> {
        let requested = |row: &usize| sections[self.layout.rows[*row].section].is_some();
        let rows: Vec<_> = (0..self.layout.rows.len()).filter(requested).collect();
        select_from_runs(self, &self.usable_runs(&rows, &(0..usize::MAX)), quantity).map(|(_, blocks)| blocks)
    }

    /// The rows of a part that have free seats.
    fn free_rows(&self, section: usize) -> Vec<usize> {
        self.layout.sections[section].rows.iter().copied().filter(|row| !self.runs[*row].is_empty()).collect()
    }

    /// The numbers of a row's free seats.
    fn free_numbers(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let first = usize::from(self.layout.rows[row].first);
        self.runs[row].iter().cloned().flatten().map(move |seat| first + seat)
    }

    /// What may be taken of these rows between these numbers.
    fn usable_runs(&self, rows: &[usize], numbers: &FreeRun) -> Vec<UsableRun> {
        let of_row = |row: &usize| {
            let (row, first) = (*row, usize::from(self.layout.rows[*row].first));
            let (start, end) = (numbers.start.saturating_sub(first), numbers.end.saturating_sub(first));
            let runs = &self.runs[row];
            let runs = runs[runs.partition_point(|run| run.end <= start)..].iter();
            runs.take_while(move |run| run.start < end).map(move |run| UsableRun {
                row,
                run: run.clone(),
                within: run.start.max(start)..run.end.min(end),
            })
        };
        rows.iter().flat_map(of_row).collect()
    }
}

/// How many single seats taking these of a run leaves.
fn isolated_seats(run: &FreeRun, seats: &FreeRun) -> u32 {
    u32::from(seats.start - run.start == 1) + u32::from(run.end - seats.end == 1)
}

/// How far the middle of these seats is from the middle of the row, in half seats.
fn distance_from_centre(row: &Row, seats: &FreeRun) -> u32 {
    u32::try_from((seats.start + seats.end).abs_diff(row.seats.len())).unwrap_or(u32::MAX)
}

/// The cheapest way to take so many seats of a piece: side by side, since more gaps make nothing better.
fn cheapest_in_run(free_seats: &FreeSeats, usable: &UsableRun, count: usize) -> Option<(Cost, SeatBlock)> {
    let row = &free_seats.layout.rows[usable.row];
    let last = usable.within.end.checked_sub(count)?;
    let choices = (usable.within.start..=last).map(|start| {
        let seats = start..start + count;
        let rank = u32::from(row.rank) * u32::try_from(count).unwrap_or(u32::MAX);
        (
            [isolated_seats(&usable.run, &seats), rank, distance_from_centre(row, &seats)],
            SeatBlock { row: usable.row, seats },
        )
    });
    choices.min_by_key(|(cost, _)| *cost)
}

/// The cheapest way to take so many seats of some pieces, or none.
fn select_from_runs(
    free_seats: &FreeSeats,
    usable_runs: &[UsableRun],
    quantity: usize,
) -> Option<(Cost, Vec<SeatBlock>)> {
    // For each number of seats the cheapest way to have them of the pieces so far, and which of them make it up.
    let mut ways: Vec<Option<(Cost, Vec<SeatBlock>)>> = vec![None; quantity + 1];
    ways[0] = Some(([0; 3], Vec::new()));
    for usable in usable_runs {
        let options: Vec<_> = (1..=quantity).map_while(|count| cheapest_in_run(free_seats, usable, count)).collect();
        // From the highest number down: what is looked at is still without this piece.
        for total in (1..=quantity).rev() {
            for (count, (cost, block)) in (1..=total).zip(&options) {
                let Some((before, blocks)) = &ways[total - count] else { continue };
                let cost = std::array::from_fn(|index| before[index] + cost[index]);
                if ways[total].as_ref().is_none_or(|(least, _)| cost < *least) {
                    ways[total] = Some((cost, [blocks.as_slice(), std::slice::from_ref(block)].concat()));
                }
            }
        }
    }
    ways.pop().flatten()
}
