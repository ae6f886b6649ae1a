//! A server through which thousands of people at once buy seats for a concert: fairly, without a seat ever sold twice
//! or a point ever lost.
//!
//! ```text
//! interfaces ──► application ──► domain ◄── infrastructure
//!         app.rs wires the layers; cli.rs starts it; no layer names either
//! ```
//!
//! Read it in this order: [`domain`] (the rules), [`application`] (one use case, one transaction; write lanes),
//! [`infrastructure`] (SQL), [`interfaces`] (HTTP), [`app`] (how they are wired). `docs/ARCHITECTURE.md` follows one
//! hold through all of them.

pub mod domain;

pub mod application;

pub mod infrastructure;

pub mod interfaces;

pub mod config;

pub mod app;

pub mod cli;

pub mod demo;

pub mod shutdown;

pub mod telemetry;

/// Checking a draw from what was published.
pub mod verify_draw;
