//! A server that sells concert seats to thousands of concurrent users: fairly, and without ever selling a seat twice or
//! losing a point.
//!
//! ```text
//! interfaces ──► application ──► domain ◄── infrastructure
//!         app.rs wires the layers; cli.rs starts it; no layer imports either
//! ```
//!
//! Read it in this order: [`domain`] (the rules), [`application`] (one use case, one transaction; write lanes),
//! [`infrastructure`] (SQL), [`interfaces`] (HTTP), [`app`] (the composition root). `docs/ARCHITECTURE.md` follows one
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

pub mod verify_draw;
