//! Password hashing on dedicated threads.

use std::{net::IpAddr, sync::Arc};

use tokio::task::spawn_blocking;

use crate::{
    application::{error::AppError, fair_queue::FairQueue},
    domain::user::{HashingFailed, PasswordHasher},
};

/// The most requests that wait for a thread.
const MAX_WAITING: usize = 1_024;

/// Runs a hasher on a bounded number of threads.
///
/// One hash occupies a core for tens of milliseconds and 19 MiB of memory. More concurrent hashes would only be slower,
/// and a flood of logins would exhaust the memory. Clients get threads in turn, so a flood from one address delays the
/// logins of others by one hash at most.
pub(super) struct Hashing {
    hasher: Arc<dyn PasswordHasher>,
    queue: Arc<FairQueue>,
    /// A hash of no account, with which passwords for unknown addresses are compared.
    dummy_hash: String,
}

impl Hashing {
    pub(super) fn new(hasher: Arc<dyn PasswordHasher>, threads: usize) -> Result<Self, HashingFailed> {
        let dummy_hash = hasher.hash("the dummy password")?;
        Ok(Self { hasher, queue: FairQueue::new(threads.max(1), MAX_WAITING), dummy_hash })
    }

    /// Hashes a password. [`AppError::Overloaded`] if too many requests wait.
    pub(super) async fn hash(&self, password: String, client: IpAddr) -> Result<String, AppError> {
        self.run(client, move |hasher| hasher.hash(&password)).await?.map_err(AppError::internal)
    }

    /// Whether the password belongs to the hash. Without a hash the result is false, and takes as long.
    /// [`AppError::Overloaded`] if too many requests wait.
    pub(super) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
        client: IpAddr,
    ) -> Result<bool, AppError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy_hash.clone());
        let right = self.run(client, move |hasher| hasher.verify(&password, &hash)).await?;
        Ok(right && known)
    }

    async fn run<T: Send + 'static>(
        &self,
        client: IpAddr,
        work: impl FnOnce(&dyn PasswordHasher) -> T + Send + 'static,
    ) -> Result<T, AppError> {
        let permit = self.queue.acquire(client).await?;
        let hasher = Arc::clone(&self.hasher);
        let result = spawn_blocking(move || {
            let result = work(&*hasher);
            // Released here and not by the caller, because a caller that stops waiting doesn't stop the thread.
            drop(permit);
            result
        });
        result.await.map_err(AppError::internal)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::{Mutex, mpsc},
    };

    use futures::{FutureExt, future::join_all};
    use tokio::task::coop::unconstrained;

    use super::*;

    /// Verifies a password when the test sends a signal.
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

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn gated() -> (mpsc::Sender<()>, Arc<Hashing>) {
        let (go, gate) = mpsc::channel();
        (go, Arc::new(Hashing::new(Arc::new(Gated(Mutex::new(gate))), 1).unwrap()))
    }

    /// One request is hashing and 1,024 wait, so the next is refused at once. Once hashing continues, all waiting
    /// requests are served.
    #[tokio::test]
    async fn requests_beyond_the_hashing_queue_are_refused_at_once() {
        let (go, hashing) = gated();
        let verify = || {
            let hashing = Arc::clone(&hashing);
            Box::pin(async move { hashing.verify("x".to_owned(), Some("hash of x".to_owned()), CLIENT).await })
        };
        let mut waiting = join_all((0..=MAX_WAITING).map(|_| verify()));
        // Each request was polled once.
        assert!(unconstrained(&mut waiting).now_or_never().is_none());
        assert!(matches!(verify().await, Err(AppError::Overloaded)));
        for _ in 0..=MAX_WAITING {
            go.send(()).unwrap();
        }
        assert!(waiting.await.into_iter().all(|result| result.unwrap()));
    }

    #[tokio::test]
    async fn the_dummy_password_never_verifies() {
        let (go, hashing) = gated();
        go.send(()).unwrap();
        assert!(!hashing.verify("the dummy password".to_owned(), None, CLIENT).await.unwrap());
    }
}
