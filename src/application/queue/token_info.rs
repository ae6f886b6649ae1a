//! The state, the position and the estimated wait of tokens, for their owners.
//!
//! A waiting token is described from the shared snapshot and its own signed text. Only a token without a place in its
//! text, or one that may no longer wait, is read from the database.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{
    presence::PresenceRecorder,
    snapshot::{QueueSnapshot, QueueSnapshotReader, ReadTokens},
};
use crate::{
    application::{Ports, error::AppError, loader::Loader},
    domain::{
        clock::Instant,
        id::{ConcertId, QueueTokenId, UserId},
        queue::{EndReason, EstimatedWait, QueueToken, TokenState},
        refusal::Refusal,
        token::QueueClaims,
    },
};

/// A queue token as its owner sees it.
#[derive(Clone, Debug)]
pub struct QueueTokenInfo {
    /// The signed text of the token.
    pub text: String,
    /// The concert whose queue it is for.
    pub concert_id: ConcertId,
    /// The state that follows from the token and its queue.
    pub status: QueueTokenStatus,
    /// The instant at which the user joined.
    pub issued_at: Instant,
    /// The instant of this state.
    pub now: Instant,
    /// The seconds after which the client should poll again.
    pub poll_after_seconds: u32,
}

/// The state of a token, for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueTokenStatus {
    /// The draw isn't made yet.
    Scheduled,
    /// The token waits in its place.
    Waiting {
        /// 1 for the next to be admitted.
        position: u32,
        /// The estimate; `None` while the queue is paused.
        wait: Option<EstimatedWait>,
    },
    /// The token may use gated operations.
    Active {
        /// The deadline of the token.
        expires_at: Instant,
    },
    /// The token has ended.
    Ended(EndReason),
}

/// Reads tokens and describes them.
pub struct QueueTokenFacade {
    ports: Ports,
    snapshots: Arc<Loader<QueueSnapshotReader>>,
    token_rows: Loader<ReadTokens>,
    presence: PresenceRecorder,
}

impl QueueTokenFacade {
    pub(super) fn start(
        ports: &Ports,
        snapshots: Arc<Loader<QueueSnapshotReader>>,
        presence: PresenceRecorder,
        tasks: &TaskTracker,
    ) -> Self {
        let token_rows = Loader::start(ReadTokens, &ports.database, tasks);
        Self { ports: ports.clone(), snapshots, token_rows, presence }
    }

    /// The claims of a token's text; `None` unless this server signed it.
    pub fn read_claims(&self, text: &str) -> Option<QueueClaims> {
        self.ports.signer.read_queue_token(text)
    }

    /// The current state of a token. The first poll of an active token claims it; each poll of a waiting one records
    /// its user's presence.
    ///
    /// # Errors
    ///
    /// [`Refusal::QueueTokenInvalid`]. [`AppError::Overloaded`] if too many reads wait or the inbox of the presence
    /// lane is full.
    pub async fn token_info(&self, text: &str) -> Result<QueueTokenInfo, AppError> {
        let claims = self.read_claims(text).ok_or(Refusal::QueueTokenInvalid)?;
        if let Some(place) = claims.place
            && let Some(snapshot) = self.snapshot(claims.id.concert()).await?
            && self.is_waiting(&snapshot, place)
        {
            return self.waiting_info(&claims, text, place, &snapshot).await;
        }
        Box::pin(async {
            let token = self.read_and_claim(&claims).await?;
            self.info_of(&token, None).await
        })
        .await
    }

    /// Reads the snapshot of a queue; `None` once its concert is deleted.
    pub(super) async fn snapshot(&self, id: ConcertId) -> Result<Option<Arc<QueueSnapshot>>, AppError> {
        self.snapshots.get(id).await
    }

    /// Whether the snapshot proves that the token in this place waits.
    pub(super) fn is_waiting(&self, snapshot: &QueueSnapshot, place: u32) -> bool {
        snapshot.is_waiting(place) && !snapshot.queue().is_over(self.ports.now())
    }

    /// Reads a token's row, and claims the token if it is active and unused.
    pub(super) async fn read_and_claim(&self, claims: &QueueClaims) -> Result<QueueToken, AppError> {
        let token = self.read_token(claims.id, claims.user_id).await?;
        self.claim_if_unused(token).await
    }

    /// Reads a user's token. [`Refusal::QueueTokenInvalid`] for a token of another user: a restored database may issue
    /// a number again.
    pub(super) async fn read_token(&self, id: QueueTokenId, user_id: UserId) -> Result<QueueToken, AppError> {
        let token = self.token_rows.get(id).await?.filter(|token| token.user_id == user_id);
        Ok(token.ok_or(Refusal::QueueTokenInvalid)?)
    }

    /// Describes a waiting token from its text and the snapshot, and records its user's presence.
    pub(super) async fn waiting_info(
        &self,
        claims: &QueueClaims,
        text: &str,
        place: u32,
        snapshot: &QueueSnapshot,
    ) -> Result<QueueTokenInfo, AppError> {
        let position = snapshot.position(place);
        let poll_after_seconds = self.presence.poll_after(Some(snapshot), TokenState::Waiting, Some(place));
        self.presence.record(snapshot, (claims.id, claims.user_id), Some(place), poll_after_seconds).await?;
        Ok(QueueTokenInfo {
            text: text.to_owned(),
            concert_id: claims.id.concert(),
            status: QueueTokenStatus::Waiting { position, wait: snapshot.wait(position) },
            issued_at: claims.issued_at,
            now: self.ports.now(),
            poll_after_seconds,
        })
    }

    /// Turns [`Refusal::QueueTokenNotActive`] into [`AppError::NotYourTurn`] with the position, and records the user's
    /// presence. Other refusals stay as they are.
    pub(super) async fn not_active_error(&self, refusal: Refusal, user_id: UserId) -> Result<AppError, AppError> {
        let Refusal::QueueTokenNotActive { id, place } = refusal else { return Ok(refusal.into()) };
        let snapshot = self.snapshot(id.concert()).await?;
        let position = snapshot.as_deref().zip(place).map(|(snapshot, place)| snapshot.position(place));
        let state = if place.is_some() { TokenState::Waiting } else { TokenState::Scheduled };
        let poll_after_seconds = self.presence.poll_after(snapshot.as_deref(), state, place);
        if let Some(snapshot) = snapshot.as_deref() {
            self.presence.record(snapshot, (id, user_id), place, poll_after_seconds).await?;
        }
        Ok(AppError::NotYourTurn { position, poll_after_seconds })
    }

    /// Claims the token if it is active and unused.
    pub(super) async fn claim_if_unused(&self, token: QueueToken) -> Result<QueueToken, AppError> {
        let now = self.ports.now();
        match token.state_at(now) {
            TokenState::Active(admission) if admission.claimed_at.is_none() => {
                self.presence.claim(token.id).await?;
                Ok(QueueToken { state: TokenState::Active(admission.claimed(now)), ..token })
            }
            _ => Ok(token),
        }
    }

    /// Describes a token. A snapshot is read only for a waiting or scheduled one. See [`info_on`](Self::info_on).
    pub(super) async fn info_of(
        &self,
        token: &QueueToken,
        last_poll_after_seconds: Option<u32>,
    ) -> Result<QueueTokenInfo, AppError> {
        let snapshot = match token.state_at(self.ports.now()) {
            TokenState::Waiting | TokenState::Scheduled => self.snapshot(token.id.concert()).await?,
            TokenState::Active(_) | TokenState::Ended(_) => None,
        };
        self.info_on(snapshot.as_deref(), token, last_poll_after_seconds).await
    }

    /// Describes a token, and records the presence of a waiting user. `last_poll_after_seconds` is an interval that was
    /// already recommended, with the presence recorded; then it is only repeated.
    pub(super) async fn info_on(
        &self,
        snapshot: Option<&QueueSnapshot>,
        token: &QueueToken,
        last_poll_after_seconds: Option<u32>,
    ) -> Result<QueueTokenInfo, AppError> {
        let now = self.ports.now();
        let state = token.state_at(now);
        let position = snapshot.zip(token.place).map(|(snapshot, place)| snapshot.position(place));
        let status = match state {
            // The concert is over or was deleted, which ends every token, even if that isn't written yet.
            TokenState::Waiting | TokenState::Scheduled
                if snapshot.is_none_or(|snapshot| snapshot.queue().is_over(now)) =>
            {
                QueueTokenStatus::Ended(EndReason::Expired)
            }
            TokenState::Scheduled => QueueTokenStatus::Scheduled,
            TokenState::Waiting => {
                let position = position.unwrap_or(1);
                // The first answer contains the stored estimate, with which the actual wait is compared.
                let initial = token.estimate.filter(|_| last_poll_after_seconds.is_some());
                let wait = initial.or_else(|| snapshot.and_then(|snapshot| snapshot.wait(position)));
                QueueTokenStatus::Waiting { position, wait }
            }
            TokenState::Active(admission) => QueueTokenStatus::Active { expires_at: admission.expires_at },
            TokenState::Ended(ending) => QueueTokenStatus::Ended(ending),
        };
        let poll_after_seconds =
            last_poll_after_seconds.unwrap_or_else(|| self.presence.poll_after(snapshot, state, token.place));
        if let (Some(snapshot), None) = (snapshot, last_poll_after_seconds) {
            let owner = (token.id, token.user_id);
            self.presence.record(snapshot, owner, token.place, poll_after_seconds).await?;
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
