//! What the tests stand on: whole servers on a real database, clients that say who acts, a clock that they move.

mod app;
mod client;
mod connection;
mod document;
mod events;
mod processes;
mod race;
mod receiver;
mod sale;
mod servers;
mod tables;
mod wire;

pub(crate) use app::TestApp;
pub(crate) use client::{Client, Reply};
pub(crate) use connection::{Connection, serving, serving_operations_apart};
pub(crate) use document::wrong_examples;
pub(crate) use events::{Events, StreamEvent};
pub(crate) use processes::Process;
pub(crate) use race::{Die, race, tally};
pub(crate) use receiver::{Received, Receiver};
pub(crate) use sale::Sale;
pub(crate) use servers::{Servers, both_ways, skewed};
pub(crate) use tables::Tables;
pub(crate) use wire::{Way, Wire};
