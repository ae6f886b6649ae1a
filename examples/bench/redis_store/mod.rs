//! A private Redis for the comparisons: its process, its durability, and connections to it.
//!
//! The server of this project doesn't use Redis. These servers have neither authentication nor idempotency nor events,
//! so the comparisons favour Redis.

pub(crate) mod lock;
pub(crate) mod queue;
pub(crate) mod queue_server;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

/// The limit for Redis to answer after its start; it reads its file first.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The limit for an answer. A flush of the file may take long on a loaded disk.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// When Redis writes to its disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// As shipped: a snapshot after a minute with 10,000 writes, after 5 minutes with 100, after an hour with 1.
    Snapshots,
    /// Every write is appended to a file, which is flushed once a second.
    EverySecond,
    /// Every write is appended and flushed before its answer.
    Always,
}

impl Durability {
    /// Its name in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Snapshots => "snapshots only",
            Self::EverySecond => "appendfsync everysec",
            Self::Always => "appendfsync always",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Snapshots => &["--appendonly", "no"],
            Self::EverySecond => &["--appendonly", "yes", "--appendfsync", "everysec"],
            Self::Always => &["--appendonly", "yes", "--appendfsync", "always"],
        }
    }

    /// Its folder, on the same file system as the private database.
    fn folder(self) -> PathBuf {
        let name = match self {
            Self::Snapshots => "snapshots",
            Self::EverySecond => "everysec",
            Self::Always => "always",
        };
        Path::new(".local").join(format!("bench-redis-{name}"))
    }

    /// The socket of a Redis with this durability. It is relative, because the path of a socket must be short.
    pub(crate) fn socket(self) -> PathBuf {
        self.folder().join("redis.sock")
    }
}

/// The version of `redis-server`; `None` where it isn't installed.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("redis-server").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}

/// Fails where `redis-server` isn't installed.
pub(crate) fn require() -> anyhow::Result<String> {
    version().context("this scenario needs redis-server (Debian: apt-get install redis-server)")
}

/// A Redis process with an empty folder; dropping it kills the process and removes the folder.
pub(crate) struct RedisServer {
    child: Child,
    durability: Durability,
}

impl RedisServer {
    /// Starts an empty Redis, and waits until it answers.
    pub(crate) async fn start(durability: Durability) -> anyhow::Result<Self> {
        let folder = durability.folder();
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).context("creating the folder of Redis")?;
        let mut server = Self { child: spawn(durability)?, durability };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Sends SIGKILL, and waits for the end of the process.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again with the files that the last process left. Returns the time until it answered.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.child = spawn(self.durability)?;
        self.wait_until_ready().await?;
        Ok(started.elapsed())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if let Ok(mut connection) = connect(&self.durability.socket()).await
                && redis::cmd("PING").query_async::<()>(&mut connection).await.is_ok()
            {
                return Ok(());
            }
            ensure!(self.child.try_wait()?.is_none(), "redis-server ended while starting");
            ensure!(started.elapsed() < START_TIMEOUT, "redis-server isn't ready in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = std::fs::remove_dir_all(self.durability.folder());
    }
}

fn spawn(durability: Durability) -> anyhow::Result<Child> {
    Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", "redis.sock", "--daemonize", "no", "--loglevel", "warning"])
        .args(durability.arguments())
        .current_dir(durability.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("starting redis-server")
}

/// The client of the Redis with this socket.
fn client(socket: &Path) -> RedisResult<Client> {
    Client::open(ConnectionAddr::Unix(socket.to_owned()).into_connection_info()?)
}

/// A connection that its clones share. After a loss it fails the commands in flight, and connects again.
pub(crate) async fn connect(socket: &Path) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_number_of_retries(0)
        .set_min_delay(Duration::from_millis(5));
    ConnectionManager::new_with_config(client(socket)?, config).await
}
