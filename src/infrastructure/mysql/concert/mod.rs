//! SQL of venues, concerts, performances and seats.

mod concerts;
mod rows;
mod sales;
mod search;
#[cfg(test)]
mod tests;

pub(super) use rows::SeatRow;
