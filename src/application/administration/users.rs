//! Administrators' use cases of accounts: search, roles, blocking.

use super::{AdministrationFacade, action::record};
use crate::{
    application::{error::AppError, user::require_other_admin},
    domain::{
        administration::{Action, ActionKind},
        id::UserId,
        page::{Page, PageRequest},
        refusal::Refusal,
        text::Reason,
        user::{Role, UserDetails, UserFilter},
    },
};

/// A change of an account. `None` leaves a field as it is.
#[derive(Clone, Debug)]
pub struct UpdateUser {
    /// The account to change.
    pub user_id: UserId,
    /// The new role.
    pub role: Option<Role>,
    /// Whether the account is blocked afterwards.
    pub blocked: Option<bool>,
    /// The reason, for the action log.
    pub reason: Reason,
}

impl UpdateUser {
    fn details(&self) -> String {
        let role = self.role.map(|role| format!("role {}", role.name()));
        let blocked = self.blocked.map(|blocked| if blocked { "blocked" } else { "unblocked" }.to_owned());
        role.into_iter().chain(blocked).collect::<Vec<_>>().join(", ")
    }
}

impl AdministrationFacade {
    /// A page of the accounts that aren't deleted and match the filter, newest first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn list_users(
        &self,
        filter: &UserFilter,
        page: PageRequest<UserId>,
    ) -> Result<Page<UserDetails>, AppError> {
        let now = self.ports.now();
        Ok(self.ports.database.read().await?.users().list_details(filter, page, now).await?)
    }

    /// The account with this id.
    ///
    /// # Errors
    ///
    /// [`Refusal::UserNotFound`], also if it is deleted.
    pub async fn user(&self, id: UserId) -> Result<UserDetails, AppError> {
        let now = self.ports.now();
        let found = self.ports.database.read().await?.users().find_details(id, now).await?;
        Ok(found.ok_or(Refusal::UserNotFound)?)
    }

    /// Changes an account's role, blocks it, or unblocks it, also the actor's own. Blocking ends its sessions and queue
    /// tokens.
    ///
    /// # Errors
    ///
    /// [`Refusal::UserNotFound`]; [`Refusal::LastAdmin`] if no other administrator would be left;
    /// [`Refusal::Forbidden`] if the actor is no longer an administrator; [`AppError::Contention`] also if a user to be
    /// blocked keeps joining queues meanwhile.
    ///
    /// # Concurrency
    ///
    /// Locks, in this order: the queues and tokens of an account to be blocked; the account; all administrators, if one
    /// would lose its permissions; the actor's account (shared); the account's sessions, if it is blocked. Two
    /// administrators who demote each other cause a deadlock: the database rolls one transaction back, which is then
    /// repeated.
    pub async fn update_user(&self, actor: UserId, command: &UpdateUser) -> Result<UserDetails, AppError> {
        self.ports.retry_on_contention(|| self.try_update_user(actor, command)).await
    }

    async fn try_update_user(&self, actor: UserId, command: &UpdateUser) -> Result<UserDetails, AppError> {
        let id = command.user_id;
        let mut uow = self.ports.database.begin().await?;
        let now = self.ports.now();
        let is_blocked = command.blocked == Some(true);
        let user = if is_blocked {
            self.users.lock_outside_queues(&mut *uow, id, now).await?
        } else {
            uow.users().lock(id).await?
        };
        let user = user.ok_or(Refusal::UserNotFound)?;
        if user.role == Role::Admin && (is_blocked || command.role == Some(Role::User)) {
            require_other_admin(&uow.users().lock_admins().await?, id)?;
        }
        let role = command.role.unwrap_or(user.role);
        let blocked_at = match command.blocked {
            Some(true) => user.blocked_at.or(Some(now)),
            Some(false) => None,
            None => user.blocked_at,
        };
        let action = Action::new(actor, ActionKind::UserUpdated, id);
        let action = action.with_details(command.details()).with_reason(command.reason.clone());
        // Before the change: it may be the actor's own account, which is an administrator's until then.
        record(&self.ports, &mut *uow, now, action).await?;
        uow.users().update_standing(id, role, blocked_at).await?;
        let ended = if is_blocked { uow.sessions().revoke_all(id, None, now).await? } else { Vec::new() };
        let details = uow.users().find_details(id, now).await?.ok_or(Refusal::UserNotFound)?;
        uow.commit().await?;
        self.users.refuse_sessions(&ended, now);
        Ok(details)
    }
}
