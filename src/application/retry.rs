//! Repeating a transaction that lost a race.

use std::time::Duration;

use tokio::time::sleep;

use super::error::AppError;
use crate::domain::randomness::{Randomness, below};

/// How often a transaction is tried.
const MAX_ATTEMPTS: u32 = 3;

/// Tries a whole transaction up to three times, as long as it loses races.
///
/// An attempt reads the clock, begins, and commits; it awaits nothing but the database, so [`AppError::Overloaded`]
/// from it means a lost race (a deadlock, a lock not had in time, a version that moved on) and that nothing was
/// written. Any other failure is final: after a lost connection nobody knows whether the commit took place.
pub async fn retry_on_contention<T, F>(randomness: &dyn Randomness, attempt: impl Fn() -> F) -> Result<T, AppError>
where
    F: Future<Output = Result<T, AppError>>,
{
    for number in 1..MAX_ATTEMPTS {
        match attempt().await {
            Err(AppError::Overloaded) => {}
            result => return result,
        }
        metrics::counter!("transaction_retries_total").increment(1);
        // Those who collided must not meet again.
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

    /// Runs an attempt that loses `races` races before it ends with `end`; tells how often it was tried, too.
    async fn run(races: u32, end: Result<u8, AppError>) -> (u32, Result<u8, AppError>) {
        let tried = Cell::new(0);
        let result = retry_on_contention(&ZeroRandomness, || {
            tried.set(tried.get() + 1);
            let lost = tried.get() <= races;
            let end = end.clone();
            async move { if lost { Err(RepositoryError::stale("a row").into()) } else { end } }
        })
        .await;
        (tried.get(), result)
    }

    #[tokio::test]
    async fn lost_races_are_repeated_a_few_times_and_nothing_else_is() {
        assert!(matches!(run(0, Ok(7)).await, (1, Ok(7))));
        assert!(matches!(run(2, Ok(7)).await, (3, Ok(7))));
        assert!(matches!(run(3, Ok(7)).await, (3, Err(AppError::Overloaded))));
        assert!(matches!(run(0, Err(Refusal::EmailTaken.into())).await, (1, Err(AppError::Refused(_)))));
        let lost = RepositoryError::Unavailable("gone".into());
        assert!(matches!(run(0, Err(lost.into())).await, (1, Err(AppError::Unavailable(_)))));
    }
}
