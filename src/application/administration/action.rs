//! The record of administrative writes.

use crate::{
    application::{Ports, error::AppError},
    domain::{administration::Action, clock::Instant, refusal::Refusal, unit_of_work::UnitOfWork, user::Role},
};

/// Records an administrative write in its transaction.
///
/// # Errors
///
/// [`Refusal::Forbidden`] if the actor is no longer an administrator.
///
/// # Concurrency
///
/// Locks the actor's row (shared) until the transaction ends, so that a demotion is committed before the write or after
/// it.
pub(in crate::application) async fn record(
    ports: &Ports,
    uow: &mut dyn UnitOfWork,
    now: Instant,
    action: Action,
) -> Result<(), AppError> {
    if uow.users().share_role(action.actor).await? != Some(Role::Admin) {
        return Err(Refusal::Forbidden.into());
    }
    Ok(uow.actions().append(&ports.action_entry(now, action)).await?)
}
