//! What is measured beside the server: the most that the database, and a server that does nothing, can do here.

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

/// With how many connections the limit of the database is taken.
pub(crate) const UPDATERS: u32 = 8;

/// Single-row updates a second that are durable one by one, over 8 connections, each with a row of its own.
///
/// On threads of its own, so that nothing here holds the database back.
pub(crate) async fn durable_updates(database: &MySqlConnectOptions, time: Duration) -> anyhow::Result<f64> {
    let database = database.clone();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(update_for(&database, time))
    };
    tokio::task::spawn_blocking(work).await?
}

async fn update_for(database: &MySqlConnectOptions, time: Duration) -> anyhow::Result<f64> {
    let mut connection = MySqlConnection::connect_with(database).await?;
    sqlx::query("DROP TABLE IF EXISTS bench_limit").execute(&mut connection).await?;
    sqlx::query("CREATE TABLE bench_limit (id INT PRIMARY KEY, n BIGINT NOT NULL)").execute(&mut connection).await?;
    let mut connections = Vec::new();
    for id in 0..UPDATERS {
        sqlx::query("INSERT INTO bench_limit VALUES (?, 0)").bind(id).execute(&mut connection).await?;
        connections.push((id, MySqlConnection::connect_with(database).await?));
    }
    // What comes first isn't counted: statements are prepared, pages are read.
    let started = Instant::now() + time / 4;
    let count = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for (id, mut connection) in connections {
        let count = Arc::clone(&count);
        tasks.spawn(async move {
            while started.elapsed() < time {
                let counts = started <= Instant::now();
                sqlx::query("UPDATE bench_limit SET n = n + 1 WHERE id = ?").bind(id).execute(&mut connection).await?;
                count.fetch_add(usize::from(counts), Ordering::Relaxed);
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

/// An answer of the server, to be given again by a bare handler: the same bytes, but for the date.
#[derive(Clone)]
pub(crate) struct Recorded {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Recorded {
    /// Reads an answer as it came over the wire.
    pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("the end of a head")?;
        let head = std::str::from_utf8(&bytes[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.get(9..12)).context("a status line")?.parse()?;
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            // These two are the HTTP library's, there as here.
            if !name.eq_ignore_ascii_case("date") && !name.eq_ignore_ascii_case("content-length") {
                headers.append(name.parse::<HeaderName>()?, HeaderValue::from_str(value.trim())?);
            }
        }
        Ok(Self { status, headers, body: Bytes::copy_from_slice(&bytes[end + 4..]) })
    }
}

/// Answers every request with the bytes in a file, by axum and nothing else, until the process is ended.
pub(crate) async fn serve_bare(address: &str, file: &str) -> anyhow::Result<()> {
    let recorded = Recorded::parse(&std::fs::read(file)?)?;
    let router = Router::new().fallback(async move || {
        let Recorded { status, headers, body } = recorded.clone();
        // Bytes would be given a type where the server gives none.
        (status, headers, Body::from(body))
    });
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router.into_make_service()).await?)
}
