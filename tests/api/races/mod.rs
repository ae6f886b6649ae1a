//! Races: concurrent requests against one server, and against two servers on one database.
//!
//! Each test runs a race, asserts its possible results, and then checks every invariant of the database.

mod administration;
mod blocks;
mod choices;
mod connections;
mod expiry;
mod holds;
mod lanes;
mod password_reset;
mod payments;
mod points;
mod promoter;
mod queue;
mod schedules;
mod sell_out;
mod tickets;
mod top_ups;
