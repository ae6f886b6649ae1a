//! The failures of use cases.

use std::sync::Arc;

use crate::domain::{refusal::Refusal, repository_error::RepositoryError, top_up::ProviderError};

/// The failure of a use case. Cheap to clone, since every command of a failed batch gets it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppError {
    /// A rule of the domain refuses the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The use case is gated, and the caller's queue token isn't active yet.
    #[error("It is not your turn yet.")]
    NotYourTurn {
        /// The number of places up to the queue's head; `None` before the draw.
        position: Option<u32>,
        /// The recommended interval until the next poll, in seconds.
        poll_after_seconds: u32,
    },
    /// A bounded queue is full or a concurrency limit is reached. Nothing was done, and a later attempt may succeed.
    #[error("too many requests are waiting")]
    Overloaded,
    /// Every attempt of the transaction conflicted with others: deadlocks, lock timeouts, or rows that others had
    /// changed meanwhile. Nothing was written, and a later attempt may succeed.
    #[error("the transaction kept conflicting with others")]
    Contention,
    /// The work exceeded its time limit.
    #[error("the time limit is exceeded")]
    TimedOut,
    /// The action had too many attempts within its time window.
    #[error("too many attempts")]
    TooOften {
        /// The time until the next attempt is allowed, in seconds.
        retry_after_seconds: u32,
    },
    /// The database can't be reached, or a commit's outcome is unknown.
    #[error("the database is unavailable")]
    Unavailable(#[source] Arc<RepositoryError>),
    /// The payment provider didn't answer, or refused. A repetition of a request with its idempotency key continues it.
    #[error("the payment provider is unavailable")]
    ProviderUnavailable(#[source] Arc<ProviderError>),
    /// This instance's clock differs too much from the database's for decisions.
    #[error("this instance's clock is too far from the database's")]
    ClockSkewed,
    /// A defect, or corrupt data.
    #[error("an unexpected failure")]
    Internal(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl AppError {
    /// A defect with its cause.
    pub fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Arc::new(cause))
    }
}

/// Whether any result is true; the first failure if there is one.
pub(crate) fn any(results: impl IntoIterator<Item = Result<bool, AppError>>) -> Result<bool, AppError> {
    let results: Vec<bool> = results.into_iter().collect::<Result<_, _>>()?;
    Ok(results.contains(&true))
}

impl From<ProviderError> for AppError {
    fn from(error: ProviderError) -> Self {
        Self::ProviderUnavailable(Arc::new(error))
    }
}

impl From<RepositoryError> for AppError {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Contention { .. } => Self::Contention,
            RepositoryError::Unavailable(_) => Self::Unavailable(Arc::new(error)),
            RepositoryError::ClockSkewed => Self::ClockSkewed,
            RepositoryError::NotUnique { .. } | RepositoryError::Corrupt(_) | RepositoryError::Storage(_) => {
                Self::internal(error)
            }
        }
    }
}
