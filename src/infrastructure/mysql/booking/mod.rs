//! SQL of bookings, of the claims on seats, and of choosing seats.
//!
//! `rows.rs` makes domain values of rows; `changes.rs` sorts changed bookings by the statements that write them.

mod bookings;
mod changes;
mod claims;
mod live;
mod rows;
mod search;
mod seat_choice;
mod state_writes;
#[cfg(test)]
mod tests;

pub(super) use live::push_is_live;

/// Maximum of seats in one insert: more than two for each command of a full batch.
const SEATS_PER_STATEMENT: usize = 512;
