//! The port of the action log.

use async_trait::async_trait;

use super::ActionEntry;
use crate::domain::{id::ActionId, page::Page, repository_error::RepositoryError};

/// Stores the action log. Entries are immutable.
#[async_trait]
pub trait ActionLog: Send {
    /// Inserts an entry.
    async fn append(&mut self, entry: &ActionEntry) -> Result<(), RepositoryError>;

    /// A page of entries, newest first, with ids below `before`. Takes no lock.
    async fn list(&mut self, before: Option<ActionId>, limit: u32) -> Result<Page<ActionEntry>, RepositoryError>;
}
