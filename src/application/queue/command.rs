//! The commands of the queue's lane.

use super::estimate::AdmissionPace;
use crate::{
    application::lane::ReplyTo,
    domain::{
        id::{ConcertId, QueueTokenId, UserId},
        queue::{Queue, QueueToken},
    },
};

/// A command of the queue's lane.
pub(super) enum Command {
    /// Issues a token, or finds the user's live one.
    Join { user_id: UserId, concert_id: ConcertId, reply: ReplyTo<Joined> },
    /// Ends a token.
    Leave { id: QueueTokenId, user_id: UserId, reply: ReplyTo<()> },
}

impl Command {
    pub(super) fn concert_id(&self) -> ConcertId {
        match self {
            Self::Join { concert_id, .. } => *concert_id,
            Self::Leave { id, .. } => id.concert(),
        }
    }
}

/// The token of a user who joined, with its queue at the instant of the decision.
pub(super) struct Joined {
    pub(super) token: QueueToken,
    /// Whether the token is new; otherwise the user had it already.
    pub(super) created: bool,
    /// The interval until the first poll in seconds, for a new token that isn't active. The stored presence follows
    /// from it.
    pub(super) poll_after_seconds: Option<u32>,
    pub(super) queue: Queue,
    pub(super) pace: AdmissionPace,
}
