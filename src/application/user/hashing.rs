//! Hashing passwords without standing in anybody's way.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    application::error::AppError,
    domain::user::{HashingFailed, PasswordHasher},
};

/// How many may wait for their turn.
const MAX_WAITING: usize = 1_024;

/// Runs a hasher on threads of their own, on a few at once: one hash takes a core for tens of milliseconds and 19 MiB
/// all the while, so more of them at once would only be slower, and a flood of logins would take the memory.
pub(super) struct Hashing {
    hasher: Arc<dyn PasswordHasher>,
    /// For those who work and those who wait.
    places: Arc<Semaphore>,
    /// For those who work.
    threads: Arc<Semaphore>,
    /// Of no account: what an unknown address is checked against.
    dummy: String,
}

impl Hashing {
    pub(super) fn new(hasher: Arc<dyn PasswordHasher>, threads: usize) -> Result<Self, HashingFailed> {
        let threads = threads.max(1);
        let dummy = hasher.hash("the password of nobody")?;
        Ok(Self {
            hasher,
            places: Arc::new(Semaphore::new(threads + MAX_WAITING)),
            threads: Arc::new(Semaphore::new(threads)),
            dummy,
        })
    }

    /// Hashes. [`AppError::Overloaded`] at once when too many are waiting.
    pub(super) async fn hash(&self, password: String) -> Result<String, AppError> {
        self.run(move |hasher| hasher.hash(&password)).await?.map_err(AppError::internal)
    }

    /// Whether the password belongs to the hash; to none, it takes as long to say no.
    pub(super) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, AppError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let right = self.run(move |hasher| hasher.verify(&password, &hash)).await?;
        Ok(right && known)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn PasswordHasher) -> T + Send + 'static,
    ) -> Result<T, AppError> {
        let overloaded = |_| AppError::Overloaded;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(overloaded)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(AppError::internal)?;
        let hasher = Arc::clone(&self.hasher);
        let result = spawn_blocking(move || {
            let result = work(&*hasher);
            // Given back here and not by the caller: a caller who gives up doesn't stop the thread.
            drop((place, thread));
            result
        });
        result.await.map_err(AppError::internal)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use futures::{FutureExt, future::join_all};
    use tokio::task::coop::unconstrained;

    use super::*;

    /// Verifies when it is told to.
    struct Gated(Mutex<mpsc::Receiver<()>>);

    impl PasswordHasher for Gated {
        fn hash(&self, password: &str) -> Result<String, HashingFailed> {
            Ok(format!("hash of {password}"))
        }

        fn verify(&self, password: &str, hash: &str) -> bool {
            self.0.lock().unwrap().recv().unwrap();
            hash == format!("hash of {password}")
        }
    }

    fn gated() -> (mpsc::Sender<()>, Arc<Hashing>) {
        let (go, gate) = mpsc::channel();
        (go, Arc::new(Hashing::new(Arc::new(Gated(Mutex::new(gate))), 1).unwrap()))
    }

    /// One works and 1,024 wait, so the next is turned away at once; when the gate opens, all who waited are served.
    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_turned_away_at_once() {
        let (go, hashing) = gated();
        let verify = || {
            let hashing = Arc::clone(&hashing);
            Box::pin(async move { hashing.verify("x".to_owned(), Some("hash of x".to_owned())).await })
        };
        let mut waiting = join_all((0..=MAX_WAITING).map(|_| verify()));
        // All of them have asked once.
        assert!(unconstrained(&mut waiting).now_or_never().is_none());
        assert!(matches!(verify().await, Err(AppError::Overloaded)));
        for _ in 0..=MAX_WAITING {
            go.send(()).unwrap();
        }
        assert!(waiting.await.into_iter().all(|result| result.unwrap()));
    }

    #[tokio::test]
    async fn nobody_has_the_dummys_password() {
        let (go, hashing) = gated();
        go.send(()).unwrap();
        assert!(!hashing.verify("the password of nobody".to_owned(), None).await.unwrap());
    }
}
