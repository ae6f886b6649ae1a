//! A small server for one locking strategy, without authentication, idempotency or events.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use sqlx::{Executor, mysql::MySqlPoolOptions};

use super::strategies::{AttemptOutcome, LockServer, Operation, Strategy};
use crate::redis_store::lock::RedisLocks;
use concert_reservation::infrastructure::mysql;

/// Connections to the database: the fastest number in measurements of the prototype and of this tool.
const CONNECTIONS: u32 = 16;

/// The settings of a strategy's server.
pub(crate) struct LockSettings<'a> {
    pub(crate) strategy: Strategy,
    pub(crate) database: &'a str,
    /// The socket of Redis, for the strategies that use it.
    pub(crate) redis: &'a str,
    /// After this time a lock in Redis lapses.
    pub(crate) time_to_live: Duration,
    /// The time that a hold takes between its reads and its writes.
    pub(crate) work: Duration,
}

impl LockSettings<'_> {
    /// The arguments of the process that serves at `address`.
    pub(crate) fn arguments(&self, address: &str) -> Vec<String> {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let texts = ["locks", address, self.strategy.name(), self.database, self.redis];
        let times = [milliseconds(self.time_to_live), milliseconds(self.work)];
        texts.into_iter().map(str::to_owned).chain(times).collect()
    }
}

/// Serves until the process is killed. The arguments are those of [`LockSettings::arguments`].
pub(crate) async fn serve(address: &str, strategy: &str, database: &str, rest: [&str; 3]) -> anyhow::Result<()> {
    let strategy = Strategy::ALL.into_iter().find(|it| it.name() == strategy).context("an unknown strategy")?;
    let pool = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .min_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_mins(1))
        .test_before_acquire(false)
        // Like the real server.
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.map(|_| ())
            })
        })
        .connect_with(mysql::parse_url(database)?)
        .await?;
    let [redis, time_to_live, work] = rest;
    let milliseconds = |text: &str| anyhow::Ok(Duration::from_millis(text.parse()?));
    let locks = match strategy.redis_lock() {
        Some(kind) => Some(RedisLocks::connect(kind, Path::new(redis), milliseconds(time_to_live)?).await?),
        None => None,
    };
    let work = milliseconds(work)?;
    let server = Arc::new(LockServer { pool, strategy, locks, work, conflicts: AtomicUsize::new(0) });
    let router = Router::new()
        .route("/readyz", get(async || StatusCode::OK))
        .route("/conflicts", get(conflicts))
        .route("/seats", post(hold))
        .route("/charges", post(charge))
        .with_state(server);
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router.into_make_service()).await?)
}

async fn conflicts(State(server): State<Arc<LockServer>>) -> String {
    server.conflicts.load(Ordering::Relaxed).to_string()
}

/// The body is the user's number and the seats' numbers, separated by spaces.
async fn hold(State(server): State<Arc<LockServer>>, body: String) -> StatusCode {
    respond(&server, &body, Operation::Hold).await
}

/// The body is the user's number.
async fn charge(State(server): State<Arc<LockServer>>, body: String) -> StatusCode {
    respond(&server, &body, |_| Operation::Charge).await
}

async fn respond(server: &LockServer, body: &str, operation: fn(Vec<u32>) -> Operation) -> StatusCode {
    let mut numbers = body.split(' ').map_while(|number| number.parse().ok());
    let Some(user) = numbers.next() else { return StatusCode::BAD_REQUEST };
    match server.execute(user, operation(numbers.collect())).await {
        Ok(AttemptOutcome::Done) => StatusCode::CREATED,
        Ok(AttemptOutcome::AlreadyTaken) => StatusCode::CONFLICT,
        // A repetition may succeed.
        Ok(AttemptOutcome::Conflict) => StatusCode::LOCKED,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
