//! The waiting queue: joining, asking for one's place, being let in, leaving.

mod admission;
mod board;
mod draw;
mod lane;

use tokio_util::task::TaskTracker;

use self::{
    board::{Boards, TokenRows},
    lane::{ClaimWork, Command, Outcome, QueueWork},
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
    queue::{Ending, QueueMode, QueueToken, TokenState, require_active},
    randomness::below,
    refusal::Refusal,
    token::QueueClaims,
};

pub use board::Board;
pub use draw::DrawInfo;

/// What a token's owner sees of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The token's text.
    pub text: String,
    /// The concert.
    pub concert_id: ConcertId,
    /// What it is.
    pub status: PlaceStatus,
    /// When it was given out.
    pub issued_at: Instant,
    /// The instant all of this is true for.
    pub now: Instant,
    /// When to ask again.
    pub poll_after_seconds: u32,
}

/// What a token is, for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceStatus {
    /// The sale hasn't begun.
    Scheduled,
    /// In line.
    Waiting {
        /// 1 for the next to be admitted.
        position: u32,
        /// How long it will take, if people are admitted at all.
        wait: Option<Wait>,
    },
    /// May book until `expires_at`.
    Active {
        /// The end.
        expires_at: Instant,
    },
    /// Over.
    Ended(Ending),
}

/// An estimate of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Half of the people in this place wait no longer.
    pub p50_seconds: u32,
    /// Nine in ten wait no longer.
    pub p90_seconds: u32,
}

/// Use cases of the waiting queue.
pub struct QueueFacade {
    ports: Ports,
    lanes: Lanes<QueueWork>,
    claims: Lanes<ClaimWork>,
    boards: Loader<Boards>,
    rows: Loader<TokenRows>,
    orders: admission::Orders,
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
        Self {
            lanes: Lanes::start(QueueWork::new(ports.clone(), policy), settings, lane_ports),
            claims: Lanes::start(ClaimWork, LaneSettings { lanes: 1, ..settings }, lane_ports),
            boards: Loader::start(Boards::default(), &ports.database, tasks),
            rows: Loader::start(TokenRows, &ports.database, tasks),
            orders: admission::Orders::default(),
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
    pub async fn join(&self, user_id: UserId, concert_id: ConcertId) -> Result<(Place, bool), AppError> {
        let command = Command::Join { user_id, concert_id };
        match self.lanes.decide(concert_id.0, command).await? {
            Outcome::Joined { token, created } => Ok((self.place_of(&token).await?, created)),
            Outcome::Left => Err(AppError::Overloaded),
        }
    }

    /// Leaves the queue: the place or slot is free at once, and the user's holds for the concert are cancelled.
    /// Leaving again changes nothing.
    pub async fn leave(&self, claims: QueueClaims) -> Result<(), AppError> {
        let command = Command::Leave { id: claims.id, user_id: claims.user_id };
        self.lanes.decide(claims.id.concert().0, command).await.map(|_| ())
    }

    /// What has become of a token. Asking for an active one for the first time claims it.
    pub async fn current(&self, claims: QueueClaims) -> Result<Place, AppError> {
        let token = self.rows.get(claims.id).await?.ok_or(Refusal::QueueTokenInvalid)?;
        let token = self.claimed(token).await?;
        self.place_of(&token).await
    }

    /// Lets an active token through the gate, claiming it if this is its first use; else says why not.
    pub async fn require_active(&self, id: QueueTokenId) -> Result<(), AppError> {
        let token = self.rows.get(id).await?.ok_or(Refusal::QueueTokenInvalid)?;
        match require_active(&token, self.ports.now()) {
            Ok(_) => self.claimed(token).await.map(|_| ()),
            Err(refusal) => Err(self.explained(refusal).await?),
        }
    }

    /// Adds the caller's place to a lane's "not yet".
    pub(crate) async fn explain<T>(&self, reply: Reply<T>) -> Result<Reply<T>, AppError> {
        match reply {
            Reply::Fresh(Err(refusal @ Refusal::QueueTokenNotActive { .. })) => Err(self.explained(refusal).await?),
            reply => Ok(reply),
        }
    }

    async fn explained(&self, refusal: Refusal) -> Result<AppError, AppError> {
        let Refusal::QueueTokenNotActive { id, place } = refusal else { return Ok(refusal.into()) };
        let board = self.boards.get(id.concert()).await?;
        let position = board.as_deref().zip(place).map(|(board, place)| board.position(place));
        let poll_after_seconds = self.poll_after(board.as_deref(), position);
        Ok(AppError::NotYourTurn { position, poll_after_seconds })
    }

    /// The same token, claimed if it is active and nobody had used it.
    async fn claimed(&self, token: QueueToken) -> Result<QueueToken, AppError> {
        let now = self.ports.now();
        match token.state_at(now) {
            TokenState::Active(admission) if admission.claimed_at.is_none() => {
                self.claims.decide(token.id.0, token.id).await?;
                Ok(QueueToken { state: TokenState::Active(admission.claimed(now)), ..token })
            }
            _ => Ok(token),
        }
    }

    async fn place_of(&self, token: &QueueToken) -> Result<Place, AppError> {
        let now = self.ports.now();
        let board = match token.state_at(now) {
            TokenState::Waiting | TokenState::Scheduled => self.boards.get(token.id.concert()).await?,
            TokenState::Active(_) | TokenState::Ended(_) => None,
        };
        let position = board.as_deref().zip(token.place).map(|(board, place)| board.position(place));
        let status = match token.state_at(now) {
            // The concert was deleted, and every place in its queue with it.
            TokenState::Waiting | TokenState::Scheduled if board.is_none() => PlaceStatus::Ended(Ending::Expired),
            TokenState::Scheduled => PlaceStatus::Scheduled,
            TokenState::Waiting => {
                let position = position.unwrap_or(1);
                PlaceStatus::Waiting { position, wait: board.as_deref().and_then(|board| board.wait(position)) }
            }
            TokenState::Active(admission) => PlaceStatus::Active { expires_at: admission.expires_at },
            TokenState::Ended(ending) => PlaceStatus::Ended(ending),
        };
        Ok(Place {
            text: self.ports.signer.queue_token(&token.claims(), token.key_id),
            concert_id: token.id.concert(),
            poll_after_seconds: self.poll_after(board.as_deref(), position),
            issued_at: token.issued_at,
            status,
            now,
        })
    }

    /// When to ask again: sooner near the head, with jitter so that those who came together don't ask together.
    fn poll_after(&self, board: Option<&Board>, position: Option<u32>) -> u32 {
        let wait = board.zip(position).and_then(|(board, position)| board.wait(position));
        let base = match (board, wait) {
            (None, _) => 15,
            (Some(board), _) if board.mode() == QueueMode::Paused => 10,
            (Some(_), None) => 5,
            (Some(_), Some(wait)) => (wait.p50_seconds / 10).clamp(1, 60),
        };
        let jitter = below(&*self.ports.randomness, u64::from(base / 4) + 1);
        base + u32::try_from(jitter).unwrap_or(0)
    }
}
