//! How a use case can fail.

use std::sync::Arc;

use crate::domain::{refusal::Refusal, repository_error::RepositoryError};

/// Why a use case didn't do what was asked. Cheap to copy: a failed batch tells all who were in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppError {
    /// A rule's no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A gated use case before the caller's turn.
    #[error("It is not your turn yet.")]
    NotYourTurn {
        /// The place from the head of the line; `None` before it is drawn.
        position: Option<u32>,
        /// When to ask again.
        poll_after_seconds: u32,
    },
    /// More work than can be queued, or a race lost too often: worth trying again soon.
    #[error("too much to do at once")]
    Overloaded,
    /// Something that may be tried only so often.
    #[error("tried too often")]
    TooOften {
        /// When it may be tried again.
        retry_after_seconds: u32,
    },
    /// The database can't be reached.
    #[error("the database is unavailable")]
    Unavailable(#[source] Arc<RepositoryError>),
    /// This instance's clock is too far from the database's to decide anything by it.
    #[error("this instance's clock is too far from the database's")]
    ClockSkewed,
    /// A defect.
    #[error("an unexpected failure")]
    Internal(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl AppError {
    /// A defect with its cause.
    pub fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Arc::new(cause))
    }
}

impl From<RepositoryError> for AppError {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Contention { .. } => Self::Overloaded,
            RepositoryError::Unavailable(_) => Self::Unavailable(Arc::new(error)),
            RepositoryError::ClockSkewed => Self::ClockSkewed,
            RepositoryError::NotUnique { .. } | RepositoryError::Corrupt(_) | RepositoryError::Storage(_) => {
                Self::internal(error)
            }
        }
    }
}
