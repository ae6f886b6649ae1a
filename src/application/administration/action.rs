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
/// [`Refusal::Forbidden`] if the actor is no administrator any more.
///
/// # Concurrency
///
/// Locks the actor's row (shared) until the transaction ends, so that a demotion comes before the write or after it.
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
