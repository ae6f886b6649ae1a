//! The same contended work with different locking strategies, and with the server's lanes.
//!
//! Each strategy is a separate process that runs one transaction per request and does nothing else. The lanes are the
//! real server with authentication, the queue's gate, idempotency and events. So the comparison favours the other
//! strategies.

pub(crate) mod server;
mod strategies;

use std::{
    process::Stdio,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use self::server::LockSettings;
pub(crate) use self::strategies::{Strategy, TABLES};
use crate::{
    bench::{Bench, Setup},
    client::{Addresses, Connection, Request},
    load::{self, Outcome, Workload},
    plot::{self, Bar},
    redis_store::{self, Durability},
    report::{Cost, Plot},
    server::Server,
    statistics::{median, to_f64},
    thousands::with_thousands_separators,
    workloads::{Charges, Contested},
};

/// Concurrent requests of a round.
const BURST: usize = 1_000;

/// After this time a round is stopped, which the report shows.
const ROUND_TIMEOUT: Duration = Duration::from_secs(15);

/// After this time a contest isn't repeated.
const CONTEST_TIME_LIMIT: Duration = Duration::from_secs(8);

/// Seats of the house in `OverlappingPairs`.
const HOUSE: usize = 40;

/// The contended resource of the concurrent requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contest {
    HotSeat,
    /// Two adjacent seats each.
    OverlappingPairs,
    OneWallet,
    /// A wallet per request: no contention on rows.
    SeparateWallets,
}

impl Contest {
    const ALL: [Self; 4] = [Self::HotSeat, Self::OverlappingPairs, Self::OneWallet, Self::SeparateWallets];

    fn name(self) -> &'static str {
        match self {
            Self::HotSeat => "1,000 concurrent holds of one seat",
            Self::OverlappingPairs => "1,000 concurrent holds of two adjacent seats in a house of 40",
            Self::OneWallet => "1,000 concurrent charges of one wallet",
            Self::SeparateWallets => "1,000 concurrent charges of separate wallets",
        }
    }

    /// The most requests that can succeed.
    fn max_successes(self) -> usize {
        match self {
            Self::HotSeat => 1,
            Self::OverlappingPairs => HOUSE / 2,
            Self::OneWallet | Self::SeparateWallets => BURST,
        }
    }

    /// Figures published elsewhere, in milliseconds.
    fn published(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::HotSeat => &[("published elsewhere: version", "2,579"), ("published elsewhere: FOR UPDATE", "5,762")],
            Self::OneWallet => {
                &[("published elsewhere: version", "4,613"), ("published elsewhere: FOR UPDATE", "4,449")]
            }
            Self::OverlappingPairs | Self::SeparateWallets => &[],
        }
    }

    /// The index of the first seat that a user requests, and the number of seats.
    fn seats(self, user: usize) -> (usize, usize) {
        match self {
            Self::OverlappingPairs => (user * 7 % (HOUSE - 1), 2),
            _ => (0, 1),
        }
    }
}

/// The rounds of one strategy in one contest.
pub(crate) struct Trial {
    contest: Contest,
    pub(crate) strategy: String,
    milliseconds: Vec<f64>,
    costs: Vec<Cost>,
    conflicts: usize,
    succeeded: usize,
    started: Instant,
    is_stopped: bool,
}

impl Trial {
    fn new(contest: Contest, strategy: &str) -> Self {
        Self {
            contest,
            strategy: strategy.to_owned(),
            milliseconds: Vec::new(),
            costs: Vec::new(),
            conflicts: 0,
            succeeded: 0,
            started: Instant::now(),
            is_stopped: false,
        }
    }

    /// Whether no more rounds should follow: one was stopped, or the time limit has passed.
    fn is_done(&self) -> bool {
        self.is_stopped || !self.milliseconds.is_empty() && self.started.elapsed() > CONTEST_TIME_LIMIT
    }

    fn add_round(&mut self, outcome: &Outcome, cost: Cost) {
        self.is_stopped = outcome.is_stopped();
        self.milliseconds.push(outcome.milliseconds());
        self.costs.push(cost);
        self.succeeded += outcome.latencies().statuses.get(&201).copied().unwrap_or(0);
    }

    /// The median time until the last response, in milliseconds.
    fn median_time(&self) -> f64 {
        median(&self.milliseconds)
    }

    /// The median time with its unit, or that a round was stopped.
    fn label(&self) -> String {
        if self.is_stopped {
            format!("stopped after {} s", ROUND_TIMEOUT.as_secs())
        } else {
            format!("{} ms", with_thousands_separators(self.median_time()))
        }
    }

    fn cells(&self) -> Vec<String> {
        let rounds = to_f64(self.milliseconds.len());
        // The CPU clock is too coarse for one round, so this is the mean of all rounds.
        let mean_of = |of: fn(&Cost) -> Option<f64>| {
            let costs: Option<Vec<_>> = self.costs.iter().map(of).collect();
            let sum = costs?.iter().sum::<f64>() * to_f64(BURST) / 1_000.0;
            Some(format!("{:.0}", sum / rounds))
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "—".to_owned());
        vec![
            self.strategy.clone(),
            if self.is_stopped { self.label() } else { format!("{:.1}", self.median_time()) },
            or_dash(mean_of(|cost| cost.server)),
            or_dash(mean_of(|cost| cost.database)),
            format!("{:.0}", to_f64(self.conflicts) / rounds),
            format!("{:.0} of {}", to_f64(self.succeeded) / rounds, self.contest.max_successes()),
            self.milliseconds.len().to_string(),
        ]
    }
}

const HEAD: [&str; 7] =
    ["", "last response after, ms", "server CPU, ms", "database CPU, ms", "conflicts", "succeeded", "rounds"];

/// Explains the comparison.
const ABOUT_COMPARISON: &str = "Each strategy is a small server that does nothing else. It runs one transaction per request over 16 database \
     connections, without authentication, idempotency or events. The lanes are the real server with all of these. \
     A conflict is a transaction that failed because of another one. `FOR UPDATE` and `version, retry` make up to \
     100 attempts. A lock in Redis is held around a transaction that neither locks nor compares. It lapses after 5 s, and \
     a request waits for it for 10 s; `SET NX` fails at once. Redis as shipped writes snapshots; with `always` it flushes \
     every write to its file. Its CPU time is part of the database's. CPU time and conflicts are means over the rounds. Each strategy has 10 rounds of each contest, \
     or as many as fit into 8 s.";

/// Explains the figures published elsewhere.
const ABOUT_PUBLISHED: &str = "The figures published elsewhere come from earlier servers of this kind: 1,000 requests under an optimistic \
     and under a pessimistic lock. Their code isn't published, so the figures can't be verified or repeated. \
     Unknown are the machines, the durability of the databases, the connection pools, whether HTTP was involved, \
     and whether all 1,000 requests were concurrent. Here 1,000 connections are open before the first request, \
     and all of them send at the same instant. Client, server and database share the machine above, and every \
     commit is durable. So only the order of magnitude is comparable.";

const LANES: &str = "lanes (the real server)";

pub(crate) async fn compare(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    for table in TABLES {
        sqlx::query(table).execute(&bench.fixture.pool).await?;
    }
    let mut trials = Vec::new();
    for strategy in Strategy::ALL.into_iter().filter(|it| it.redis_lock().is_none()) {
        for contest in Contest::ALL {
            trials.push(run_strategy(bench, strategy, None, contest).await?);
        }
    }
    match redis_store::version() {
        Some(version) => {
            bench.report.add_note(format!("Locks in Redis: Redis {version}, over a socket like the database"));
            for durability in [Durability::Snapshots, Durability::Always] {
                bench.start_redis(durability).await?;
                for strategy in Strategy::ALL.into_iter().filter(|it| it.redis_lock().is_some()) {
                    for contest in Contest::ALL {
                        trials.push(run_strategy(bench, strategy, Some(durability), contest).await?);
                    }
                }
            }
        }
        None => bench.report.add_note("Locks in Redis weren't measured: there is no redis-server".to_owned()),
    }
    for contest in Contest::ALL {
        trials.push(run_lanes(bench, contest).await?);
    }
    for (contest, file) in Contest::ALL.into_iter().zip(["hot-seat", "neighbours", "one-wallet", "spread-wallets"]) {
        let trials: Vec<_> = trials.iter().filter(|trial| trial.contest == contest).collect();
        let bar = |trial: &&Trial| Bar {
            name: trial.strategy.clone(),
            value: trial.median_time(),
            label: trial.label(),
            marks: Vec::new(),
        };
        let svg = plot::bars("milliseconds until the last response", &trials.iter().map(bar).collect::<Vec<_>>());
        let published = contest.published().iter().map(|(name, time)| {
            let unknown = HEAD[2..].iter().map(|_| "—");
            [*name, *time].into_iter().chain(unknown).map(str::to_owned).collect()
        });
        let rows = trials.iter().map(|trial| trial.cells()).chain(published).collect();
        let plot = Plot { name: file, title: contest.name(), svg };
        bench.report.add_table(contest.name(), HEAD.to_vec(), rows, Some(plot));
    }
    bench.report.add_remark(ABOUT_COMPARISON);
    bench.report.add_remark(ABOUT_PUBLISHED);
    Ok(())
}

/// After this time a lock in Redis lapses.
const LOCK_TIME_TO_LIVE: Duration = Duration::from_secs(5);

/// Starts a strategy's server.
pub(crate) async fn start_strategy(settings: &LockSettings<'_>) -> anyhow::Result<Server> {
    Server::start(&std::env::current_exe()?, |address| settings.arguments(address), &[], Stdio::inherit()).await
}

/// Measured rounds, after one warm-up round.
fn rounds(bench: &Bench) -> usize {
    bench.scale.count(10)
}

/// Runs a contest on a new server, so that no work of a stopped round is left.
async fn run_strategy(
    bench: &mut Bench,
    strategy: Strategy,
    redis: Option<Durability>,
    contest: Contest,
) -> anyhow::Result<Trial> {
    let socket = redis.map(|redis| redis.socket().to_string_lossy().into_owned()).unwrap_or_default();
    let settings = LockSettings {
        strategy,
        database: bench.database_url(),
        redis: &socket,
        time_to_live: LOCK_TIME_TO_LIVE,
        work: Duration::ZERO,
    };
    let server = start_strategy(&settings).await?;
    let addresses: Addresses = Rc::new([server.address.clone()]);
    let suffix = if redis == Some(Durability::Always) { ", always" } else { "" };
    let mut trial = Trial::new(contest, &format!("{}{suffix}", strategy.name()));
    let mut stores = bench.store_pids(Setup::Default);
    stores.extend(redis.map(|redis| bench.redis_pids(redis)).unwrap_or_default());
    for round in 0..=rounds(bench) {
        if trial.is_done() {
            break;
        }
        reset_tables(bench, HOUSE, BURST).await?;
        let before = read_conflicts(&addresses).await?;
        let work = Rc::new(ContestRequests { contest });
        let run = async || load::burst_with_timeout(&work, &addresses, BURST, ROUND_TIMEOUT).await;
        let (outcome, cost) = bench.measure_cost_of(&[server.pid()], stores.clone(), run).await?;
        let violations = count_double_sales(bench).await?;
        ensure!(violations == 0, "{}: {violations} seats were sold twice", trial.strategy);
        if round > 0 || outcome.is_stopped() {
            trial.add_round(&outcome, cost);
            trial.conflicts += read_conflicts(&addresses).await? - before;
        }
    }
    Ok(trial)
}

/// The number of seats with more than one booking.
pub(crate) async fn count_double_sales(bench: &Bench) -> anyhow::Result<i64> {
    let count = "SELECT COUNT(*) FROM (SELECT seat FROM lock_bookings GROUP BY seat HAVING COUNT(*) > 1) AS doubles";
    Ok(sqlx::query_scalar(count).fetch_one(&bench.fixture.pool).await?)
}

/// Makes all seats free and all wallets empty.
pub(crate) async fn reset_tables(bench: &Bench, seats: usize, wallets: usize) -> anyhow::Result<()> {
    let pool = &bench.fixture.pool;
    for table in ["lock_seats", "lock_bookings", "lock_wallets", "lock_ledger"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(pool).await?;
    }
    let rows =
        |count: usize, end: &str| (0..count).map(|id| format!("({id}, {end}, 0)")).collect::<Vec<_>>().join(", ");
    let seats = format!("INSERT INTO lock_seats VALUES {}", rows(seats, "NULL"));
    let wallets = format!("INSERT INTO lock_wallets VALUES {}", rows(wallets, "0"));
    for statement in [seats, wallets] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(pool).await?;
    }
    Ok(())
}

async fn read_conflicts(addresses: &Addresses) -> anyhow::Result<usize> {
    let mut connection = Connection::open(addresses, 0).await?;
    let response = connection.send(&Request { method: "GET", path: "/conflicts", ..Request::default() }).await?;
    Ok(std::str::from_utf8(response.body)?.parse()?)
}

/// Requests to a strategy's server.
struct ContestRequests {
    contest: Contest,
}

impl Workload for ContestRequests {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let (path, body) = match self.contest {
            Contest::HotSeat | Contest::OverlappingPairs => {
                let (first, count) = self.contest.seats(index);
                let seats: Vec<_> = (first..first + count).map(|seat| seat.to_string()).collect();
                ("/seats", format!("{index} {}", seats.join(" ")))
            }
            Contest::OneWallet => ("/charges", "0".to_owned()),
            Contest::SeparateWallets => ("/charges", index.to_string()),
        };
        connection.send(&Request { method: "POST", path, body: &body, ..Request::default() }).await?;
        Ok(())
    }
}

async fn run_lanes(bench: &mut Bench, contest: Contest) -> anyhow::Result<Trial> {
    let addresses = bench.servers(Setup::Default).await?;
    let mut trial = Trial::new(contest, LANES);
    for round in 0..=rounds(bench) {
        if trial.is_done() {
            break;
        }
        let before = read_lane_retries(&addresses).await?;
        let (outcome, cost) = match contest {
            Contest::HotSeat | Contest::OverlappingPairs => {
                let sale = bench.fixture.open_sale(HOUSE).await?;
                let mut buyers = bench.fixture.buyers(BURST).await?;
                bench.fixture.join(sale.concert, &mut buyers).await?;
                let (sale, buyers) = (Rc::new(sale), buyers.into());
                let work = Rc::new(Contested { sale, buyers, selection: move |user| contest.seats(user) });
                bench.measure_cost(Setup::Default, async || load::burst(&work, &addresses, BURST).await).await?
            }
            Contest::OneWallet | Contest::SeparateWallets => {
                let wallets = if contest == Contest::OneWallet { 1 } else { BURST };
                let work = Rc::new(Charges { buyers: bench.fixture.buyers(wallets).await?, round: String::new() });
                bench.measure_cost(Setup::Default, async || load::burst(&work, &addresses, BURST).await).await?
            }
        };
        if round > 0 {
            trial.add_round(&outcome, cost);
            trial.conflicts += read_lane_retries(&addresses).await? - before;
        }
    }
    Ok(trial)
}

/// The number of repeated batches.
async fn read_lane_retries(addresses: &Addresses) -> anyhow::Result<usize> {
    let mut connection = Connection::open(addresses, 0).await?;
    let response = connection.send(&Request { method: "GET", path: "/metrics", ..Request::default() }).await?;
    let text = std::str::from_utf8(response.body)?;
    let lines = text.lines().filter(|line| line.starts_with("lane_retries_total"));
    lines.map(|line| line.rsplit_once(' ').and_then(|(_, count)| count.parse::<usize>().ok()).context("a count")).sum()
}
