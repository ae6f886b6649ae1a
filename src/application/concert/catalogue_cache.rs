//! The cache of public answers: concurrent requests, and repeated ones within `max_age`, share one read.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::TimeDelta;
use metrics::Counter;
use moka::future::Cache;

use crate::{
    application::{changes::ChangeCounter, error::AppError},
    domain::clock::{Clock, Instant},
};

/// The most bytes of cached answers of each kind.
const CAPACITY_BYTES: u64 = 32 * 1024 * 1024;

/// The time for which an unused answer stays in memory. Its age is checked separately, by the clock.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer or a failure.
struct CachedAnswer<T> {
    result: Result<T, AppError>,
    /// The instant before the read, or that of its oldest shared part if that is earlier.
    read_at: Instant,
    /// Whether a part of it was read for another answer before.
    is_shared: bool,
    changes: u64,
    rendered: OnceLock<RenderedBody>,
}

/// The rendered bytes of an answer.
#[derive(Clone, Debug)]
pub struct RenderedBody {
    /// The bytes, shared by all responses.
    pub bytes: Arc<Vec<u8>>,
    /// A hash of the bytes, the same on every instance.
    pub digest: u64,
}

impl RenderedBody {
    fn new(bytes: Vec<u8>) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self { bytes: Arc::new(bytes), digest: hasher.finish() }
    }
}

/// The result of a read.
pub(super) struct Reading<T> {
    pub(super) value: T,
    /// The instant of its oldest shared part, if it has any.
    pub(super) as_of: Option<Instant>,
}

/// An answer for one request.
pub struct CatalogueAnswer<T> {
    answer: Arc<CachedAnswer<T>>,
    is_cached: bool,
}

impl<T> CatalogueAnswer<T> {
    /// Whether it was read for another request, less than `max_age` ago.
    pub fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// The answer.
    ///
    /// # Errors
    ///
    /// The refusal or failure of the read.
    pub fn value(&self) -> Result<&T, AppError> {
        self.answer.result.as_ref().map_err(Clone::clone)
    }

    /// The rendered bytes; `render` runs the first time only.
    ///
    /// # Errors
    ///
    /// The refusal or failure of the read.
    pub fn rendered(&self, render: impl FnOnce(&T) -> Vec<u8>) -> Result<RenderedBody, AppError> {
        let value = self.value()?;
        Ok(self.answer.rendered.get_or_init(|| RenderedBody::new(render(value))).clone())
    }
}

/// Cached answers of one kind. Each returned answer is younger than `max_age`, and was read after every change that
/// this process made before the request.
pub(super) struct CatalogueCache<K, T> {
    clock: Arc<dyn Clock>,
    max_age: TimeDelta,
    changes: ChangeCounter,
    cached: Cache<K, Arc<CachedAnswer<T>>>,
    hits: Counter,
    misses: Counter,
}

impl<K, T> CatalogueCache<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// An empty cache; `size` estimates the bytes of an answer with its rendered text.
    pub(super) fn new(
        name: &'static str,
        clock: Arc<dyn Clock>,
        max_age: Duration,
        changes: ChangeCounter,
        size: fn(&K, Option<&T>) -> usize,
    ) -> Self {
        let weight = move |key: &K, answer: &Arc<CachedAnswer<T>>| {
            u32::try_from(size(key, answer.result.as_ref().ok())).unwrap_or(u32::MAX)
        };
        Self {
            clock,
            max_age: TimeDelta::from_std(max_age).unwrap_or(TimeDelta::zero()),
            changes,
            cached: Cache::builder().max_capacity(CAPACITY_BYTES).weigher(weight).time_to_idle(IDLE_TIMEOUT).build(),
            hits: metrics::counter!("cache_hits_total", "cache" => name),
            misses: metrics::counter!("cache_misses_total", "cache" => name),
        }
    }

    /// The cached answer of `key`, or the result of `read`, which runs once for concurrent requests. Refusals are
    /// cached as well; failures aren't.
    ///
    /// Only a request without a cached answer awaits its `turn`, and has it until the read ends. It doesn't join the
    /// read of a request whose turn hasn't come: a client's turn mustn't depend on another client's.
    pub(super) async fn get<P, F>(
        &self,
        key: &K,
        turn: impl Future<Output = Result<P, AppError>>,
        read: impl Fn() -> F,
    ) -> Result<CatalogueAnswer<T>, AppError>
    where
        F: Future<Output = Result<Reading<T>, AppError>> + Send,
    {
        let (changes, now) = (self.changes.current(), self.clock.now());
        if let Some(answer) = self.cached.get(key).await.filter(|answer| self.is_fresh(answer, changes, now)) {
            self.hits.increment(1);
            answer.result.as_ref().map_err(Clone::clone)?;
            return Ok(CatalogueAnswer { answer, is_cached: true });
        }
        let _turn = turn.await?;
        if self.max_age.is_zero() {
            return Ok(CatalogueAnswer { answer: self.read(&read).await, is_cached: false });
        }
        loop {
            let (changes, now) = (self.changes.current(), self.clock.now());
            let is_over = |answer: &Arc<CachedAnswer<T>>| !self.is_fresh(answer, changes, now);
            let entry = self.cached.entry_by_ref(key).or_insert_with_if(self.read(&read), is_over).await;
            let is_cached = !entry.is_fresh() || entry.value().is_shared;
            let answer = entry.into_value();
            // Another request started this read before the change.
            if answer.changes < changes {
                continue;
            }
            if is_cached { &self.hits } else { &self.misses }.increment(1);
            let answer = CatalogueAnswer { answer, is_cached };
            answer.value()?;
            return Ok(answer);
        }
    }

    async fn read<F>(&self, read: &impl Fn() -> F) -> Arc<CachedAnswer<T>>
    where
        F: Future<Output = Result<Reading<T>, AppError>>,
    {
        let (changes, now) = (self.changes.current(), self.clock.now());
        let reading = read().await;
        let read_at = reading.as_ref().ok().and_then(|reading| reading.as_of).map_or(now, |as_of| as_of.min(now));
        Arc::new(CachedAnswer {
            result: reading.map(|reading| reading.value),
            read_at,
            is_shared: read_at < now,
            changes,
            rendered: OnceLock::new(),
        })
    }

    fn is_fresh(&self, answer: &CachedAnswer<T>, changes: u64, now: Instant) -> bool {
        let is_answer = matches!(answer.result, Ok(_) | Err(AppError::Refused(_)));
        is_answer && answer.changes >= changes && (now - answer.read_at).abs() < self.max_age
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use futures::{FutureExt, future::join_all};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        application::fair_queue::FairQueue,
        domain::{clock::ManualClock, refusal::Refusal},
    };

    struct Reads {
        cache: CatalogueCache<u8, usize>,
        clock: Arc<ManualClock>,
        changes: ChangeCounter,
        count: AtomicUsize,
    }

    impl Reads {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::at(Instant::default()));
            let changes = ChangeCounter::default();
            let second = Duration::from_secs(1);
            let cache = CatalogueCache::new("test", Arc::clone(&clock) as _, second, changes.clone(), |_, _| 100);
            Self { cache, clock, changes, count: AtomicUsize::new(0) }
        }

        /// The number of the read that the answer is from.
        async fn get(&self, key: u8) -> usize {
            let read = || async {
                let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                Ok(Reading { value: count, as_of: None })
            };
            *self.cache.get(&key, ready(Ok(())), read).await.unwrap().answer.result.as_ref().unwrap()
        }

        async fn fail(&self, error: AppError) -> bool {
            let read = || async {
                self.count.fetch_add(1, Ordering::SeqCst);
                Err(error.clone())
            };
            self.cache.get(&9, ready(Ok(())), read).await.is_err()
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_once_for_concurrent_requests_and_reused_for_less_than_a_second() {
        let reads = Reads::new();
        let first = join_all((0..100).map(|_| reads.get(1))).await;
        assert!(first.iter().all(|count| *count == 1), "{first:?}");
        assert_eq!(reads.get(2).await, 2, "something else");
        reads.clock.advance(TimeDelta::milliseconds(999));
        assert_eq!(reads.get(1).await, 1);
        reads.clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(reads.get(1).await, 3);
        reads.clock.advance(TimeDelta::seconds(-1));
        assert_eq!(reads.get(1).await, 4, "a clock that was set back");
    }

    #[tokio::test]
    async fn no_answer_from_before_a_change_is_returned_after_it() {
        let reads = Reads::new();
        assert_eq!(reads.get(1).await, 1);
        reads.changes.increment();
        assert_eq!(reads.get(1).await, 2);
        // The change is made during a read.
        reads.clock.advance(TimeDelta::seconds(1));
        let late = async {
            tokio::task::yield_now().await;
            reads.changes.increment();
            reads.get(1).await
        };
        let (early, late) = tokio::join!(reads.get(1), late);
        assert_eq!((early, late), (3, 4));
    }

    /// One client requests many answers. Another one wants the last of them, and doesn't wait for the others.
    #[tokio::test]
    async fn a_client_that_requests_many_answers_delays_another_by_one_read() {
        let Reads { cache, .. } = Reads::new();
        let (queue, may_read, read_keys) = (FairQueue::new(1, 100), Semaphore::new(0), Mutex::new(Vec::new()));
        let request = async |client: u8, key: u8| {
            let read = || async {
                may_read.acquire().await.unwrap().forget();
                read_keys.lock().unwrap().push(key);
                Ok(Reading { value: usize::from(key), as_of: None })
            };
            cache.get(&key, queue.acquire([192, 0, 2, client].into()), read).await.map(|_| ())
        };
        let mut many = Box::pin(join_all((0..50).map(|key| request(1, key))));
        assert!((&mut many).now_or_never().is_none());
        let mut other = Box::pin(request(2, 49));
        assert!((&mut other).now_or_never().is_none());
        may_read.add_permits(50);
        let (many, other) = tokio::join!(many, other);
        assert!(other.is_ok() && many.iter().all(Result::is_ok));
        let read_keys = read_keys.into_inner().unwrap();
        assert_eq!((read_keys.len(), &read_keys[..3]), (50, &[0, 1, 49][..]));
    }

    #[tokio::test]
    async fn refusals_are_cached_and_failures_are_not() {
        let reads = Reads::new();
        for _ in 0..3 {
            assert!(reads.fail(AppError::Overloaded).await);
        }
        assert_eq!(reads.count.load(Ordering::SeqCst), 3);
        for _ in 0..3 {
            assert!(reads.fail(Refusal::ConcertNotFound.into()).await);
        }
        assert_eq!(reads.count.load(Ordering::SeqCst), 4);
    }
}
