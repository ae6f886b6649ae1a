//! A rough load tool: holds of two seats over HTTP against a running server, and the limit taken beside it.
//!
//! ```text
//! cargo run --release --example load -- [--connections 64] [--holds 20000] [--url http://127.0.0.1:8080]
//! ```
//!
//! It reads `DATABASE_URL` and `TOKEN_SECRET` as the server does: it writes its own users, sale and tokens straight
//! into the database, so that passwords aren't what is measured. Everything else is on: access token, queue token,
//! idempotency key, events. The client is a few hundred bytes of HTTP/1.1 on a socket, so that it isn't the limit.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use chrono::TimeDelta;
use concert_reservation::{
    app::{App, system_clock},
    application::concert::CreatePerformance,
    config::Config,
    domain::{
        concert::{ConcertFields, Seating, Section},
        id::{PerformanceId, SessionId, UserId},
        queue::{QueueMode, QueueSettings},
        randomness::new_uuid,
        text::{Email, Name},
        token::AccessClaims,
        user::{Role, Session, User},
    },
    infrastructure::mysql,
};
use sqlx::{Connection, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// How many holds of two seats one user can have at the default limit.
const HOLDS_PER_USER: usize = 2;

/// For how long the limit is measured.
const LIMIT_TIME: Duration = Duration::from_secs(3);

struct Options {
    connections: usize,
    holds: usize,
    address: String,
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&options))
}

fn options() -> anyhow::Result<Options> {
    let mut options =
        Options { connections: 64, holds: 20_000, address: "127.0.0.1:8080".to_owned() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--connections" => options.connections = value.parse()?,
            "--holds" => options.holds = value.parse()?,
            "--url" => value.trim_start_matches("http://").trim_end_matches('/').clone_into(&mut options.address),
            _ => anyhow::bail!("unknown option {name}"),
        }
    }
    Ok(options)
}

async fn run(options: &Options) -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a tool of its own: it has no other configuration")]
    let config = Config::from_lookup(|name| std::env::var(name).ok())?;
    let database = mysql::parse_url(&config.database_url)?;
    let limit = durable_updates(&database, 8).await?;
    report("durable single-row updates, 8 connections", limit, "per second");

    let requests = prepare(&config, database, options.holds).await?;
    let spread = requests.len();
    let (elapsed, mut latencies, statuses) = send_all(options, requests).await?;
    latencies.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let rate = spread as f64 / elapsed.as_secs_f64();
    report(&format!("holds of 2 seats, {} connections", options.connections), rate, "per second");
    report("  of the limit", rate / limit, "");
    for (name, part) in [("p50", 50), ("p99", 99)] {
        let latency = latencies[(latencies.len() - 1) * part / 100];
        report(&format!("  {name}"), latency.as_secs_f64() * 1_000.0, "ms");
    }
    say(&format!("  answers: {statuses:?}"));
    Ok(())
}

/// Single-row updates that are durable one by one: what the database can do at most, so to speak.
async fn durable_updates(database: &MySqlConnectOptions, connections: u32) -> anyhow::Result<f64> {
    let mut connection = MySqlConnection::connect_with(database).await?;
    sqlx::query("DROP TABLE IF EXISTS load_limit").execute(&mut connection).await?;
    sqlx::query("CREATE TABLE load_limit (id INT PRIMARY KEY, n BIGINT NOT NULL)").execute(&mut connection).await?;
    let count = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for id in 0..connections {
        sqlx::query("INSERT INTO load_limit VALUES (?, 0)").bind(id).execute(&mut connection).await?;
        let (database, count) = (database.clone(), Arc::clone(&count));
        tasks.spawn(async move {
            let mut connection = MySqlConnection::connect_with(&database).await?;
            while started.elapsed() < LIMIT_TIME {
                sqlx::query("UPDATE load_limit SET n = n + 1 WHERE id = ?").bind(id).execute(&mut connection).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            connection.close().await
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    sqlx::query("DROP TABLE load_limit").execute(&mut connection).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of updates")]
    Ok(count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}

/// Writes a sale and its buyers, and the requests they will send: distinct users, seats spread over the house.
async fn prepare(config: &Config, database: MySqlConnectOptions, holds: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let app = App::build(config, database, system_clock())?;
    let (performance, seats, concert) = sale(&app, holds * 2).await?;
    let users = holds.div_ceil(HOLDS_PER_USER);
    let app = Arc::new(app);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let (app, next) = (Arc::clone(&app), Arc::clone(&next));
        tasks.spawn(async move {
            let mut buyers = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < users {
                buyers.push(buyer(&app, concert).await?);
            }
            anyhow::Ok(buyers)
        });
    }
    let mut buyers = Vec::new();
    while let Some(result) = tasks.join_next().await {
        buyers.extend(result??);
    }
    let pairs: Vec<_> = seats.chunks_exact(2).collect();
    ensure!(pairs.len() >= holds, "the house is too small");
    // A stride that shares no factor with the number of pairs visits each once, far from the one before.
    let stride = 7_919;
    ensure!(pairs.len() % stride != 0, "choose another number of holds");
    let request = |number: usize| {
        let (token, queue_token) = &buyers[number % buyers.len()];
        let pair = pairs[number * stride % pairs.len()];
        let body = format!("{{\"performanceId\":{},\"seatIds\":[{},{}]}}", performance.0, pair[0], pair[1]);
        format!(
            "POST /api/v1/bookings HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {token}\r\n\
             Queue-Token: {queue_token}\r\nIdempotency-Key: hold-{number}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    Ok((0..holds).map(request).collect())
}

async fn sale(
    app: &App,
    seats: usize,
) -> anyhow::Result<(PerformanceId, Vec<u64>, concert_reservation::domain::id::ConcertId)> {
    let concerts = &app.shared.concerts;
    let name = Name::new("Load")?;
    let venue = concerts.create_venue(&name, &name).await?;
    let fields = ConcertFields {
        title: name.clone(),
        artist: name.clone(),
        category: name.clone(),
        description: String::new(),
    };
    let concert = concerts.create_concert(&fields).await?.listed.concert.id;
    let settings = QueueSettings {
        mode: QueueMode::Open,
        max_active: 1_000_000,
        active_seconds: 86_400,
        claim_seconds: 3_600,
        ..QueueSettings::default()
    };
    concerts.set_queue(concert, settings).await?;
    let rows = u16::try_from(seats.div_ceil(100))?;
    let section = Section { name: name.clone(), grade: name, rows, seats_per_row: 100, price: "50000".parse()? };
    let starts_at = app.ports.now() + TimeDelta::days(30);
    let command =
        CreatePerformance { concert_id: concert, venue_id: venue.id, starts_at, seating: Seating::new(vec![section])? };
    let performance = concerts.create_performance(&command).await?.listed.performance.id;
    let seats = app.ports.database.read().await?.concerts().list_seats(performance).await?;
    Ok((performance, seats.into_iter().map(|seat| seat.id.0).collect(), concert))
}

/// An account with a login and an active queue token: the texts of both tokens.
async fn buyer(app: &App, concert: concert_reservation::domain::id::ConcertId) -> anyhow::Result<(String, String)> {
    let ports = &app.ports;
    let now = ports.now();
    let id = UserId(new_uuid(&*ports.randomness, now));
    let user = User {
        id,
        email: Email::new(&format!("{id}@load.example"))?,
        name: Name::new("Load")?,
        role: Role::User,
        password_hash: "none: this account was made by the load tool".to_owned(),
        created_at: now,
    };
    let expires_at = now + TimeDelta::days(1);
    let session = Session {
        id: SessionId(new_uuid(&*ports.randomness, now)),
        user_id: id,
        created_at: now,
        expires_at,
        revoked_at: None,
    };
    let mut uow = ports.database.begin().await?;
    uow.users().insert(&user).await?;
    uow.sessions().insert(&session).await?;
    uow.commit().await?;
    let (place, _) = app.shared.queue.join(id, concert).await?;
    let claims = AccessClaims { user_id: id, session_id: session.id, role: Role::User, expires_at };
    Ok((ports.signer.access_token(&claims), place.text))
}

type Answers = (Duration, Vec<Duration>, BTreeMap<u16, usize>);

/// Sends all requests over so many connections, each the next one as soon as the last is answered.
async fn send_all(options: &Options, requests: Vec<Vec<u8>>) -> anyhow::Result<Answers> {
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        let stream = TcpStream::connect(&options.address).await.context("connecting to the server")?;
        stream.set_nodelay(true)?;
        connections.push(stream);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut stream in connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        tasks.spawn(async move {
            let mut answers = Vec::new();
            let mut buffer = Vec::with_capacity(16_384);
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let sent = Instant::now();
                stream.write_all(request).await?;
                let status = read_answer(&mut stream, &mut buffer).await?;
                answers.push((status, sent.elapsed()));
            }
            anyhow::Ok(answers)
        });
    }
    let mut latencies = Vec::with_capacity(requests.len());
    let mut statuses = BTreeMap::new();
    while let Some(result) = tasks.join_next().await {
        for (status, latency) in result?? {
            latencies.push(latency);
            *statuses.entry(status).or_insert(0) += 1;
        }
    }
    Ok((started.elapsed(), latencies, statuses))
}

/// Reads one answer off a connection that is kept, and gives its status.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<u16> {
    buffer.clear();
    loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the server closed the connection");
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end])?;
        let status = head.get(9..12).context("a status line")?.parse()?;
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::trim).map(str::to_owned))
            .context("a Content-Length")?
            .parse::<usize>()?;
        if buffer.len() >= end + 4 + length {
            return Ok(status);
        }
    }
}

fn report(name: &str, figure: f64, unit: &str) {
    say(&format!("{name:45} {figure:10.2} {unit}"));
}

#[expect(clippy::print_stdout, reason = "the tool's output")]
fn say(line: &str) {
    println!("{line}");
}
