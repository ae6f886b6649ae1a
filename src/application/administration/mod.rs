//! Administration of accounts, and the action log that every administrative write is recorded in.

mod action;
mod users;

use std::sync::Arc;

pub(super) use self::action::record;
pub use self::users::UpdateUser;
use super::{Ports, error::AppError, user::UserFacade};
use crate::domain::{administration::ActionEntry, id::ActionId, page::Page};

/// Use cases of administrators about accounts.
pub struct AdministrationFacade {
    ports: Ports,
    users: Arc<UserFacade>,
}

impl AdministrationFacade {
    /// Reads and writes through the back office's connections.
    pub fn new(ports: &Ports, users: Arc<UserFacade>) -> Self {
        Self { ports: ports.for_back_office(), users }
    }

    /// The action log, newest first, older than `before`, at most `limit` entries.
    pub async fn actions(&self, before: Option<ActionId>, limit: u32) -> Result<Page<ActionEntry>, AppError> {
        Ok(self.ports.database.read().await?.actions().list(before, limit).await?)
    }
}
