//! A queue token, its states, and its admission.

use super::Entrant;
use crate::domain::{
    clock::Instant,
    id::{QueueTokenId, UserId},
    token::QueueClaims,
};

/// The instants of an active token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The instant of admission.
    pub admitted_at: Instant,
    /// The instant of the first use; `None` while unclaimed.
    pub claimed_at: Option<Instant>,
    /// The deadline for new holds. It is never extended.
    pub books_until: Instant,
    /// The deadline of the token: `books_until`, or later while its user holds seats.
    pub expires_at: Instant,
    /// The effective deadline: the claim deadline until the token is claimed, then `expires_at`.
    pub lapses_at: Instant,
}

impl Admission {
    /// The admission after a use at `now`: no claim deadline applies any more.
    #[must_use]
    pub fn claimed(self, now: Instant) -> Self {
        Self { claimed_at: self.claimed_at.or(Some(now)), lapses_at: self.expires_at, ..self }
    }

    /// The admission after a use at `now`, with a lifetime until `deadline` at least.
    #[must_use]
    pub fn extended(self, now: Instant, deadline: Instant) -> Self {
        Self { expires_at: self.expires_at.max(deadline), ..self }.claimed(now)
    }

    /// The admission after a use at `now` that ended a hold. `deadline` is that of the last remaining hold; `None`
    /// without any.
    #[must_use]
    pub fn fallen_back(self, now: Instant, deadline: Option<Instant>) -> Self {
        let expires_at = deadline.map_or(self.books_until, |deadline| deadline.max(self.books_until));
        Self { expires_at, ..self }.claimed(now)
    }
}

/// The reason for a token's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its last hold was paid.
    Completed,
    /// Its deadline passed, or its concert is over.
    Expired,
    /// Its user left.
    Left,
}

impl EndReason {
    /// The name of the state of tokens that ended for this reason.
    pub fn name(self) -> &'static str {
        let [.., completed, expired, left] = TokenState::NAMES;
        match self {
            Self::Completed => completed,
            Self::Expired => expired,
            Self::Left => left,
        }
    }
}

/// The state of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Issued before the draw: it has no place yet.
    Scheduled,
    /// Waiting at its place.
    Waiting,
    /// Admitted: it may hold seats.
    Active(Admission),
    /// Ended: it is no longer usable.
    Ended(EndReason),
}

impl TokenState {
    /// The names of all states, which clients and the database use. The last three are those of ended tokens.
    pub const NAMES: [&'static str; 6] = ["SCHEDULED", "WAITING", "ACTIVE", "COMPLETED", "EXPIRED", "LEFT"];

    /// The name of the state, one of [`NAMES`](Self::NAMES).
    pub fn name(self) -> &'static str {
        let [scheduled, waiting, active, ..] = Self::NAMES;
        match self {
            Self::Scheduled => scheduled,
            Self::Waiting => waiting,
            Self::Active(_) => active,
            Self::Ended(reason) => reason.name(),
        }
    }
}

/// An estimate of the time until admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EstimatedWait {
    /// The median, in seconds.
    pub p50_seconds: u32,
    /// The 90th percentile, in seconds.
    pub p90_seconds: u32,
}

/// A token: one user's place in the queue of one concert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueToken {
    /// Identifies the token and its concert.
    pub id: QueueTokenId,
    /// The user of the token.
    pub user_id: UserId,
    /// The key that signs its text.
    pub key_id: u32,
    /// The place in the queue; `None` before the draw.
    pub place: Option<u32>,
    /// The identity in the draw; `None` for tokens from after the draw, and for those left before it.
    pub entrant: Option<Entrant>,
    /// The instant of issue.
    pub issued_at: Instant,
    /// The estimate at the time of issue; `None` before the draw.
    pub estimate: Option<EstimatedWait>,
    /// The end of the user's stored presence, which is kept within the lookahead alone.
    pub present_until: Option<Instant>,
    /// The state as last written; see [`state_at`](Self::state_at).
    pub state: TokenState,
}

impl QueueToken {
    /// The content of the token's text. The text of an entrant contains no place, because it was signed before the
    /// draw.
    pub fn claims(&self) -> QueueClaims {
        let place = self.place.filter(|_| self.entrant.is_none());
        QueueClaims { id: self.id, user_id: self.user_id, place, issued_at: self.issued_at }
    }

    /// The state at `now`: an active token past its deadline has expired, even if its stored state is still active.
    pub fn state_at(&self, now: Instant) -> TokenState {
        match self.state {
            TokenState::Active(admission) if admission.lapses_at <= now => TokenState::Ended(EndReason::Expired),
            state => state,
        }
    }

    /// Whether stored presence covers `now`.
    pub fn is_present(&self, now: Instant) -> bool {
        self.present_until.is_some_and(|until| now < until)
    }

    /// Whether the token is scheduled, waiting or active at `now`.
    pub fn is_live(&self, now: Instant) -> bool {
        !matches!(self.state_at(now), TokenState::Ended(_))
    }
}
