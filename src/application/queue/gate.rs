//! The gate: only active tokens may use gated operations.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{snapshot::ReadClaimedTokens, token_info::QueueTokenFacade};
use crate::{
    application::{Ports, error::AppError, lane::Reply, loader::Loader},
    domain::{
        clock::Clock,
        id::{QueueTokenId, UserId},
        queue::require_active,
        refusal::Refusal,
    },
};

/// The time for which checks of open streams are collected, before one read answers all of them.
const CHECK_COALESCING_DELAY: Duration = Duration::from_millis(50);

/// Checks whether tokens are active.
pub struct GateFacade {
    clock: Arc<dyn Clock>,
    tokens: Arc<QueueTokenFacade>,
    claimed_tokens: Loader<ReadClaimedTokens>,
    stream_checks: Loader<ReadClaimedTokens>,
}

impl GateFacade {
    pub(super) fn start(ports: &Ports, tokens: Arc<QueueTokenFacade>, tasks: &TaskTracker) -> Self {
        let read = || ReadClaimedTokens(Arc::clone(&ports.clock));
        Self {
            clock: Arc::clone(&ports.clock),
            tokens,
            claimed_tokens: Loader::start(read(), &ports.database, tasks),
            stream_checks: Loader::start_with_delay(read(), CHECK_COALESCING_DELAY, &ports.database, tasks),
        }
    }

    /// Admits a user's active token, and claims it if this is its first use.
    ///
    /// # Errors
    ///
    /// [`Refusal::QueueTokenInvalid`], [`Refusal::QueueTokenExpired`]; [`AppError::NotYourTurn`] with the position for
    /// a token that isn't active yet. [`AppError::Overloaded`] if too many reads wait.
    pub async fn require_active(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        if self.claimed_tokens.get(id).await? == Some(user_id) {
            return Ok(());
        }
        // The rare case is boxed, because a request's whole future is moved several times.
        Box::pin(self.require_unclaimed_active(id, user_id)).await
    }

    async fn require_unclaimed_active(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        let token = self.tokens.read_token(id, user_id).await?;
        match require_active(&token, self.clock.now()) {
            Ok(_) => self.tokens.claim_if_unused(token).await.map(|_| ()),
            Err(refusal) => Err(self.tokens.not_active_error(refusal, user_id).await?),
        }
    }

    /// Checks that a user's token is active, without claiming it. It is for open streams, thousands of which check at
    /// once, and for other callers that tolerate a delay of [`CHECK_COALESCING_DELAY`].
    ///
    /// # Errors
    ///
    /// [`Refusal::QueueTokenInvalid`], [`Refusal::QueueTokenExpired`], [`Refusal::QueueTokenNotActive`].
    /// [`AppError::Overloaded`] if too many reads wait.
    pub async fn check_active(&self, id: QueueTokenId, user_id: UserId) -> Result<(), AppError> {
        if self.stream_checks.get(id).await? == Some(user_id) {
            return Ok(());
        }
        let token = self.tokens.read_token(id, user_id).await?;
        require_active(&token, self.clock.now())?;
        Ok(())
    }

    /// Turns the [`Refusal::QueueTokenNotActive`] of a lane's reply into [`AppError::NotYourTurn`] with the user's
    /// position.
    pub(crate) async fn with_position<T>(&self, reply: Reply<T>, user_id: UserId) -> Result<Reply<T>, AppError> {
        match reply {
            Reply::Unrecorded(Err(refusal @ Refusal::QueueTokenNotActive { .. })) => {
                Err(self.tokens.not_active_error(refusal, user_id).await?)
            }
            reply => Ok(reply),
        }
    }
}
