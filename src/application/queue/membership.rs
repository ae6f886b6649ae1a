//! Joining a queue and leaving it.

use std::sync::Arc;

use super::{
    command::{Command, Joined},
    lane::QueueWork,
    snapshot::QueueSnapshotReader,
    token_info::{QueueTokenFacade, QueueTokenInfo},
};
use crate::{
    application::{error::AppError, lane::Lanes},
    domain::{
        id::{ConcertId, UserId},
        token::QueueClaims,
    },
};

/// Joining a queue and leaving it.
pub struct MembershipFacade {
    lanes: Lanes<QueueWork>,
    snapshot_reader: QueueSnapshotReader,
    tokens: Arc<QueueTokenFacade>,
}

impl MembershipFacade {
    pub(super) fn new(
        lanes: Lanes<QueueWork>,
        snapshot_reader: QueueSnapshotReader,
        tokens: Arc<QueueTokenFacade>,
    ) -> Self {
        Self { lanes, snapshot_reader, tokens }
    }

    /// Joins the queue of a concert, and returns whether the token is new. A user has one live token per concert:
    /// joining again finds it, and claims it if it was admitted meanwhile.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`]; [`Refusal::SalesClosed`] once the last performance has begun;
    /// [`Refusal::Unauthenticated`] if the account was deleted or blocked meanwhile; [`Refusal::EmailNotVerified`] for
    /// a new token, if a verified address is required. [`AppError::Overloaded`] if a lane's inbox is full or too many
    /// reads wait.
    ///
    /// # Concurrency
    ///
    /// Locks the queue, the user's token in it, and the user's account (shared), in this order. A claim has its own
    /// transaction.
    ///
    /// [`Refusal::ConcertNotFound`]: crate::domain::refusal::Refusal::ConcertNotFound
    /// [`Refusal::SalesClosed`]: crate::domain::refusal::Refusal::SalesClosed
    /// [`Refusal::Unauthenticated`]: crate::domain::refusal::Refusal::Unauthenticated
    /// [`Refusal::EmailNotVerified`]: crate::domain::refusal::Refusal::EmailNotVerified
    pub async fn join(&self, user_id: UserId, concert_id: ConcertId) -> Result<(QueueTokenInfo, bool), AppError> {
        let command = |reply| Command::Join { user_id, concert_id, reply };
        let joined = self.lanes.submit_without_key(Some(concert_id.0), command).await?;
        let Joined { token, created, poll_after_seconds, queue, pace } = joined;
        if !created {
            // Like a poll, it shows the owner an admission without its claim deadline.
            let token = self.tokens.claim_if_unused(token).await?;
            return Ok((self.tokens.info_of(&token, None).await?, false));
        }
        // The poll interval of a new token is stored with it, and the queue was read under its lock.
        let info = match self.snapshot_reader.of(queue, pace) {
            Some(snapshot) => self.tokens.info_on(Some(&snapshot), &token, poll_after_seconds).await?,
            None => self.tokens.info_of(&token, poll_after_seconds).await?,
        };
        Ok((info, true))
    }

    /// Leaves the queue: the token ends at once, and the user's holds for the concert are cancelled. Leaving again has
    /// no effect.
    ///
    /// # Errors
    ///
    /// [`Refusal::QueueTokenInvalid`] if no such token of the user is stored. [`AppError::Overloaded`] if the lane's
    /// inbox is full.
    ///
    /// # Concurrency
    ///
    /// Locks the queue and the token; then, for holds to cancel, the performances (shared), the seats and the bookings,
    /// in this order.
    ///
    /// [`Refusal::QueueTokenInvalid`]: crate::domain::refusal::Refusal::QueueTokenInvalid
    pub async fn leave(&self, claims: QueueClaims) -> Result<(), AppError> {
        let command = |reply| Command::Leave { id: claims.id, user_id: claims.user_id, reply };
        self.lanes.submit_without_key(Some(claims.id.concert().0), command).await
    }
}
