//! Who is there: written down for those near the head, so that it costs as admission does and not as the crowd.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{QueueFacade, QueueSnapshot};
use crate::{
    application::{
        error::AppError,
        lane::{Decisions, LaneWork, ReplyTo},
    },
    domain::{
        clock::{Clock, Instant},
        id::{QueueTokenId, UserId},
        queue::{TokenState, poll_after, poll_after_opening, present_until},
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// What somebody's asking tells about them.
#[derive(Clone, Copy, Debug)]
pub(super) enum PresenceUpdate {
    /// An admission was used for the first time.
    Claim { id: QueueTokenId },
    /// The user of a token in line is there until then.
    Present { id: QueueTokenId, user_id: UserId, until: Instant },
}

/// Writes these down, whoever has the queue's lock.
pub(super) struct PresenceWork;

#[async_trait]
impl LaneWork for PresenceWork {
    type Command = (PresenceUpdate, ReplyTo<()>);

    const NAME: &'static str = "presence";

    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&Self::Command],
    ) -> Result<Decisions, RepositoryError> {
        let mut claims = BTreeSet::new();
        let mut presence = BTreeMap::new();
        for (update, _) in commands {
            match *update {
                PresenceUpdate::Claim { id } => {
                    claims.insert(id);
                }
                PresenceUpdate::Present { id, user_id, until } => {
                    presence.insert(id, (user_id, until));
                }
            }
        }
        if !claims.is_empty() && !presence.is_empty() {
            // Two statements take these locks; all of them are taken in ascending order first.
            let ids: BTreeSet<_> = claims.iter().chain(presence.keys()).copied().collect();
            uow.queue_tokens().lock_tokens(&ids.into_iter().collect::<Vec<_>>()).await?;
        }
        let at = clock.now();
        uow.queue_tokens().claim_tokens(&claims.into_iter().collect::<Vec<_>>(), at).await?;
        let presence: Vec<_> = presence.into_iter().map(|(id, (user_id, until))| (id, user_id, until)).collect();
        uow.queue_tokens().update_presence(&presence).await?;
        Ok(Decisions { at, decisions: commands.iter().map(|(_, reply)| reply.decide(Ok(()))).collect() })
    }
}

impl QueueFacade {
    /// Notes that somebody who waits, or waits for the opening, is there and will ask again after so many seconds: for
    /// three times as long nobody passes over the token. For those far from the head it does nothing, and for those who
    /// don't wait. A clock that is behind doesn't shorten anybody's presence.
    pub(super) async fn record_presence(
        &self,
        snapshot: &QueueSnapshot,
        (id, user_id): (QueueTokenId, UserId),
        place: Option<u32>,
        poll_after_seconds: u32,
    ) -> Result<(), AppError> {
        if !snapshot.queue().stores_presence_at(place) {
            return Ok(());
        }
        let until = present_until(snapshot.queue().monotonic_now(self.ports.now()), poll_after_seconds);
        let update = PresenceUpdate::Present { id, user_id, until };
        Box::pin(self.presence.submit_without_key(None, |reply| (update, reply))).await
    }

    /// When to ask again: sooner near the head.
    pub(super) fn poll_after(&self, snapshot: Option<&QueueSnapshot>, state: TokenState, place: Option<u32>) -> u32 {
        let randomness = &*self.ports.randomness;
        match (snapshot, state, place) {
            (Some(snapshot), TokenState::Waiting, Some(place)) => {
                poll_after(&snapshot.queue().settings, snapshot.position(place), randomness)
            }
            (Some(snapshot), TokenState::Scheduled, _) => {
                let queue = snapshot.queue();
                poll_after_opening(&queue.settings, queue.last_number, self.ports.now(), randomness)
            }
            // Nothing is due to change: an active token has its deadline, and one that is over is over.
            _ => 15,
        }
    }
}
