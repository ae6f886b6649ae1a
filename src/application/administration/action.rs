//! Recording administrative writes.

use crate::{
    application::{Ports, error::AppError},
    domain::{
        administration::{Action, ActionEntry},
        clock::Instant,
        id::ActionId,
        randomness::new_uuid,
        refusal::Refusal,
        unit_of_work::UnitOfWork,
        user::Role,
    },
};

/// Records an administrative write in its transaction.
///
/// # Errors
///
/// [`Refusal::Forbidden`] when the actor is no administrator any more: a write and a demotion at the same time come one
/// after the other.
///
/// # Concurrency
///
/// Shares the actor's row until the transaction ends.
pub(in crate::application) async fn record(
    ports: &Ports,
    uow: &mut dyn UnitOfWork,
    now: Instant,
    action: Action,
) -> Result<(), AppError> {
    if uow.users().share_role(action.actor).await? != Some(Role::Admin) {
        return Err(Refusal::Forbidden.into());
    }
    let id = ActionId(new_uuid(&*ports.randomness, now));
    Ok(uow.actions().append(&ActionEntry { id, action, created_at: now }).await?)
}
