//! The waiting queue: joining, asking for one's place, being let in, leaving.

mod admission;
mod draw;
mod estimate;
mod lane;
mod presence;
mod selection;
mod snapshot;
mod stream;

use std::sync::Arc;

use std::time::Duration;

use tokio_util::task::TaskTracker;

use self::{
    estimate::PaceHistories,
    lane::{Command, Joined, QueueWork},
    presence::{PresenceUpdate, PresenceWork},
    snapshot::{QueueSnapshotReader, ReadClaimedTokens, ReadTokens},
    stream::QueueFeeds,
};
use super::{
    Ports,
    error::AppError,
    lane::{LanePorts, LaneSettings, Lanes, Reply},
    loader::Loader,
};
use crate::domain::{
    booking::HoldPolicy,
    clock::Instant,
    id::{ConcertId, QueueTokenId, UserId},
    queue::{EndReason, EstimatedWait, QueueToken, TokenState, require_active},
    refusal::Refusal,
    token::QueueClaims,
};

pub use draw::{DrawInfo, EntrantList};
pub use snapshot::QueueSnapshot;
pub use stream::TokenStream;

/// How long checks of those who follow something are collected before they are read.
const CHECK_COALESCING_DELAY: Duration = Duration::from_millis(50);

/// What a token's owner sees of it.
#[derive(Clone, Debug)]
pub struct QueueTokenInfo {
    /// The token's text.
    pub text: String,
    /// The concert.
    pub concert_id: ConcertId,
    /// What it is.
    pub status: QueueTokenStatus,
    /// When it was given out.
    pub issued_at: Instant,
    /// The instant all of this is true for.
    pub now: Instant,
    /// When to ask again.
    pub poll_after_seconds: u32,
}

/// What a token is, for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueTokenStatus {
    /// The sale hasn't begun.
    Scheduled,
    /// In line.
    Waiting {
        /// 1 for the next to be admitted.
        position: u32,
        /// How long it will take, if people are admitted at all.
        wait: Option<EstimatedWait>,
    },
    /// May book until `expires_at`.
    Active {
        /// The end.
        expires_at: Instant,
    },
    /// Over.
    Ended(EndReason),
}

/// Use cases of the waiting queue.
pub struct QueueFacade {
    ports: Ports,
    lanes: Lanes<QueueWork>,
    presence: Lanes<PresenceWork>,
    snapshots: Loader<QueueSnapshotReader>,
    snapshot_reader: QueueSnapshotReader,
    token_rows: Loader<ReadTokens>,
    claimed_tokens: Loader<ReadClaimedTokens>,
    stream_checks: Loader<ReadClaimedTokens>,
    feeds: QueueFeeds,
    tasks: TaskTracker,
    draw_orders: admission::PendingDrawOrders,
    draw_pages: draw::DrawPages,
    failing_queues: admission::FailingQueues,
}

impl QueueFacade {
    /// Starts the lanes in which people join and leave, and the shared reads of everybody who asks.
    pub fn start(
        ports: Ports,
        policy: HoldPolicy,
        settings: LaneSettings,
        lane_ports: &LanePorts,
        tasks: &TaskTracker,
    ) -> Self {
        let pace_histories = Arc::<PaceHistories>::default();
        let work = QueueWork::new(ports.clone(), policy, Arc::clone(&pace_histories));
        let snapshot_reader = QueueSnapshotReader::new(pace_histories);
        Self {
            lanes: Lanes::new(work, settings, lane_ports.clone()),
            presence: Lanes::new(
                PresenceWork,
                LaneSettings { max_parallel_batches: 1, ..settings },
                lane_ports.clone(),
            ),
            snapshots: Loader::start(snapshot_reader.clone(), &ports.database, tasks),
            snapshot_reader,
            token_rows: Loader::start(ReadTokens, &ports.database, tasks),
            claimed_tokens: Loader::start(ReadClaimedTokens(Arc::clone(&ports.clock)), &ports.database, tasks),
            stream_checks: Loader::start_with_delay(
                ReadClaimedTokens(Arc::clone(&ports.clock)),
                CHECK_COALESCING_DELAY,
                &ports.database,
                tasks,
            ),
            feeds: QueueFeeds::default(),
            tasks: tasks.clone(),
            draw_orders: admission::PendingDrawOrders::default(),
            draw_pages: draw::DrawPages::new(&ports),
            failing_queues: admission::FailingQueues::default(),
            ports,
        }
    }

    /// Reads a token's text; `None` for anything this server didn't give out.
    pub fn read(&self, text: &str) -> Option<QueueClaims> {
        self.ports.signer.read_queue_token(text)
    }

    /// Joins the queue of a concert, or finds the place one has: then the second value is false.
    ///
    /// The queue's row is locked while places are given out.
    pub async fn join(&self, user_id: UserId, concert_id: ConcertId) -> Result<(QueueTokenInfo, bool), AppError> {
        let command = |reply| Command::Join { user_id, concert_id, reply };
        let joined = self.lanes.submit_without_key(Some(concert_id.0), command).await?;
        let Joined { token, created, poll_after_seconds, queue, pace } = joined;
        if !created {
            return Ok((self.info_of(&token, None).await?, false));
        }
        // What a new token was told is stored with it, and the board was read under the queue's lock.
        let info = match self.snapshot_reader.of(queue, pace) {
            Some(snapshot) => self.info_on(Some(&snapshot), &token, poll_after_seconds).await?,
            None => self.info_of(&token, poll_after_seconds).await?,
        };
        Ok((info, true))
    }

    /// Leaves the queue: the place or slot is free at once, and the user's holds for the concert are cancelled.
    /// Leaving again changes nothing.
    pub async fn leave(&self, claims: QueueClaims) -> Result<(), AppError> {
        let command = |reply| Command::Leave { id: claims.id, user_id: claims.user_id, reply };
        self.lanes.submit_without_key(Some(claims.id.concert().0), command).await
    }

    /// What has become of a token. Asking for an active one for the first time claims it.
    ///
    /// For those in line the board that everybody shares says it all, and their own text the rest: only a token at or
    /// before the head, or one that may have ended, is looked up.
    pub async fn token_info(&self, text: &str) -> Result<QueueTokenInfo, AppError> {
        let claims = self.read(text).ok_or(Refusal::QueueTokenInvalid)?;
        if let Some(place) = claims.place
            && let Some(snapshot) = self.snapshots.get(claims.id.concert()).await?
            && snapshot.is_waiting(place)
            && !snapshot.queue().is_over(self.ports.now())
        {
            return self.waiting_info(&claims, text, place, &snapshot).await;
        }
        Box::pin(async {
            let token = self.read_and_claim(&claims).await?;
            self.info_of(&token, None).await
        })
        .await
    }

    /// Reads a token's row, and claims it if it is active and nobody had used it.
    async fn read_and_claim(&self, claims: &QueueClaims) -> Result<QueueToken, AppError> {
        let token = self.read_token(claims.id, claims.user_id).await?;
        self.claim_if_unused(token).await
    }

    /// A user's token. In a database that was restored, a number may have been given out again, to somebody else.
    async fn read_token(&self, id: QueueTokenId, user_id: UserId) -> Result<QueueToken, AppError> {
        let token = self.token_rows.get(id).await?.filter(|token| token.user_id == user_id);
        Ok(token.ok_or(Refusal::QueueTokenInvalid)?)
    }

    /// What the owner of a waiting token sees, by its text and the board; notes that they are there.
    async fn waiting_info(
        &self,
        claims: &QueueClaims,
        text: &str,
        place: u32,
        snapshot: &QueueSnapshot,
    ) -> Result<QueueTokenInfo, AppError> {
        let position = snapshot.position(place);
        let poll_after_seconds = self.poll_after(Some(snapshot), TokenState::Waiting, Some(place));
        self.record_presence(snapshot, (claims.id, claims.user_id), Some(place), poll_after_seconds).await?;
        Ok(QueueTokenInfo {
            text: text.to_owned(),
            concert_id: claims.id.concert(),
            status: QueueTokenStatus::Waiting { position, wait: snapshot.wait(position) },
            issued_at: claims.issued_at,
            now: self.ports.now(),
            poll_after_seconds,
        })
    }

    /// Lets a user's active token through the gate, claiming it if this is its first use; else says why not.
    pub async fn require_active(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        if self.claimed_tokens.get(id).await? == Some(user_id) {
            return Ok(());
        }
        // What is seldom done stands in a box: the future of a request is moved as a whole, and more than once.
        Box::pin(self.first_use(id, user_id)).await
    }

    async fn first_use(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        let token = self.read_token(id, user_id).await?;
        match require_active(&token, self.ports.now()) {
            Ok(_) => self.claim_if_unused(token).await.map(|_| ()),
            Err(refusal) => Err(self.not_active_error(refusal, user_id).await?),
        }
    }

    /// Whether a user's token is active still, for those who follow something by it: thousands ask at once, in no hurry.
    pub async fn check_active(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        if self.stream_checks.get(id).await? == Some(user_id) {
            return Ok(());
        }
        let token = self.read_token(id, user_id).await?;
        require_active(&token, self.ports.now())?;
        Ok(())
    }

    /// Adds the caller's place to a lane's "not yet".
    pub(crate) async fn with_position<T>(&self, reply: Reply<T>, user_id: UserId) -> Result<Reply<T>, AppError> {
        match reply {
            Reply::Unrecorded(Err(refusal @ Refusal::QueueTokenNotActive { .. })) => {
                Err(self.not_active_error(refusal, user_id).await?)
            }
            reply => Ok(reply),
        }
    }

    async fn not_active_error(&self, refusal: Refusal, user_id: UserId) -> Result<AppError, AppError> {
        let Refusal::QueueTokenNotActive { id, place } = refusal else { return Ok(refusal.into()) };
        let snapshot = self.snapshots.get(id.concert()).await?;
        let position = snapshot.as_deref().zip(place).map(|(snapshot, place)| snapshot.position(place));
        let state = if place.is_some() { TokenState::Waiting } else { TokenState::Scheduled };
        let poll_after_seconds = self.poll_after(snapshot.as_deref(), state, place);
        if let Some(snapshot) = snapshot.as_deref() {
            self.record_presence(snapshot, (id, user_id), place, poll_after_seconds).await?;
        }
        Ok(AppError::NotYourTurn { position, poll_after_seconds })
    }

    /// The same token, claimed if it is active and nobody had used it.
    async fn claim_if_unused(&self, token: QueueToken) -> Result<QueueToken, AppError> {
        let now = self.ports.now();
        match token.state_at(now) {
            TokenState::Active(admission) if admission.claimed_at.is_none() => {
                let update = PresenceUpdate::Claim { id: token.id };
                self.presence.submit_without_key(None, |reply| (update, reply)).await?;
                Ok(QueueToken { state: TokenState::Active(admission.claimed(now)), ..token })
            }
            _ => Ok(token),
        }
    }

    /// Reads the board, and says what the owner of a token sees.
    async fn info_of(
        &self,
        token: &QueueToken,
        last_poll_after_seconds: Option<u32>,
    ) -> Result<QueueTokenInfo, AppError> {
        let snapshot = match token.state_at(self.ports.now()) {
            TokenState::Waiting | TokenState::Scheduled => self.snapshots.get(token.id.concert()).await?,
            TokenState::Active(_) | TokenState::Ended(_) => None,
        };
        self.info_on(snapshot.as_deref(), token, last_poll_after_seconds).await
    }

    /// What the owner of a token sees; notes that whoever waits is there, unless they were told before when to ask again.
    async fn info_on(
        &self,
        snapshot: Option<&QueueSnapshot>,
        token: &QueueToken,
        last_poll_after_seconds: Option<u32>,
    ) -> Result<QueueTokenInfo, AppError> {
        let now = self.ports.now();
        let state = token.state_at(now);
        let position = snapshot.zip(token.place).map(|(snapshot, place)| snapshot.position(place));
        let status = match state {
            // The concert is over or was deleted: every place in its queue has ended with it, written or not.
            TokenState::Waiting | TokenState::Scheduled
                if snapshot.is_none_or(|snapshot| snapshot.queue().is_over(now)) =>
            {
                QueueTokenStatus::Ended(EndReason::Expired)
            }
            TokenState::Scheduled => QueueTokenStatus::Scheduled,
            TokenState::Waiting => {
                let position = position.unwrap_or(1);
                // The first estimate is the one that is written down, and judged when its token is let in.
                let initial = token.estimate.filter(|_| last_poll_after_seconds.is_some());
                let wait = initial.or_else(|| snapshot.and_then(|snapshot| snapshot.wait(position)));
                QueueTokenStatus::Waiting { position, wait }
            }
            TokenState::Active(admission) => QueueTokenStatus::Active { expires_at: admission.expires_at },
            TokenState::Ended(ending) => QueueTokenStatus::Ended(ending),
        };
        let poll_after_seconds =
            last_poll_after_seconds.unwrap_or_else(|| self.poll_after(snapshot, state, token.place));
        if let (Some(snapshot), None) = (snapshot, last_poll_after_seconds) {
            let owner = (token.id, token.user_id);
            self.record_presence(snapshot, owner, token.place, poll_after_seconds).await?;
        }
        Ok(QueueTokenInfo {
            text: self.ports.signer.queue_token(&token.claims(), token.key_id),
            concert_id: token.id.concert(),
            poll_after_seconds,
            issued_at: token.issued_at,
            status,
            now,
        })
    }
}
