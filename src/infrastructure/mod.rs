//! What the server calls: the database, the system's clock and randomness, cryptography.
//!
//! Adapters of the domain's ports; nothing of HTTP, and nothing that decides.

pub mod clock;
pub mod event_sender;
pub mod mysql;
pub mod password;
pub mod randomness;
pub mod seed_vault;
pub mod token_signer;
