//! Retries of transactions outside of lanes.

use std::time::Duration;

use tokio::time::sleep;

use super::{Ports, error::AppError};
use crate::domain::randomness::{Randomness, below};

/// The most attempts of one transaction. On a cluster of databases a transaction doesn't wait for those of other nodes:
/// its commit is refused. Three attempts weren't enough there for four doors that scan one ticket.
const MAX_ATTEMPTS: u32 = 6;

impl Ports {
    /// Attempts a whole transaction up to six times, as long as it fails by contention, with random pauses of up to
    /// 0.32 seconds.
    ///
    /// An attempt begins and commits its own transaction, and reads the clock. After [`AppError::Contention`] nothing
    /// is written, so the attempt can be repeated. Any other failure is final: after a lost connection the outcome of
    /// the commit is unknown.
    ///
    /// # Errors
    ///
    /// That of the last attempt.
    pub(super) async fn retry_on_contention<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, AppError>
    where
        F: Future<Output = Result<T, AppError>>,
    {
        retry(&*self.randomness, attempt).await
    }
}

async fn retry<T, F>(randomness: &dyn Randomness, attempt: impl Fn() -> F) -> Result<T, AppError>
where
    F: Future<Output = Result<T, AppError>>,
{
    for number in 1..MAX_ATTEMPTS {
        match attempt().await {
            Err(AppError::Contention) => {}
            result => return result,
        }
        metrics::counter!("transaction_retries_total").increment(1);
        // Jitter, so that transactions that collided don't collide again.
        let jitter = below(randomness, 10_000 << number);
        sleep(Duration::from_micros(jitter)).await;
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::domain::{refusal::Refusal, repository_error::RepositoryError};

    struct ZeroRandomness;

    impl Randomness for ZeroRandomness {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    /// Runs an attempt that fails by contention `races` times before it ends with `end`. Returns the number of attempts
    /// and the result.
    async fn run(races: u32, end: Result<u8, AppError>) -> (u32, Result<u8, AppError>) {
        let tried = Cell::new(0);
        let result = retry(&ZeroRandomness, || {
            tried.set(tried.get() + 1);
            let lost = tried.get() <= races;
            let end = end.clone();
            async move { if lost { Err(RepositoryError::stale("a row").into()) } else { end } }
        })
        .await;
        (tried.get(), result)
    }

    #[tokio::test]
    async fn contention_is_retried_up_to_the_limit_and_other_failures_are_not() {
        assert!(matches!(run(0, Ok(7)).await, (1, Ok(7))));
        assert!(matches!(run(5, Ok(7)).await, (6, Ok(7))));
        assert!(matches!(run(6, Ok(7)).await, (6, Err(AppError::Contention))));
        assert!(matches!(run(0, Err(Refusal::EmailTaken.into())).await, (1, Err(AppError::Refused(_)))));
        let lost = RepositoryError::Unavailable("gone".into());
        assert!(matches!(run(0, Err(lost.into())).await, (1, Err(AppError::Unavailable(_)))));
    }
}
