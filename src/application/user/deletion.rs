//! The deletion of an account.

use super::facade::UserFacade;
use crate::{
    application::{Ports, draw, error::AppError},
    domain::{
        clock::Instant,
        id::{ConcertId, UserId},
        points::Points,
        queue::{EndReason, TokenState},
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
        user::{Role, User},
    },
};

impl UserFacade {
    /// Deletes an account: revokes its logins, ends its queue tokens, closes its wallet, and erases personal data.
    /// Bookings, payments, the ledger and the balance of the closed wallet stay.
    ///
    /// # Errors
    ///
    /// [`Refusal::UserHasLiveBookings`]; [`Refusal::BalanceNotZero`] unless `forfeits_balance`; [`Refusal::LastAdmin`]
    /// for the only administrator; [`Refusal::Unauthenticated`] if the account is deleted already;
    /// [`AppError::Contention`] also if the user keeps joining queues meanwhile.
    ///
    /// # Concurrency
    ///
    /// Locks the queues of the user's tokens, the tokens, the account, all administrators if it is one, the wallet and
    /// the sessions, in this order. A hold needs the lock of an active token, so none can follow once the tokens have
    /// ended. A concurrent charge is committed before the wallet is closed, or is refused.
    pub async fn delete_account(&self, user_id: UserId, forfeits_balance: bool) -> Result<(), AppError> {
        self.ports.retry_on_contention(|| self.try_delete_account(user_id, forfeits_balance)).await
    }

    async fn try_delete_account(&self, user_id: UserId, forfeits_balance: bool) -> Result<(), AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        let user = self.lock_outside_queues(&mut *uow, user_id, now).await?.ok_or(Refusal::Unauthenticated)?;
        if user.role == Role::Admin {
            require_other_admin(&uow.users().lock_admins().await?, user_id)?;
        }
        if uow.bookings().user_has_live(user_id, now).await? {
            return Err(Refusal::UserHasLiveBookings.into());
        }
        // The balance is read under the wallet's lock. A later change of it finds the wallet closed.
        uow.wallets().close(user_id, now).await?;
        let balance = uow.wallets().find_or_empty(user_id).await?.balance;
        if balance != Points::ZERO && !forfeits_balance {
            return Err(Refusal::BalanceNotZero { balance }.into());
        }
        let sessions = uow.sessions().revoke_all(user_id, None, now).await?;
        uow.sessions().erase_user_agents(user_id).await?;
        uow.codes().delete_of(user_id).await?;
        uow.users().erase(user_id, now).await?;
        uow.commit().await?;
        self.revocations.insert(&sessions, now);
        Ok(())
    }

    /// Ends the user's tokens in every queue, and locks the account. [`RepositoryError::Contention`] if the user joined
    /// a queue meanwhile. A later join waits for the account's lock.
    pub(in crate::application) async fn lock_outside_queues(
        &self,
        uow: &mut dyn UnitOfWork,
        user_id: UserId,
        now: Instant,
    ) -> Result<Option<User>, RepositoryError> {
        let concerts = uow.queue_tokens().list_live_concerts_of(user_id).await?;
        leave_queues(&self.ports, uow, user_id, &concerts, now).await?;
        let user = uow.users().lock(user_id).await?;
        if uow.queue_tokens().list_live_concerts_of(user_id).await?.is_empty() {
            Ok(user)
        } else {
            Err(RepositoryError::stale("a place in a queue"))
        }
    }
}

/// [`Refusal::LastAdmin`] if `id` is the only one among these administrators.
pub(in crate::application) fn require_other_admin(admins: &[UserId], id: UserId) -> Result<(), Refusal> {
    if admins == [id] { Err(Refusal::LastAdmin) } else { Ok(()) }
}

/// Locks the queues of these concerts, and ends the user's tokens in them. [`RepositoryError::Contention`] if the user
/// has joined another queue meanwhile.
async fn leave_queues(
    ports: &Ports,
    uow: &mut dyn UnitOfWork,
    user_id: UserId,
    concerts: &[ConcertId],
    now: Instant,
) -> Result<(), RepositoryError> {
    // The queue of a deleted concert isn't locked, since its tokens are never admitted.
    let mut queues = if concerts.is_empty() { Vec::new() } else { uow.queues().lock_queues(concerts).await? };
    for queue in &mut queues {
        draw::make_draw_if_due(ports, uow, queue, now).await?;
    }
    // Departed tokens are found by their time of leaving, which must not precede the last decision of their queue.
    let now = queues.iter().fold(now, |now, queue| queue.monotonic_now(now));
    let mut tokens = uow.queue_tokens().lock_tokens_of(user_id).await?;
    for token in &mut tokens {
        let concert = token.id.concert();
        if !concerts.contains(&concert) {
            return Err(RepositoryError::stale("a place in a queue"));
        }
        if let Some(queue) = queues.iter_mut().find(|queue| queue.concert_id == concert) {
            *token = queue.remove_entrant(*token);
            queue.departed_count += u32::from(token.state == TokenState::Waiting);
            queue.last_decision_at = now;
        }
        token.state = match token.state_at(now) {
            TokenState::Scheduled | TokenState::Waiting | TokenState::Active(_) => TokenState::Ended(EndReason::Left),
            ended @ TokenState::Ended(_) => ended,
        };
    }
    uow.queue_tokens().update_tokens(&tokens, now).await?;
    for queue in &queues {
        uow.queues().update_queue(queue).await?;
    }
    Ok(())
}
