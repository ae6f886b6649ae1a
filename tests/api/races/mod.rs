//! Races: what people do at the same instant, against one server and against two on one database.
//!
//! Each test says what may come of it, lets it come, and then holds the whole database against the invariants.

mod choices;
mod connections;
mod expiry;
mod holds;
mod lanes;
mod payments;
mod points;
mod promoter;
mod queue;
mod sell_out;
