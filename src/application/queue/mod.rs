//! The waiting queue: joining, asking for one's place, being let in, leaving.

mod admission;
mod board;
mod choice;
mod draw;
mod lane;
mod pace;
mod presence;
mod stream;

use std::sync::Arc;

use std::time::Duration;

use tokio_util::task::TaskTracker;

use self::{
    board::{Boards, TokenRows, UsedTokens},
    lane::{Command, Outcome, QueueWork},
    pace::Paces,
    presence::{PresenceWork, Sign},
    stream::Feeds,
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
    queue::{Ending, QueueToken, TokenState, Wait, require_active},
    refusal::Refusal,
    token::QueueClaims,
};

pub use board::Board;
pub use draw::{DrawInfo, EntrantList};
pub use stream::Follower;

/// How long checks of those who follow something are collected before they are read.
const PATIENCE: Duration = Duration::from_millis(50);

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

/// Use cases of the waiting queue.
pub struct QueueFacade {
    ports: Ports,
    lanes: Lanes<QueueWork>,
    presence: Lanes<PresenceWork>,
    boards: Loader<Boards>,
    known: Boards,
    rows: Loader<TokenRows>,
    used: Loader<UsedTokens>,
    checks: Loader<UsedTokens>,
    feeds: Feeds,
    tasks: TaskTracker,
    orders: admission::Orders,
    draw_pages: draw::DrawPages,
    failing: admission::Failing,
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
        let paces = Arc::<Paces>::default();
        let work = QueueWork::new(ports.clone(), policy, Arc::clone(&paces));
        let known = Boards::new(paces);
        Self {
            lanes: Lanes::new(work, settings, lane_ports.clone()),
            presence: Lanes::new(PresenceWork, LaneSettings { lanes: 1, ..settings }, lane_ports.clone()),
            boards: Loader::start(known.clone(), &ports.database, tasks),
            known,
            rows: Loader::start(TokenRows, &ports.database, tasks),
            used: Loader::start(UsedTokens(Arc::clone(&ports.clock)), &ports.database, tasks),
            checks: Loader::start_patient(UsedTokens(Arc::clone(&ports.clock)), PATIENCE, &ports.database, tasks),
            feeds: Feeds::default(),
            tasks: tasks.clone(),
            orders: admission::Orders::default(),
            draw_pages: draw::DrawPages::new(&ports),
            failing: admission::Failing::default(),
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
        match self.lanes.decide(Some(concert_id.0), command).await? {
            // What a new token was told is stored with it, and the board was read under the queue's lock.
            Outcome::Joined { token, created: true, poll_after_seconds, line } => {
                let (queue, seen) = *line;
                let place = match self.known.of(queue, seen) {
                    Some(board) => self.place_on(Some(&board), &token, poll_after_seconds).await?,
                    None => self.place_of(&token, poll_after_seconds).await?,
                };
                Ok((place, true))
            }
            Outcome::Joined { token, created: false, .. } => Ok((self.place_of(&token, None).await?, false)),
            Outcome::Left => Err(AppError::Overloaded),
        }
    }

    /// Leaves the queue: the place or slot is free at once, and the user's holds for the concert are cancelled.
    /// Leaving again changes nothing.
    pub async fn leave(&self, claims: QueueClaims) -> Result<(), AppError> {
        let command = Command::Leave { id: claims.id, user_id: claims.user_id };
        self.lanes.decide(Some(claims.id.concert().0), command).await.map(|_| ())
    }

    /// What has become of a token. Asking for an active one for the first time claims it.
    ///
    /// For those in line the board that everybody shares says it all, and their own text the rest: only a token at or
    /// before the head, or one that may have ended, is looked up.
    pub async fn current(&self, text: &str) -> Result<Place, AppError> {
        let claims = self.read(text).ok_or(Refusal::QueueTokenInvalid)?;
        if let Some(place) = claims.place
            && let Some(board) = self.boards.get(claims.id.concert()).await?
            && board.is_waiting(place)
            && !board.queue().is_over(self.ports.now())
        {
            return self.waiting(&claims, text, place, &board).await;
        }
        Box::pin(async {
            let token = self.look_up(&claims).await?;
            self.place_of(&token, None).await
        })
        .await
    }

    /// Reads a token's row, and claims it if it is active and nobody had used it.
    async fn look_up(&self, claims: &QueueClaims) -> Result<QueueToken, AppError> {
        let token = self.row(claims.id, claims.user_id).await?;
        self.claimed(token).await
    }

    /// A user's token. In a database that was restored, a number may have been given out again, to somebody else.
    async fn row(&self, id: QueueTokenId, user_id: UserId) -> Result<QueueToken, AppError> {
        let token = self.rows.get(id).await?.filter(|token| token.user_id == user_id);
        Ok(token.ok_or(Refusal::QueueTokenInvalid)?)
    }

    /// What the owner of a waiting token sees, by its text and the board; notes that they are there.
    async fn waiting(&self, claims: &QueueClaims, text: &str, place: u32, board: &Board) -> Result<Place, AppError> {
        let position = board.position(place);
        let poll_after_seconds = self.poll_after(Some(board), TokenState::Waiting, Some(place));
        self.note_present(board, (claims.id, claims.user_id), Some(place), poll_after_seconds).await?;
        Ok(Place {
            text: text.to_owned(),
            concert_id: claims.id.concert(),
            status: PlaceStatus::Waiting { position, wait: board.wait(position) },
            issued_at: claims.issued_at,
            now: self.ports.now(),
            poll_after_seconds,
        })
    }

    /// Lets a user's active token through the gate, claiming it if this is its first use; else says why not.
    pub async fn require_active(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        if self.used.get(id).await? == Some(user_id) {
            return Ok(());
        }
        // What is seldom done stands in a box: the future of a request is moved as a whole, and more than once.
        Box::pin(self.first_use(id, user_id)).await
    }

    async fn first_use(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        let token = self.row(id, user_id).await?;
        match require_active(&token, self.ports.now()) {
            Ok(_) => self.claimed(token).await.map(|_| ()),
            Err(refusal) => Err(self.explained(refusal, user_id).await?),
        }
    }

    /// Whether a user's token is active still, for those who follow something by it: thousands ask at once, in no hurry.
    pub async fn check_active(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        if self.checks.get(id).await? == Some(user_id) {
            return Ok(());
        }
        let token = self.row(id, user_id).await?;
        require_active(&token, self.ports.now())?;
        Ok(())
    }

    /// Adds the caller's place to a lane's "not yet".
    pub(crate) async fn explain<T>(&self, reply: Reply<T>, user_id: UserId) -> Result<Reply<T>, AppError> {
        match reply {
            Reply::Fresh(Err(refusal @ Refusal::QueueTokenNotActive { .. })) => {
                Err(self.explained(refusal, user_id).await?)
            }
            reply => Ok(reply),
        }
    }

    async fn explained(&self, refusal: Refusal, user_id: UserId) -> Result<AppError, AppError> {
        let Refusal::QueueTokenNotActive { id, place } = refusal else { return Ok(refusal.into()) };
        let board = self.boards.get(id.concert()).await?;
        let position = board.as_deref().zip(place).map(|(board, place)| board.position(place));
        let state = if place.is_some() { TokenState::Waiting } else { TokenState::Scheduled };
        let poll_after_seconds = self.poll_after(board.as_deref(), state, place);
        if let Some(board) = board.as_deref() {
            self.note_present(board, (id, user_id), place, poll_after_seconds).await?;
        }
        Ok(AppError::NotYourTurn { position, poll_after_seconds })
    }

    /// The same token, claimed if it is active and nobody had used it.
    async fn claimed(&self, token: QueueToken) -> Result<QueueToken, AppError> {
        let now = self.ports.now();
        match token.state_at(now) {
            TokenState::Active(admission) if admission.claimed_at.is_none() => {
                self.presence.decide(None, Sign::Claim { id: token.id }).await?;
                Ok(QueueToken { state: TokenState::Active(admission.claimed(now)), ..token })
            }
            _ => Ok(token),
        }
    }

    /// Reads the board, and says what the owner of a token sees.
    async fn place_of(&self, token: &QueueToken, told: Option<u32>) -> Result<Place, AppError> {
        let board = match token.state_at(self.ports.now()) {
            TokenState::Waiting | TokenState::Scheduled => self.boards.get(token.id.concert()).await?,
            TokenState::Active(_) | TokenState::Ended(_) => None,
        };
        self.place_on(board.as_deref(), token, told).await
    }

    /// What the owner of a token sees; notes that whoever waits is there, unless they were told before when to ask again.
    async fn place_on(&self, board: Option<&Board>, token: &QueueToken, told: Option<u32>) -> Result<Place, AppError> {
        let now = self.ports.now();
        let state = token.state_at(now);
        let position = board.zip(token.place).map(|(board, place)| board.position(place));
        let status = match state {
            // The concert is over or was deleted: every place in its queue has ended with it, written or not.
            TokenState::Waiting | TokenState::Scheduled if board.is_none_or(|board| board.queue().is_over(now)) => {
                PlaceStatus::Ended(Ending::Expired)
            }
            TokenState::Scheduled => PlaceStatus::Scheduled,
            TokenState::Waiting => {
                let position = position.unwrap_or(1);
                // The first estimate is the one that is written down, and judged when its token is let in.
                let first = token.estimate.filter(|_| told.is_some());
                let wait = first.or_else(|| board.and_then(|board| board.wait(position)));
                PlaceStatus::Waiting { position, wait }
            }
            TokenState::Active(admission) => PlaceStatus::Active { expires_at: admission.expires_at },
            TokenState::Ended(ending) => PlaceStatus::Ended(ending),
        };
        let poll_after_seconds = told.unwrap_or_else(|| self.poll_after(board, state, token.place));
        if let (Some(board), None) = (board, told) {
            let owner = (token.id, token.user_id);
            self.note_present(board, owner, token.place, poll_after_seconds).await?;
        }
        Ok(Place {
            text: self.ports.signer.queue_token(&token.claims(), token.key_id),
            concert_id: token.id.concert(),
            poll_after_seconds,
            issued_at: token.issued_at,
            status,
            now,
        })
    }
}
