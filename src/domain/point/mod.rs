//! Points: the prepaid balance a user pays with, and its ledger.

mod model;
mod repository;

pub use model::{LedgerEntry, LedgerKind, Wallet};
pub use repository::WalletRepository;
