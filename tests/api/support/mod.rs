//! The foundation of the tests: whole servers on a real database, clients of users, an adjustable clock.

mod app;
mod client;
mod connection;
mod database_proxy;
mod document;
mod events;
#[cfg(feature = "kafka")]
mod kafka;
mod payer;
mod processes;
mod qr;
mod race;
mod receiver;
mod sale;
mod servers;
mod smtp;
mod tables;

pub(crate) use app::TestApp;
pub(crate) use client::{Client, PASSWORD, Reply};
pub(crate) use connection::{Connection, with_operations_server, with_server};
pub(crate) use database_proxy::{DatabaseProxy, ProxyMode};
pub(crate) use document::invalid_examples;
pub(crate) use events::{Events, StreamEvent};
#[cfg(feature = "kafka")]
pub(crate) use kafka::{KafkaBroker, KafkaMessage, Topic};
pub(crate) use payer::{SANDBOX, SANDBOX_EVENTS, TOP_UPS, checkout_path, id_of, notification};
pub(crate) use processes::Process;
pub(crate) use qr::{read_png_qr, read_svg_qr};
pub(crate) use race::{SeededRandom, race, tally};
pub(crate) use receiver::{Received, Receiver};
pub(crate) use sale::Sale;
pub(crate) use servers::{Servers, one_and_two_servers, skewed_clocks};
pub(crate) use smtp::{ReceivedMail, ReceivedPicture, SmtpServer};
pub(crate) use tables::Tables;
