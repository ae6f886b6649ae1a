//! A small server for one locking strategy, without authentication, idempotency or events.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
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
use concert_reservation::infrastructure::mysql;

/// Connections to the database: the fastest number in measurements of the prototype and of this tool.
const CONNECTIONS: u32 = 16;

/// Serves until the process is killed.
pub(crate) async fn serve(address: &str, strategy: &str, database: &str) -> anyhow::Result<()> {
    let strategy = Strategy::ALL.into_iter().find(|it| it.name() == strategy).context("an unknown strategy")?;
    let pool = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .min_connections(CONNECTIONS)
        .acquire_timeout(std::time::Duration::from_mins(1))
        .test_before_acquire(false)
        // Like the real server.
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.map(|_| ())
            })
        })
        .connect_with(mysql::parse_url(database)?)
        .await?;
    let server = Arc::new(LockServer { pool, strategy, conflicts: AtomicUsize::new(0) });
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
        Ok(AttemptOutcome::AlreadyTaken | AttemptOutcome::Conflict) => StatusCode::CONFLICT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
