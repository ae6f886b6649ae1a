//! Joins and admissions while the store of the queue is killed.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, ensure};
use concert_reservation::domain::queue::QueueSettings;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{has_private_database, kill_database};
use crate::{
    bench::{Bench, Setup},
    client::{Addresses, Connection, Request},
    fixture::Buyer,
    redis_store::{
        Durability, RedisServer,
        queue::{Admission, Place, RedisQueues},
    },
    statistics::median,
    workloads::join,
};

/// Kills of each store.
const KILLS: usize = 5;

/// The load before a kill.
const LOAD_TIME: Duration = Duration::from_secs(1);

/// Users who join at the same time.
const JOINERS: usize = 32;

/// The time between two joins of a client.
const JOIN_PAUSE: Duration = Duration::from_millis(5);

/// Users of one admission.
const BATCH: u64 = 20;

/// The time between two admissions.
const ADMISSION_INTERVAL: Duration = Duration::from_millis(10);

/// The queue's key in Redis.
const QUEUE: u64 = 1;

const HEAD: [&str; 8] = [
    "queue in",
    "kills",
    "acknowledged joins",
    "lost joins",
    "acknowledged admissions",
    "lost admissions",
    "admitted twice",
    "answers again after, ms",
];

/// The acknowledged joins and admissions, and the lost ones.
#[derive(Default)]
struct Ledger {
    /// Users whose join was acknowledged, and whom the store had at the last comparison.
    joined: HashSet<u64>,
    /// The number of acknowledged admissions of each user.
    admissions: HashMap<u64, usize>,
    /// Users whose admission was acknowledged, and whom the store had as admitted at the last comparison.
    admitted: HashSet<u64>,
    /// Users whom the store lost: they join again.
    again: VecDeque<u64>,
    joins: usize,
    lost_joins: usize,
    lost_admissions: usize,
}

impl Ledger {
    fn record_join(&mut self, user: u64) {
        self.joins += 1;
        self.joined.insert(user);
    }

    fn record_admissions(&mut self, users: Vec<u64>) {
        for user in users {
            *self.admissions.entry(user).or_default() += 1;
            self.admitted.insert(user);
        }
    }
}

pub(super) async fn kill_queues(bench: &mut Bench) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (durability, how) in [
        (Durability::Snapshots, Admission::Script),
        (Durability::EverySecond, Admission::Script),
        (Durability::Always, Admission::TwoSteps),
        (Durability::Always, Admission::Script),
    ] {
        rows.push(kill_redis(durability, how).await?);
    }
    if has_private_database(bench) {
        rows.push(kill_ours(bench).await?);
    } else {
        bench.report.add_note("The database wasn't killed: it isn't the private one of scripts/bench".to_owned());
    }
    let title = "Joins and admissions while the queue's store is killed";
    bench.report.add_table(title, HEAD.to_vec(), rows, None);
    Ok(())
}

async fn kill_redis(durability: Durability, how: Admission) -> anyhow::Result<Vec<String>> {
    let mut server = RedisServer::start(durability).await?;
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let next = Rc::new(Cell::new(0));
    let mut restarts = Vec::new();
    for _ in 0..KILLS {
        let queues = RedisQueues::connect(&durability.socket()).await?;
        let mut tasks = JoinSet::new();
        for _ in 0..JOINERS {
            tasks.spawn_local(join_until_lost(queues.clone(), Rc::clone(&ledger), Rc::clone(&next)));
        }
        tasks.spawn_local(admit_until_lost(queues, Rc::clone(&ledger), how));
        tokio::time::sleep(LOAD_TIME).await;
        server.kill()?;
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        restarts.push(server.restart().await?.as_secs_f64() * 1_000.0);
        let mut known = ledger.take();
        compare(&RedisQueues::connect(&durability.socket()).await?, &mut known).await?;
        ledger.replace(known);
    }
    let name = format!("Redis, {}, admission by {}", durability.name(), how.name());
    Ok(cells(name, &ledger.borrow(), &restarts))
}

/// Joins with one user after the other until Redis fails. The last join's outcome is unknown.
async fn join_until_lost(queues: RedisQueues, ledger: Rc<RefCell<Ledger>>, next: Rc<Cell<u64>>) {
    loop {
        let again = ledger.borrow_mut().again.pop_front();
        let user = again.unwrap_or_else(|| next.replace(next.get() + 1));
        if queues.join(QUEUE, user).await.is_err() {
            return;
        }
        ledger.borrow_mut().record_join(user);
        tokio::time::sleep(JOIN_PAUSE).await;
    }
}

async fn admit_until_lost(queues: RedisQueues, ledger: Rc<RefCell<Ledger>>, how: Admission) {
    while let Ok(users) = queues.admit(QUEUE, BATCH, how).await {
        ledger.borrow_mut().record_admissions(users);
        tokio::time::sleep(ADMISSION_INTERVAL).await;
    }
}

/// Looks up every acknowledged user, after a restart. Users whom the store lost will join again.
async fn compare(queues: &RedisQueues, ledger: &mut Ledger) -> anyhow::Result<()> {
    let joined: Vec<_> = ledger.joined.iter().copied().collect();
    for user in joined {
        let place = queues.poll(QUEUE, user).await?;
        if place != Place::Admitted && ledger.admitted.remove(&user) {
            ledger.lost_admissions += 1;
        } else if place == Place::Unknown {
            ledger.lost_joins += 1;
        }
        if place == Place::Unknown {
            ledger.joined.remove(&user);
            ledger.again.push_back(user);
        }
    }
    Ok(())
}

fn cells(name: String, ledger: &Ledger, restarts: &[f64]) -> Vec<String> {
    let admissions: usize = ledger.admissions.values().sum();
    let twice = ledger.admissions.values().filter(|count| **count > 1).count();
    let numbers = [KILLS, ledger.joins, ledger.lost_joins, admissions, ledger.lost_admissions, twice];
    let numbers = numbers.map(|number| number.to_string());
    [name].into_iter().chain(numbers).chain([format!("{:.0}", median(restarts))]).collect()
}

/// The same load on the server, while its database is killed. The server isn't restarted.
async fn kill_ours(bench: &mut Bench) -> anyhow::Result<Vec<String>> {
    let settings = QueueSettings {
        admit_count: 400,
        admit_interval_seconds: 1,
        max_active: 1_000_000,
        active_seconds: 86_400,
        claim_seconds: 3_600,
        ..QueueSettings::default()
    };
    let concert = bench.fixture.sale(100, settings).await?.concert.0;
    // More than can join in the time of the kills.
    let buyers: Rc<[Buyer]> = bench.fixture.buyers(100_000).await?.into();
    let addresses = bench.servers(Setup::Default).await?;
    let joined = Rc::new(RefCell::new(Vec::<(Uuid, String)>::new()));
    let admitted = Rc::new(RefCell::new(HashSet::<Uuid>::new()));
    let is_over = Rc::new(Cell::new(false));
    let next = Rc::new(Cell::new(0));
    let mut tasks = JoinSet::<anyhow::Result<()>>::new();
    for index in 0..JOINERS {
        let (joined, is_over, next) = (Rc::clone(&joined), Rc::clone(&is_over), Rc::clone(&next));
        let (buyers, mut connection) = (Rc::clone(&buyers), Connection::open(&addresses, index).await?);
        tasks.spawn_local(async move {
            while !is_over.get() {
                let buyer = buyers.get(next.replace(next.get() + 1)).context("another buyer")?;
                let token = join(&mut connection, concert, buyer).await?;
                joined.borrow_mut().push((buyer.id.0, token));
                tokio::time::sleep(JOIN_PAUSE).await;
            }
            Ok(())
        });
    }
    tasks.spawn_local(poll_in_order(addresses, Rc::clone(&joined), Rc::clone(&admitted), Rc::clone(&is_over)));
    let mut restarts = Vec::new();
    for _ in 0..KILLS {
        tokio::time::sleep(LOAD_TIME).await;
        restarts.push(kill_database(bench).await?.as_secs_f64() * 1_000.0);
    }
    tokio::time::sleep(LOAD_TIME).await;
    is_over.set(true);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let (joined, admitted) = (joined.take(), admitted.take());
    let rows = "SELECT user_id, admitted_at IS NOT NULL FROM queue_tokens WHERE concert_id = ?";
    let stored: HashMap<Uuid, bool> = sqlx::query_as::<_, (Uuid, bool)>(rows)
        .bind(concert)
        .fetch_all(&bench.fixture.pool)
        .await?
        .into_iter()
        .collect();
    let recorded = "SELECT CAST(COALESCE(SUM(admitted), 0) AS SIGNED) FROM queue_admissions WHERE concert_id = ?";
    let recorded: i64 = sqlx::query_scalar(recorded).bind(concert).fetch_one(&bench.fixture.pool).await?;
    let lost_joins = joined.iter().filter(|(user, _)| !stored.contains_key(user)).count();
    let lost_admissions = admitted.iter().filter(|user| stored.get(*user) != Some(&true)).count();
    let all_admitted = stored.values().filter(|is_admitted| **is_admitted).count();
    let twice = usize::try_from(recorded)?.saturating_sub(all_admitted);
    ensure!(!admitted.is_empty(), "no user was admitted");
    let numbers = [KILLS, joined.len(), lost_joins, admitted.len(), lost_admissions, twice];
    let name = "the server, MariaDB or MySQL killed".to_owned();
    let restart = format!("{:.0}", median(&restarts));
    Ok([name].into_iter().chain(numbers.map(|number| number.to_string())).chain([restart]).collect())
}

/// Polls for the first user who isn't admitted yet, and records the admissions that are answered.
async fn poll_in_order(
    addresses: Addresses,
    joined: Rc<RefCell<Vec<(Uuid, String)>>>,
    admitted: Rc<RefCell<HashSet<Uuid>>>,
    is_over: Rc<Cell<bool>>,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(&addresses, 0).await?;
    let mut index = 0;
    while !is_over.get() {
        let user = joined.borrow().get(index).cloned();
        let Some((user, queue_token)) = user else {
            tokio::time::sleep(ADMISSION_INTERVAL).await;
            continue;
        };
        let path = "/api/v1/queue/tokens/current";
        let poll = Request { method: "GET", path, queue_token: &queue_token, ..Request::default() };
        if connection.send(&poll).await?.string_member("status")? == "ACTIVE" {
            admitted.borrow_mut().insert(user);
            index += 1;
        } else {
            tokio::time::sleep(ADMISSION_INTERVAL).await;
        }
    }
    Ok(())
}
