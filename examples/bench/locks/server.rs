//! A small server for one strategy: no authentication, no idempotency, no events, nothing but the locks.

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

use super::strategies::{Locker, Strategy, Verdict, Wish};
use concert_reservation::infrastructure::mysql;

/// Connections to the database: what does best here, by the prototype's measurements and ours.
const CONNECTIONS: u32 = 16;

/// Serves until the process is ended.
pub(crate) async fn serve(address: &str, strategy: &str, database: &str) -> anyhow::Result<()> {
    let strategy = Strategy::ALL.into_iter().find(|it| it.name() == strategy).context("an unknown strategy")?;
    let pool = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .min_connections(CONNECTIONS)
        .acquire_timeout(std::time::Duration::from_mins(1))
        .test_before_acquire(false)
        // As the real server has it.
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.map(|_| ())
            })
        })
        .connect_with(mysql::parse_url(database)?)
        .await?;
    let locker = Arc::new(Locker { pool, strategy, conflicts: AtomicUsize::new(0) });
    let router = Router::new()
        .route("/readyz", get(async || StatusCode::OK))
        .route("/conflicts", get(conflicts))
        .route("/seats", post(hold))
        .route("/charges", post(charge))
        .with_state(locker);
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router.into_make_service()).await?)
}

async fn conflicts(State(locker): State<Arc<Locker>>) -> String {
    locker.conflicts.load(Ordering::Relaxed).to_string()
}

/// The body is the user and the seats, as numbers with spaces.
async fn hold(State(locker): State<Arc<Locker>>, body: String) -> StatusCode {
    fulfil(&locker, &body, Wish::Hold).await
}

/// The body is the user.
async fn charge(State(locker): State<Arc<Locker>>, body: String) -> StatusCode {
    fulfil(&locker, &body, |_| Wish::Charge).await
}

async fn fulfil(locker: &Locker, body: &str, wish: fn(Vec<u32>) -> Wish) -> StatusCode {
    let mut numbers = body.split(' ').map_while(|number| number.parse().ok());
    let Some(user) = numbers.next() else { return StatusCode::BAD_REQUEST };
    match locker.fulfil(user, wish(numbers.collect())).await {
        Ok(Verdict::Done) => StatusCode::CREATED,
        Ok(Verdict::Taken | Verdict::Conflict) => StatusCode::CONFLICT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
