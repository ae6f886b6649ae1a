//! Presence. It is stored only for tokens near the head, so its cost depends on the rate of admission and not on the
//! queue's length.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::snapshot::QueueSnapshot;
use crate::{
    application::{
        Ports,
        error::AppError,
        lane::{Decisions, LanePorts, LaneSettings, LaneWork, Lanes, ReplyTo},
    },
    domain::{
        clock::{Clock, Instant},
        id::{QueueTokenId, UserId},
        queue::{TokenState, poll_after, poll_after_opening, present_until},
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// The interval between polls of active and ended tokens, and of tokens whose concert was deleted.
const OTHER_POLL_SECONDS: u32 = 15;

/// A write that a poll or a first use causes.
#[derive(Clone, Copy, Debug)]
pub(super) enum PresenceUpdate {
    /// An admission was used for the first time.
    Claim { id: QueueTokenId },
    /// The user of a waiting or scheduled token counts as present until `until`.
    Present { id: QueueTokenId, user_id: UserId, until: Instant },
}

/// Writes presence and claims without the queue's lock.
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
            // Two statements write these rows, so all of them are locked in ascending order first.
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

/// Records presence and claims through a lane of its own.
pub(super) struct PresenceRecorder {
    ports: Ports,
    lanes: Lanes<PresenceWork>,
}

impl PresenceRecorder {
    pub(super) fn new(ports: &Ports, settings: LaneSettings, lane_ports: &LanePorts) -> Self {
        let settings = LaneSettings { max_parallel_batches: 1, ..settings };
        Self { ports: ports.clone(), lanes: Lanes::new(PresenceWork, settings, lane_ports.clone()) }
    }

    /// Records the first use of an active token.
    pub(super) async fn claim(&self, id: QueueTokenId) -> Result<(), AppError> {
        let update = PresenceUpdate::Claim { id };
        self.lanes.submit_without_key(None, |reply| (update, reply)).await
    }

    /// Records that the user of a waiting or scheduled token is present for three times `poll_after_seconds`, the
    /// interval that the response recommends. Meanwhile admission doesn't pass over the token. Has no effect for tokens
    /// outside of the lookahead. The presence starts at the queue's own time, so a clock that is behind doesn't shorten
    /// it.
    pub(super) async fn record(
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
        Box::pin(self.lanes.submit_without_key(None, |reply| (update, reply))).await
    }

    /// The seconds until the next poll of a token. Near the head they are fewer.
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
            // An active token changes only at its deadline, and an ended one never does.
            _ => OTHER_POLL_SECONDS,
        }
    }
}
