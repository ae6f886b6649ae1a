//! The adapters of the domain's ports: the database, the system's clock and randomness, cryptography, payment
//! providers, and the senders of events and mail.
//!
//! Nothing here depends on the HTTP API or makes a decision of the domain.

pub mod clock;
mod cloud_event;
mod derived_key;
mod error_source;
pub mod event_sender;
mod http_client;
pub mod kafka;
pub mod mysql;
pub mod password;
pub mod payment_provider;
mod qr;
pub mod randomness;
pub mod seed_vault;
pub mod smtp;
pub mod ticket_signer;
pub mod token_signer;
