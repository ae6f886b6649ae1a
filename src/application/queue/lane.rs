//! The lane of joins and leaves: concurrent commands for a concert share one transaction.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;

use super::{command::Command, estimate::PaceHistories, locked_queue::lock_queues_and_tokens};
use crate::{
    application::{
        Ports,
        lane::{Decisions, LaneWork},
        settlement::{self, RowsToLock},
    },
    domain::{
        booking::HoldPolicy,
        clock::{Clock, Instant},
        id::{ConcertId, UserId},
        refusal::Refusal,
        repository_error::RepositoryError,
        settlement::SettlementBatch,
        unit_of_work::UnitOfWork,
    },
};

/// Decides joins and leaves under the locks of their queues.
pub(super) struct QueueWork {
    ports: Ports,
    policy: HoldPolicy,
    /// Whether a join requires a verified e-mail address.
    requires_verified_email: bool,
    pace_histories: Arc<PaceHistories>,
}

impl QueueWork {
    pub(super) fn new(
        ports: Ports,
        policy: HoldPolicy,
        requires_verified_email: bool,
        pace_histories: Arc<PaceHistories>,
    ) -> Self {
        Self { ports, policy, requires_verified_email, pace_histories }
    }
}

#[async_trait]
impl LaneWork for QueueWork {
    type Command = Command;

    const NAME: &'static str = "queue";

    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&Command],
    ) -> Result<Decisions, RepositoryError> {
        let (now, mut locked_queues) =
            lock_queues_and_tokens(&self.ports, uow, &self.pace_histories, clock, commands).await?;
        let mut accounts = lock_joining_accounts(uow, commands).await?;
        if !self.requires_verified_email {
            for may_join in accounts.values_mut() {
                *may_join = true;
            }
        }
        let decide = |command: &&Command| {
            let locked_queue = locked_queues.get_mut(&command.concert_id());
            match command {
                Command::Join { user_id, reply, .. } => reply.decide(match locked_queue {
                    Some(locked_queue) => locked_queue.join(*user_id, &accounts, &self.ports, now),
                    None => Err(Refusal::ConcertNotFound),
                }),
                Command::Leave { id, user_id, reply } => reply.decide(match locked_queue {
                    Some(locked_queue) => locked_queue.leave(*id, *user_id, now),
                    // The concert was deleted, which has ended every token of its queue.
                    None => Ok(()),
                }),
            }
        };
        let decisions = commands.iter().map(decide).collect();
        let holders =
            locked_queues.values().flat_map(|locked_queue| locked_queue.leaving_active_users.iter().copied()).collect();
        for locked_queue in locked_queues.into_values() {
            locked_queue.store(uow, now).await?;
        }
        self.cancel_holds(uow, now, holders).await?;
        Ok(Decisions { at: now, decisions })
    }
}

impl QueueWork {
    /// Cancels the holds of users who left while active.
    async fn cancel_holds(
        &self,
        uow: &mut dyn UnitOfWork,
        now: Instant,
        holders: BTreeSet<(UserId, ConcertId)>,
    ) -> Result<(), RepositoryError> {
        if holders.is_empty() {
            return Ok(());
        }
        let users: BTreeSet<UserId> = holders.iter().map(|(user_id, _)| *user_id).collect();
        let held = uow.bookings().list_holds_of_users(&users.iter().copied().collect::<Vec<_>>(), now).await?;
        let bookings = held
            .into_iter()
            .filter(|held| holders.contains(&(held.user_id, held.concert_id)))
            .map(|held| held.id)
            .collect();
        let rows = RowsToLock { bookings, holders: users, ..RowsToLock::default() };
        let state = settlement::lock(uow, &rows).await?;
        let mut batch = SettlementBatch::new(now, self.policy, state);
        for (user_id, concert_id) in holders {
            for booking_id in batch.holds_of(user_id, concert_id) {
                batch.cancel_hold(user_id, booking_id);
            }
        }
        settlement::store_changes(&self.ports, uow, now, batch).await
    }
}

/// Locks the accounts of joining users (shared) until their tokens are committed. Returns those that exist and aren't
/// blocked, each with whether its address is verified. A deletion is committed before, so that the join is refused, or
/// after it, so that it ends the token.
async fn lock_joining_accounts(
    uow: &mut dyn UnitOfWork,
    commands: &[&Command],
) -> Result<HashMap<UserId, bool>, RepositoryError> {
    let joining = commands.iter().filter_map(|command| match command {
        Command::Join { user_id, .. } => Some(*user_id),
        Command::Leave { .. } => None,
    });
    let joining: Vec<_> = joining.collect::<BTreeSet<_>>().into_iter().collect();
    Ok(uow.users().share(&joining).await?.into_iter().collect())
}
