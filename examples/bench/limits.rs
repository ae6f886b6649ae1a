//! The limits that rates are compared with: durable updates of the database, and requests to a bare HTTP handler.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
};
use sqlx::{Connection as _, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::task::JoinSet;

use crate::statistics::rate;

/// Connections of the database's limit.
pub(crate) const UPDATE_CONNECTIONS: u32 = 8;

/// Single-row updates per second, each durable on its own, over 8 connections with separate rows.
///
/// Runs on separate threads, so that the client doesn't slow the database down.
pub(crate) async fn durable_updates(database: &MySqlConnectOptions, time: Duration) -> anyhow::Result<f64> {
    let database = database.clone();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run_updates(&database, time))
    };
    tokio::task::spawn_blocking(work).await?
}

async fn run_updates(database: &MySqlConnectOptions, time: Duration) -> anyhow::Result<f64> {
    let mut connection = MySqlConnection::connect_with(database).await?;
    sqlx::query("DROP TABLE IF EXISTS bench_limit").execute(&mut connection).await?;
    sqlx::query("CREATE TABLE bench_limit (id INT PRIMARY KEY, n BIGINT NOT NULL)").execute(&mut connection).await?;
    let mut connections = Vec::new();
    for id in 0..UPDATE_CONNECTIONS {
        sqlx::query("INSERT INTO bench_limit VALUES (?, 0)").bind(id).execute(&mut connection).await?;
        connections.push((id, MySqlConnection::connect_with(database).await?));
    }
    // The first quarter is a warm-up: statements are prepared, pages are read.
    let started = Instant::now() + time / 4;
    let count = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for (id, mut connection) in connections {
        let count = Arc::clone(&count);
        tasks.spawn(async move {
            while started.elapsed() < time {
                let is_measured = started <= Instant::now();
                sqlx::query("UPDATE bench_limit SET n = n + 1 WHERE id = ?").bind(id).execute(&mut connection).await?;
                count.fetch_add(usize::from(is_measured), Ordering::Relaxed);
            }
            connection.close().await
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    let rate = rate(count.load(Ordering::Relaxed), started.elapsed());
    sqlx::query("DROP TABLE bench_limit").execute(&mut connection).await?;
    connection.close().await?;
    Ok(rate)
}

/// A response of the server that a bare handler repeats: the same bytes except for the date.
#[derive(Clone)]
pub(crate) struct RecordedResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl RecordedResponse {
    /// Parses the raw bytes of a response.
    pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("the end of a head")?;
        let head = std::str::from_utf8(&bytes[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.get(9..12)).context("a status line")?.parse()?;
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            // The HTTP library adds these two in both servers.
            if !name.eq_ignore_ascii_case("date") && !name.eq_ignore_ascii_case("content-length") {
                headers.append(name.parse::<HeaderName>()?, HeaderValue::from_str(value.trim())?);
            }
        }
        Ok(Self { status, headers, body: Bytes::copy_from_slice(&bytes[end + 4..]) })
    }
}

/// Answers every request with the response in a file, by axum without layers, until the process is killed.
pub(crate) async fn serve_bare(address: &str, file: &str) -> anyhow::Result<()> {
    let recorded = RecordedResponse::parse(&std::fs::read(file)?)?;
    let router = Router::new().fallback(async move || {
        let RecordedResponse { status, headers, body } = recorded.clone();
        // `Bytes` would add a content type where the server sends none.
        (status, headers, Body::from(body))
    });
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router.into_make_service()).await?)
}
