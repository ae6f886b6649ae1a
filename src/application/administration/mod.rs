//! The administration of accounts, their points and their bookings; exports; and the action log, in which every
//! administrative write is recorded.

mod action;
mod bookings;
mod complimentary;
mod exports;
mod points;
mod users;

use std::sync::Arc;

pub(super) use self::action::record;
pub use self::{complimentary::GiveSeats, users::UpdateUser};
use super::{Ports, error::AppError, settlement::SettlementLanes, user::UserFacade};
use crate::domain::{
    administration::ActionEntry,
    id::ActionId,
    page::{Page, PageRequest},
};

/// Use cases of administrators about accounts, points and bookings.
pub struct AdministrationFacade {
    ports: Ports,
    users: Arc<UserFacade>,
    settlements: Arc<SettlementLanes>,
}

impl AdministrationFacade {
    /// A facade that uses the back office's connections, except that commands that move points go through the
    /// settlement lanes.
    pub fn new(ports: &Ports, users: Arc<UserFacade>, settlements: Arc<SettlementLanes>) -> Self {
        Self { ports: ports.for_back_office(), users, settlements }
    }

    /// A page of the action log, newest first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn actions(&self, page: PageRequest<ActionId>) -> Result<Page<ActionEntry>, AppError> {
        Ok(self.ports.database.read().await?.actions().list(page).await?)
    }
}
