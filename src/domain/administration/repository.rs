//! The port of the action log.

use async_trait::async_trait;

use super::ActionEntry;
use crate::domain::{
    id::ActionId,
    page::{Page, PageRequest},
    repository_error::RepositoryError,
};

/// Stores the action log. Entries are immutable.
#[async_trait]
pub trait ActionLog: Send {
    /// Inserts an entry.
    async fn append(&mut self, entry: &ActionEntry) -> Result<(), RepositoryError>;

    /// A page of entries, newest first. Takes no lock.
    async fn list(&mut self, page: PageRequest<ActionId>) -> Result<Page<ActionEntry>, RepositoryError>;
}
