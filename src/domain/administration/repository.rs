//! The port of the action log.

use async_trait::async_trait;

use super::ActionEntry;
use crate::domain::{id::ActionId, page::Page, repository_error::RepositoryError};

/// Keeps the action log: entries are added and read, never changed.
#[async_trait]
pub trait ActionLog: Send {
    /// Adds an entry.
    async fn append(&mut self, entry: &ActionEntry) -> Result<(), RepositoryError>;

    /// Entries with ids less than `before`, newest first, at most `limit`. No lock.
    async fn list(&mut self, before: Option<ActionId>, limit: u32) -> Result<Page<ActionEntry>, RepositoryError>;
}
