//! The three locks in Redis that servers of this kind use. All of them set a key that lapses, and release it by a
//! script that deletes the key only if it is still the holder's.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use redis::{
    RedisResult, Script,
    aio::{ConnectionManager, PubSubSink},
};
use tokio::{sync::Notify, task::JoinSet};

/// The behaviour of a request that finds the lock taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RedisLockKind {
    /// `SET NX PX` once: the request fails at once.
    SetNx,
    /// `SET NX PX` until it succeeds, with growing pauses.
    Spinning,
    /// As Redisson's `RLock`: waits for a message on the lock's channel, at most until the lock lapses.
    PubSub,
}

/// After this time a request that waits for a lock fails.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The first pause of a spinning request. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause of a spinning request.
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// As [`RELEASE`], and wakes a waiting request of each process.
const RELEASE_AND_PUBLISH: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) \
     redis.call('PUBLISH', KEYS[2], '1') return 1 end return 0";

/// Acquires locks of one kind.
pub(crate) struct RedisLocks {
    kind: RedisLockKind,
    connection: ConnectionManager,
    /// After this time a lock lapses, whatever its holder does. It isn't renewed.
    time_to_live: Duration,
    releases: Releases,
    release: Script,
    /// The number of the next holder, so that the holders of this process differ.
    next: AtomicU64,
}

/// Locks that a request holds.
pub(crate) struct HeldLocks {
    names: Vec<String>,
    holder: String,
}

impl RedisLocks {
    pub(crate) async fn connect(kind: RedisLockKind, socket: &Path, time_to_live: Duration) -> RedisResult<Self> {
        let release = Script::new(if kind == RedisLockKind::PubSub { RELEASE_AND_PUBLISH } else { RELEASE });
        Ok(Self {
            kind,
            connection: super::connect(socket).await?,
            time_to_live,
            releases: Releases::new(socket),
            release,
            next: AtomicU64::new(0),
        })
    }

    /// Acquires all locks in this order, or none of them (`None`).
    pub(crate) async fn acquire(&self, names: Vec<String>) -> RedisResult<Option<HeldLocks>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let holder = format!("{}-{number}", std::process::id());
        let mut held = HeldLocks { names: Vec::new(), holder };
        for name in names {
            if self.acquire_one(&name, &held.holder, number).await? {
                held.names.push(name);
            } else {
                self.release(held).await?;
                return Ok(None);
            }
        }
        Ok(Some(held))
    }

    /// Deletes the keys that still belong to the holder.
    pub(crate) async fn release(&self, held: HeldLocks) -> RedisResult<()> {
        for name in held.names.iter().rev() {
            let mut connection = self.connection.clone();
            let mut call = self.release.prepare_invoke();
            call.key(name).key(channel(name)).arg(&held.holder);
            call.invoke_async::<()>(&mut connection).await?;
        }
        Ok(())
    }

    async fn acquire_one(&self, name: &str, holder: &str, number: u64) -> RedisResult<bool> {
        let started = Instant::now();
        if self.try_acquire(name, holder).await? {
            return Ok(true);
        }
        match self.kind {
            RedisLockKind::SetNx => Ok(false),
            RedisLockKind::Spinning => {
                let mut pause = FIRST_PAUSE;
                while started.elapsed() < MAX_WAIT {
                    // Between half of the pause and all of it, without a random number generator.
                    let part = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60;
                    tokio::time::sleep(pause / 2 + pause / 32 * u32::try_from(part).unwrap_or(0)).await;
                    if self.try_acquire(name, holder).await? {
                        return Ok(true);
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Ok(false)
            }
            RedisLockKind::PubSub => {
                let released = self.releases.of(name).await?;
                while started.elapsed() < MAX_WAIT {
                    if self.try_acquire(name, holder).await? {
                        return Ok(true);
                    }
                    let left = self.time_left(name).await?.min(MAX_WAIT.saturating_sub(started.elapsed()));
                    let _ = tokio::time::timeout(left, released.notified()).await;
                }
                Ok(false)
            }
        }
    }

    async fn try_acquire(&self, name: &str, holder: &str) -> RedisResult<bool> {
        let mut set = redis::cmd("SET");
        set.arg(name).arg(holder).arg("NX").arg("PX").arg(u64::try_from(self.time_to_live.as_millis()).unwrap_or(0));
        Ok(set.query_async::<Option<String>>(&mut self.connection.clone()).await?.is_some())
    }

    /// The time until the lock lapses. Without a lock it is short.
    async fn time_left(&self, name: &str) -> RedisResult<Duration> {
        let left: i64 = redis::cmd("PTTL").arg(name).query_async(&mut self.connection.clone()).await?;
        Ok(Duration::from_millis(u64::try_from(left).unwrap_or(1).max(1)))
    }
}

/// The channel of a lock's releases.
fn channel(name: &str) -> String {
    format!("released:{name}")
}

/// The requests that wait, by channel.
type Waiting = Arc<Mutex<HashMap<String, Arc<Notify>>>>;

/// The subscriptions of a process, over one connection. A message wakes one waiting request, so that the others of
/// the process don't try in vain. A channel stays subscribed once a request has waited.
struct Releases {
    socket: PathBuf,
    waiting: Waiting,
    connection: tokio::sync::Mutex<Option<(PubSubSink, JoinSet<()>)>>,
}

impl Releases {
    fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), waiting: Waiting::default(), connection: tokio::sync::Mutex::new(None) }
    }

    /// Subscribes to a lock's releases.
    async fn of(&self, name: &str) -> RedisResult<Arc<Notify>> {
        let channel = channel(name);
        let mut connection = self.connection.lock().await;
        let known = lock(&self.waiting).get(&channel).cloned();
        if let Some(released) = known {
            return Ok(released);
        }
        if let Some((sink, _)) = connection.as_mut()
            && sink.subscribe(&channel).await.is_ok()
        {
            return Ok(Arc::clone(lock(&self.waiting).entry(channel).or_default()));
        }
        let (mut sink, mut messages) = super::client(&self.socket)?.get_async_pubsub().await?.split();
        let waiting = Arc::clone(&self.waiting);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Some(message) = messages.next().await {
                if let Some(released) = lock(&waiting).get(message.get_channel_name()) {
                    released.notify_one();
                }
            }
            // The connection is lost, and its subscriptions with it.
            lock(&waiting).clear();
        });
        sink.subscribe(&channel).await?;
        *connection = Some((sink, reader));
        Ok(Arc::clone(lock(&self.waiting).entry(channel).or_default()))
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Notify>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
