//! A rough load tool: requests over HTTP against running servers, and the limit taken beside them.
//!
//! ```text
//! cargo run --release --example load -- [--scenario holds|journeys] [--connections 64] [--count 20000]
//!     [--urls http://127.0.0.1:8080,http://127.0.0.1:8081]
//! ```
//!
//! `holds`: each request holds two seats. `journeys`: each buyer joins the queue, asks for the place, holds two seats,
//! charges points and pays. A connection that breaks goes on at the next server, with the same key: so a server can be
//! killed meanwhile.
//!
//! It reads `DATABASE_URL` and `TOKEN_SECRET` as the server does: it writes its own users, sale and tokens straight
//! into the database, so that passwords aren't what is measured. Everything else is on: access token, queue token,
//! idempotency key, events. The client is a few hundred bytes of HTTP/1.1 on a socket, so that it isn't the limit.

use std::{
    collections::BTreeMap,
    fmt::Write,
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
        id::{ConcertId, PerformanceId, SessionId, UserId},
        queue::{QueueMode, QueueSettings},
        randomness::new_uuid,
        text::{Email, Name},
        token::AccessClaims,
        user::{Role, Session, User},
    },
    infrastructure::mysql,
};
use sqlx::{Connection as _, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// How many holds of two seats one user can have at the default limit.
const HOLDS_PER_USER: usize = 2;

/// For how long the limit is measured.
const LIMIT_TIME: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Holds,
    Journeys,
}

/// How long a request may take, reconnecting included.
const PATIENCE: Duration = Duration::from_secs(30);

/// From one pair of seats to the next.
const STRIDE: usize = 7_919;

struct Options {
    scenario: Scenario,
    connections: usize,
    count: usize,
    addresses: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&options))
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        scenario: Scenario::Holds,
        connections: 64,
        count: 20_000,
        addresses: vec!["127.0.0.1:8080".to_owned()],
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--connections" => options.connections = value.parse()?,
            "--count" => options.count = value.parse()?,
            "--urls" => {
                let address = |url: &str| url.trim_start_matches("http://").trim_end_matches('/').to_owned();
                options.addresses = value.split(',').map(address).collect();
            }
            "--scenario" => {
                options.scenario = match value.as_str() {
                    "holds" => Scenario::Holds,
                    "journeys" => Scenario::Journeys,
                    _ => anyhow::bail!("unknown scenario {value}"),
                }
            }
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

    let work = Arc::new(prepare(&config, database, options).await?);
    let (elapsed, mut latencies, statuses) = run_all(options, work).await?;
    latencies.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let rate = options.count as f64 / elapsed.as_secs_f64();
    let name = if options.scenario == Scenario::Holds { "holds of 2 seats" } else { "journeys" };
    report(&format!("{name}, {} connections", options.connections), rate, "per second");
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

/// What the connections work on: distinct users, seats spread over the house.
struct Work {
    scenario: Scenario,
    performance: u64,
    concert: u64,
    /// Access token and, for holds, queue token.
    buyers: Vec<(String, String)>,
    pairs: Vec<[u64; 2]>,
}

impl Work {
    /// A stride that shares no factor with the number of pairs visits each once, far from the one before.
    fn pair(&self, number: usize) -> [u64; 2] {
        self.pairs[number * STRIDE % self.pairs.len()]
    }

    fn hold(&self, number: usize, token: &str, queue_token: &str) -> Vec<u8> {
        let [one, other] = self.pair(number);
        let body = format!("{{\"performanceId\":{},\"seatIds\":[{one},{other}]}}", self.performance);
        request("POST", "/api/v1/bookings", token, queue_token, &format!("hold-{number}"), &body)
    }

    /// Does the `number`th piece of work.
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let (token, queue_token) = &self.buyers[number % self.buyers.len()];
        if self.scenario == Scenario::Holds {
            connection.send(&self.hold(number, token, queue_token)).await?;
            return Ok(());
        }
        let join =
            request("POST", "/api/v1/queue/tokens", token, "", "", &format!("{{\"concertId\":{}}}", self.concert));
        let queue_token = text(&connection.send(&join).await?, "queueToken")?;
        connection.send(&request("GET", "/api/v1/queue/tokens/current", token, &queue_token, "", "")).await?;
        let booking = text(&connection.send(&self.hold(number, token, &queue_token)).await?, "bookingId")?;
        let charge = request(
            "POST",
            "/api/v1/points/charges",
            token,
            "",
            &format!("charge-{number}"),
            "{\"amount\":\"100000\"}",
        );
        connection.send(&charge).await?;
        let body = format!("{{\"bookingId\":\"{booking}\"}}");
        connection
            .send(&request("POST", "/api/v1/payments", token, &queue_token, &format!("pay-{number}"), &body))
            .await?;
        Ok(())
    }
}

/// The bytes of a request; an empty queue token or key isn't sent.
fn request(method: &str, path: &str, token: &str, queue_token: &str, key: &str, body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {token}\r\n");
    for (name, value) in [("Queue-Token", queue_token), ("Idempotency-Key", key)] {
        if !value.is_empty() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    text.into_bytes()
}

/// A string member of an answer.
fn text(answer: &[u8], member: &str) -> anyhow::Result<String> {
    let answer: serde_json::Value = serde_json::from_slice(answer)?;
    Ok(answer[member].as_str().with_context(|| format!("no {member} in {answer}"))?.to_owned())
}

/// Writes a sale and its buyers.
async fn prepare(config: &Config, database: MySqlConnectOptions, options: &Options) -> anyhow::Result<Work> {
    let app = App::build(config, database, system_clock())?;
    let (performance, seats, concert) = sale(&app, options.count * 2).await?;
    let is_journey = options.scenario == Scenario::Journeys;
    let users = if is_journey { options.count } else { options.count.div_ceil(HOLDS_PER_USER) };
    let app = Arc::new(app);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let (app, next) = (Arc::clone(&app), Arc::clone(&next));
        tasks.spawn(async move {
            let mut buyers = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < users {
                buyers.push(buyer(&app, (!is_journey).then_some(concert)).await?);
            }
            anyhow::Ok(buyers)
        });
    }
    let mut buyers = Vec::new();
    while let Some(result) = tasks.join_next().await {
        buyers.extend(result??);
    }
    let pairs: Vec<_> = seats.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
    ensure!(pairs.len() >= options.count, "the house is too small");
    ensure!(pairs.len() % STRIDE != 0, "choose another count");
    Ok(Work { scenario: options.scenario, performance: performance.0, concert: concert.0, buyers, pairs })
}

async fn sale(app: &App, seats: usize) -> anyhow::Result<(PerformanceId, Vec<u64>, ConcertId)> {
    let concerts = &app.shared.concerts;
    let name = Name::new("Load")?;
    let venue = concerts.create_venue(&name, &name).await?;
    let fields =
        ConcertFields { title: name.clone(), artist: name.clone(), category: name.clone(), description: String::new() };
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

/// An account with a login and, for a concert, an active queue token: the texts of both tokens.
async fn buyer(app: &App, concert: Option<ConcertId>) -> anyhow::Result<(String, String)> {
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
    let queue_token = match concert {
        Some(concert) => app.shared.queue.join(id, concert).await?.0.text,
        None => String::new(),
    };
    let claims = AccessClaims { user_id: id, session_id: session.id, role: Role::User, expires_at };
    Ok((ports.signer.access_token(&claims), queue_token))
}

/// How long it took, each request's latency, and how many answers had which status.
type Answers = (Duration, Vec<Duration>, BTreeMap<u16, usize>);

/// Does all the work over so many connections, each the next piece as soon as the last is done.
async fn run_all(options: &Options, work: Arc<Work>) -> anyhow::Result<Answers> {
    let count = options.count;
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for number in 0..options.connections {
        let mut connection = Connection::new(options.addresses.clone(), number);
        connection.connect().await?;
        connections.push(connection);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let (work, next) = (Arc::clone(&work), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(connection);
                }
                work.run(number, &mut connection).await?;
            }
        });
    }
    let mut latencies = Vec::new();
    let mut statuses = BTreeMap::new();
    while let Some(result) = tasks.join_next().await {
        for (status, latency) in result??.answers {
            latencies.push(latency);
            *statuses.entry(status).or_insert(0) += 1;
        }
    }
    Ok((started.elapsed(), latencies, statuses))
}

/// A kept connection to one of the servers; when it breaks, to the next.
struct Connection {
    addresses: Vec<String>,
    turn: usize,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    answers: Vec<(u16, Duration)>,
}

impl Connection {
    fn new(addresses: Vec<String>, turn: usize) -> Self {
        Self { addresses, turn, stream: None, buffer: Vec::with_capacity(16_384), answers: Vec::new() }
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        let stream = TcpStream::connect(&self.addresses[self.turn % self.addresses.len()]).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends a request until it is answered, and gives the body. A 503 is asked again, too.
    async fn send(&mut self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        let sent = Instant::now();
        while sent.elapsed() < PATIENCE {
            if let Ok((status, body)) = self.try_send(request).await {
                self.answers.push((status, sent.elapsed()));
                if status != 503 {
                    return Ok(body);
                }
            } else {
                self.stream = None;
                self.turn += 1;
            }
        }
        anyhow::bail!("no server answered")
    }

    async fn try_send(&mut self, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        if self.stream.is_none() {
            self.connect().await?;
        }
        let stream = self.stream.as_mut().context("a connection")?;
        stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            ensure!(stream.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
            let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end])?.to_ascii_lowercase();
            let status = head.get(9..12).context("a status line")?.parse()?;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).context("a length")?;
            let body = end + 4..end + 4 + length.trim().parse::<usize>()?;
            if self.buffer.len() >= body.end {
                return Ok((status, self.buffer[body].to_vec()));
            }
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
