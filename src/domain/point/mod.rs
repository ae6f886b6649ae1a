//! Points: the prepaid balance that users pay with, and its ledger.

mod model;
mod repository;

pub use model::{Direction, LedgerEntry, LedgerKind, Wallet};
pub use repository::WalletRepository;
