//! The selection of the best available seats, for a hold that names none.
//!
//! There are three kinds of selection, each used only if the previous kind is impossible:
//!
//! 1. adjacent seats of one row;
//! 2. seats of one section, close together;
//! 3. any seats.
//!
//! Within a kind, a selection that isolates fewer seats is better. The next criteria are the distance between its
//! seats, the distance from the front, and the distance from the middle. The order of the seats breaks the remaining
//! ties, so the same free seats always lead to the same selection (`docs/best-available.md`).

use std::fmt;

use super::seat_layout::{FreeRun, FreeSeats, Row};
use crate::domain::{id::SeatId, points::Points, text::Name};

/// A request for a number of seats that the server selects.
#[derive(Clone, Debug)]
pub struct BestAvailable {
    /// The number of seats, at least 1.
    pub quantity: u32,
    /// The only acceptable grade; `None` for any.
    pub grade: Option<Name>,
    /// The only acceptable section; `None` for any.
    pub section: Option<Name>,
    /// The highest acceptable price of each seat, in points; `None` for any.
    pub max_price: Option<Points>,
}

impl fmt::Display for BestAvailable {
    /// The acceptable seats in words: "seats in section Floor of grade R at 50000 at most".
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

/// Too few acceptable seats are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The number of acceptable seats, free or not.
    pub seats: u32,
    /// The number of acceptable seats that are free: fewer than requested.
    pub free: u32,
}

/// Adjacent seats: positions in one row, with the row's index in the layout.
#[derive(Clone, Debug)]
struct SeatBlock {
    row: usize,
    seats: FreeRun,
}

/// A free run, and the part of it that a selection may use.
#[derive(Clone, Debug)]
struct UsableRun {
    row: usize,
    run: FreeRun,
    within: FreeRun,
}

/// The cost of a selection, compared in this order: seats it isolates, rows from the front, half seats from the middle.
type Cost = [u32; 3];

/// Some rows of one section, and the range of seat numbers that a selection may use in them.
#[derive(Clone, Debug)]
struct SeatRectangle<'a> {
    rows: &'a [usize],
    numbers: FreeRun,
}

/// The cost of a rectangle, compared in this order: size, rank of the first row, half seats from the middle. The size
/// is the depth in rows plus the width in seats. The section's index and the lowest number break ties.
type RectangleCost = [usize; 5];

impl FreeSeats {
    /// Selects the best seats, exactly as many as requested. `Err` if too few acceptable seats are free.
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

    /// The number of free seats per section; `None` for a section that doesn't match the request.
    fn matching_sections(&self, request: &BestAvailable) -> Vec<Option<usize>> {
        let is = |requested: &Option<Name>, name: &str| {
            requested.as_ref().is_none_or(|requested| requested.as_str() == name)
        };
        let sections = self.layout.sections.iter().map(|section| {
            let matches = is(&request.section, &section.name)
                && is(&request.grade, &section.grade)
                && request.max_price.is_none_or(|most| section.price <= most);
            matches.then(|| section.rows.iter().flat_map(|row| &self.runs[*row]).map(FreeRun::len).sum())
        });
        sections.collect()
    }

    fn shortage(&self, sections: &[Option<usize>], free: usize) -> Shortage {
        let rows = self.layout.rows.iter().filter(|row| sections[row.section].is_some());
        let count = |seats: usize| u32::try_from(seats).unwrap_or(u32::MAX);
        Shortage { seats: count(rows.map(|row| row.seats.len()).sum()), free: count(free) }
    }

    /// The best adjacent seats. The search stops after the rank of the first row with a selection that isolates no
    /// seat.
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
                    if best.as_ref().is_none_or(|(lowest_cost, _)| cost < *lowest_cost) {
                        best = Some((cost, SeatBlock { row: index, seats }));
                    }
                }
            }
        }
        best.map(|(_, block)| block)
    }

    /// The best seats of one section, if no row has enough adjacent ones: those in the smallest rectangle with enough
    /// free seats. Its size is the distance of its rows plus the distance of its numbers.
    fn best_in_one_section(&self, sections: &[Option<usize>], quantity: usize) -> Option<Vec<SeatBlock>> {
        let enough = |section: &usize| sections[*section].is_some_and(|free| free >= quantity);
        let sections: Vec<_> =
            (0..sections.len()).filter(enough).map(|section| (section, self.free_rows(section))).collect();
        let isolated: Vec<_> = sections.iter().map(|(_, rows)| self.fewest_isolated_seats(rows, quantity)).collect();
        let fewest = isolated.iter().copied().flatten().min()?;
        let mut best: Option<(RectangleCost, SeatRectangle<'_>)> = None;
        for ((section, rows), _) in sections.iter().zip(&isolated).filter(|(_, isolated)| **isolated == Some(fewest)) {
            for depth in 1..=rows.len() {
                // Each further row is at least one rank deeper.
                if best.as_ref().is_some_and(|([size, ..], _)| depth - 1 > *size) {
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

    /// The fewest seats that a selection from these rows must isolate. Of the runs of one length it examines no more
    /// than a selection could use.
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

    /// Finds the narrowest rectangles of exactly these rows with enough free seats and a selection that isolates
    /// `isolated` seats, and stores the best in `best`.
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
        // A range that suffices still does if it is widened, so the upper end never moves back.
        let mut high = 0;
        for low in (0..numbers.len()).filter(|low| *low == 0 || numbers[low - 1] < numbers[*low]) {
            high = high.max(low);
            // A rectangle as large as the best one is no better if it is further from the front.
            let limit = best.as_ref().map(|([size, row, ..], _)| size + usize::from(front <= *row));
            let is_small = |high: usize| limit.is_none_or(|limit| depth + numbers[high] - numbers[low] < limit);
            while high < numbers.len() && is_small(high) && !suffices(low, high) {
                high += 1;
            }
            if high < numbers.len() && is_small(high) {
                let (lowest, highest) = (numbers[low], numbers[high]);
                let cost = [depth + highest - lowest, front, middle.abs_diff(lowest + highest), section, lowest];
                if best.as_ref().is_none_or(|(lowest_cost, _)| cost < *lowest_cost) {
                    *best = Some((cost, SeatRectangle { rows, numbers: lowest..highest + 1 }));
                }
            }
        }
    }

    /// The best seats of several sections, if no section has enough: those closest to the front.
    fn best_across_sections(&self, sections: &[Option<usize>], quantity: usize) -> Option<Vec<SeatBlock>> {
        let requested = |row: &usize| sections[self.layout.rows[*row].section].is_some();
        let rows: Vec<_> = (0..self.layout.rows.len()).filter(requested).collect();
        select_from_runs(self, &self.usable_runs(&rows, &(0..usize::MAX)), quantity).map(|(_, blocks)| blocks)
    }

    /// The rows of a section with free seats.
    fn free_rows(&self, section: usize) -> Vec<usize> {
        self.layout.sections[section].rows.iter().copied().filter(|row| !self.runs[*row].is_empty()).collect()
    }

    /// The numbers of a row's free seats.
    fn free_numbers(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let first = usize::from(self.layout.rows[row].first);
        self.runs[row].iter().cloned().flatten().map(move |seat| first + seat)
    }

    /// The free runs of these rows, limited to these seat numbers.
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

/// The number of seats that selecting `seats` from a run isolates.
fn isolated_seats(run: &FreeRun, seats: &FreeRun) -> u32 {
    u32::from(seats.start - run.start == 1) + u32::from(run.end - seats.end == 1)
}

/// The distance of these seats' middle from the row's middle, in half seats.
fn distance_from_centre(row: &Row, seats: &FreeRun) -> u32 {
    u32::try_from((seats.start + seats.end).abs_diff(row.seats.len())).unwrap_or(u32::MAX)
}

/// The cheapest selection of `count` seats from one run: adjacent ones, since a gap never lowers the cost.
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

/// The cheapest selection of `quantity` seats from these runs; `None` if they have too few.
fn select_from_runs(
    free_seats: &FreeSeats,
    usable_runs: &[UsableRun],
    quantity: usize,
) -> Option<(Cost, Vec<SeatBlock>)> {
    // For each number of seats, the cheapest selection from the runs so far.
    let mut ways: Vec<Option<(Cost, Vec<SeatBlock>)>> = vec![None; quantity + 1];
    ways[0] = Some(([0; 3], Vec::new()));
    for usable in usable_runs {
        let options: Vec<_> = (1..=quantity).map_while(|count| cheapest_in_run(free_seats, usable, count)).collect();
        // From the highest number down, because lower entries must not contain this run yet.
        for total in (1..=quantity).rev() {
            for (count, (cost, block)) in (1..=total).zip(&options) {
                let Some((before, blocks)) = &ways[total - count] else { continue };
                let cost = std::array::from_fn(|index| before[index] + cost[index]);
                if ways[total].as_ref().is_none_or(|(lowest_cost, _)| cost < *lowest_cost) {
                    ways[total] = Some((cost, [blocks.as_slice(), std::slice::from_ref(block)].concat()));
                }
            }
        }
    }
    ways.pop().flatten()
}
