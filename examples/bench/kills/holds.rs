//! Holds of contested seats at two servers, while the store is killed or one server is paused for longer than a lock in
//! Redis lasts.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use super::{has_private_database, kill_database, signal};
use crate::{
    bench::{Bench, Setup},
    client::{Addresses, Connection, Request},
    fixture::{Buyer, Sale},
    locks::{Strategy, count_double_sales, reset_tables, server::LockSettings, start_strategy},
    redis_store::{Durability, RedisServer, lock::RedisLockKind},
};

/// Faults of each run.
const FAULTS: usize = 3;

/// The load before a fault.
const LOAD_TIME: Duration = Duration::from_millis(500);

/// The time after which a lock in Redis lapses.
const TIME_TO_LIVE: Duration = Duration::from_millis(500);

/// The pause of a server: longer than a lock lasts.
const PAUSE: Duration = Duration::from_millis(800);

/// The time that a hold takes between its reads and its writes, such as a call of another service.
const WORK: Duration = Duration::from_millis(100);

/// Connections to each server.
const CONNECTIONS: usize = 16;

/// More seats than the clients can hold during a run.
const SEATS: usize = 8_000;

/// The time before a refused or failed request is repeated.
const PAUSE_BEFORE_REPETITION: Duration = Duration::from_millis(10);

/// The pause of a client of the real server, which would otherwise sell all seats at once.
const CLIENT_PAUSE: Duration = Duration::from_millis(50);

const HEAD: [&str; 6] = ["holds by", "fault", "faults", "acknowledged holds", "lost holds", "seats sold twice"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    StoreKilled,
    HolderPaused,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::StoreKilled => "`kill -9` of the store",
            Self::HolderPaused => "a server paused",
        }
    }
}

pub(super) async fn kill_holders(bench: &mut Bench) -> anyhow::Result<()> {
    for table in crate::locks::TABLES {
        sqlx::query(table).execute(&bench.fixture.pool).await?;
    }
    let mut rows = Vec::new();
    for kind in [RedisLockKind::SetNx, RedisLockKind::Spinning, RedisLockKind::PubSub] {
        for durability in [Durability::Snapshots, Durability::Always] {
            for fault in [Fault::StoreKilled, Fault::HolderPaused] {
                rows.push(run_strategy(bench, Strategy::Redis(kind), Some(durability), fault).await?);
            }
        }
    }
    let is_private = has_private_database(bench);
    for fault in
        [Fault::StoreKilled, Fault::HolderPaused].into_iter().filter(|it| is_private || *it == Fault::HolderPaused)
    {
        for strategy in [Strategy::ForUpdate, Strategy::OptimisticRetry] {
            rows.push(run_strategy(bench, strategy, None, fault).await?);
        }
        rows.push(run_server(bench, fault).await?);
    }
    let title = "Holds of contested seats at two servers, with faults";
    bench.report.add_table(title, HEAD.to_vec(), rows, None);
    Ok(())
}

/// The acknowledged holds: the user of each seat.
type Acknowledged<T> = Rc<RefCell<HashSet<T>>>;

/// Runs two servers of a strategy, with a lock in Redis if `redis` is given.
async fn run_strategy(
    bench: &mut Bench,
    strategy: Strategy,
    redis: Option<Durability>,
    fault: Fault,
) -> anyhow::Result<Vec<String>> {
    reset_tables(bench, SEATS, 1).await?;
    let mut store = match redis {
        Some(durability) => Some(RedisServer::start(durability).await?),
        None => None,
    };
    let socket = redis.map(|redis| redis.socket().to_string_lossy().into_owned()).unwrap_or_default();
    let database = bench.database_url().to_owned();
    let settings =
        LockSettings { strategy, database: &database, redis: &socket, time_to_live: TIME_TO_LIVE, work: WORK };
    let servers = [start_strategy(&settings).await?, start_strategy(&settings).await?];
    let (acknowledged, is_over) = (Acknowledged::<(u32, u32)>::default(), Rc::new(Cell::new(false)));
    let mut tasks = JoinSet::<anyhow::Result<()>>::new();
    for (first_user, server) in [0, 1_000_000].into_iter().zip(&servers) {
        let addresses: Addresses = Rc::new([server.address.clone()]);
        let next = Rc::new(Cell::new(0));
        for index in 0..CONNECTIONS {
            let (acknowledged, is_over, next) = (Rc::clone(&acknowledged), Rc::clone(&is_over), Rc::clone(&next));
            let mut connection = Connection::open(&addresses, index).await?;
            tasks.spawn_local(async move {
                while !is_over.get() {
                    let seat: u32 = next.replace(next.get() + 1);
                    ensure!(usize::try_from(seat)? < SEATS, "all seats are held");
                    let body = format!("{} {seat}", first_user + seat);
                    let request = Request { method: "POST", path: "/seats", body: &body, ..Request::default() };
                    if repeat(&mut connection, &request, &is_over).await? {
                        acknowledged.borrow_mut().insert((first_user + seat, seat));
                    }
                }
                Ok(())
            });
        }
    }
    for _ in 0..FAULTS {
        tokio::time::sleep(LOAD_TIME).await;
        match (fault, store.as_mut()) {
            (Fault::StoreKilled, Some(redis)) => {
                redis.kill()?;
                redis.restart().await?;
            }
            (Fault::StoreKilled, None) => {
                kill_database(bench).await?;
            }
            (Fault::HolderPaused, _) => pause(servers[0].pid()).await?,
        }
    }
    finish(tasks, &is_over).await?;
    drop(servers);
    let doubles = count_double_sales(bench).await?;
    let stored: HashSet<(u32, u32)> = sqlx::query_as("SELECT user, seat FROM lock_bookings")
        .fetch_all(&bench.fixture.pool)
        .await?
        .into_iter()
        .collect();
    let acknowledged = acknowledged.take();
    let lost = acknowledged.difference(&stored).count();
    let name = match redis {
        Some(durability) => format!("{}, {}", strategy.name(), durability.name()),
        None => strategy.name().to_owned(),
    };
    Ok(cells(name, fault, acknowledged.len(), lost, doubles))
}

/// Repeats a hold until it is granted (`true`), or another user has the seat.
async fn repeat(connection: &mut Connection, request: &Request<'_>, is_over: &Cell<bool>) -> anyhow::Result<bool> {
    while !is_over.get() {
        match connection.send(request).await?.status {
            201 => return Ok(true),
            409 => return Ok(false),
            _ => tokio::time::sleep(PAUSE_BEFORE_REPETITION).await,
        }
    }
    Ok(false)
}

/// Stops a process for longer than a lock in Redis lasts.
async fn pause(pid: u32) -> anyhow::Result<()> {
    signal("STOP", pid)?;
    tokio::time::sleep(PAUSE).await;
    signal("CONT", pid)
}

async fn finish(mut tasks: JoinSet<anyhow::Result<()>>, is_over: &Cell<bool>) -> anyhow::Result<()> {
    tokio::time::sleep(LOAD_TIME).await;
    is_over.set(true);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

fn cells(name: String, fault: Fault, acknowledged: usize, lost: usize, doubles: i64) -> Vec<String> {
    let numbers = [acknowledged, lost].map(|number| number.to_string());
    let texts = [name, fault.name().to_owned(), FAULTS.to_string()];
    texts.into_iter().chain(numbers).chain([doubles.to_string()]).collect()
}

/// The same with two instances of the real server, each with its own users, who request the same seats.
async fn run_server(bench: &mut Bench, fault: Fault) -> anyhow::Result<Vec<String>> {
    let seats = SEATS / 2;
    let sale = Rc::new(bench.fixture.open_sale(seats).await?);
    let mut buyers = bench.fixture.buyers(2 * seats).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    let buyers: Rc<[Buyer]> = buyers.into();
    let addresses = bench.servers(Setup::TwoInstances).await?;
    let (acknowledged, is_over) = (Acknowledged::<String>::default(), Rc::new(Cell::new(false)));
    let mut tasks = JoinSet::<anyhow::Result<()>>::new();
    for (server, address) in addresses.iter().enumerate() {
        let address: Addresses = Rc::new([address.clone()]);
        let next = Rc::new(Cell::new(0));
        for index in 0..CONNECTIONS {
            let (acknowledged, is_over, next) = (Rc::clone(&acknowledged), Rc::clone(&is_over), Rc::clone(&next));
            let (sale, buyers) = (Rc::clone(&sale), Rc::clone(&buyers));
            let mut connection = Connection::open(&address, index).await?;
            tasks.spawn_local(async move {
                while !is_over.get() {
                    let seat: usize = next.replace(next.get() + 1);
                    let buyer = buyers.get(server * seats + seat).filter(|_| seat < seats).context("another seat")?;
                    if let Some(booking) = hold(&mut connection, &sale, seat, buyer, &is_over).await? {
                        acknowledged.borrow_mut().insert(booking);
                    }
                    tokio::time::sleep(CLIENT_PAUSE).await;
                }
                Ok(())
            });
        }
    }
    for _ in 0..FAULTS {
        tokio::time::sleep(LOAD_TIME).await;
        match fault {
            Fault::StoreKilled => {
                kill_database(bench).await?;
            }
            Fault::HolderPaused => pause(bench.server_pids(Setup::TwoInstances)[0]).await?,
        }
    }
    finish(tasks, &is_over).await?;
    let bookings = "SELECT id, seat_id FROM bookings JOIN booking_seats ON booking_id = id \
         WHERE performance_id = ? AND status = 'PENDING'";
    let stored: Vec<(uuid::Uuid, u64)> =
        sqlx::query_as(bookings).bind(sale.performance.0).fetch_all(&bench.fixture.pool).await?;
    let ids: HashSet<String> = stored.iter().map(|(id, _)| id.to_string()).collect();
    let distinct: HashSet<u64> = stored.iter().map(|(_, seat)| *seat).collect();
    let acknowledged = acknowledged.take();
    let lost = acknowledged.difference(&ids).count();
    let doubles = i64::try_from(stored.len() - distinct.len())?;
    Ok(cells("the server (two instances)".to_owned(), fault, acknowledged.len(), lost, doubles))
}

/// Holds a seat at the real server, and returns the booking; `None` if another user has it.
async fn hold(
    connection: &mut Connection,
    sale: &Sale,
    seat: usize,
    buyer: &Buyer,
    is_over: &Cell<bool>,
) -> anyhow::Result<Option<String>> {
    let body = format!("{{\"performanceId\":{},\"seatIds\":[{}]}}", sale.performance, sale.seats[seat]);
    let request = Request {
        method: "POST",
        path: "/api/v1/bookings",
        access_token: &buyer.access_token,
        queue_token: &buyer.queue_token,
        idempotency_key: "hold",
        body: &body,
        ..Request::default()
    };
    while !is_over.get() {
        let answer = connection.send(&request).await?;
        match answer.status {
            201 => return Ok(Some(answer.string_member("bookingId")?)),
            409 => return Ok(None),
            _ => tokio::time::sleep(PAUSE_BEFORE_REPETITION).await,
        }
    }
    Ok(None)
}
