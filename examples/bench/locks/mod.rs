//! The same contended work under different locks, and by the lanes.
//!
//! Each strategy is a process of its own with a transaction for each request and nothing else to do. The lanes are the
//! real server with everything on: authentication, the queue's gate, idempotency, events. So the comparison favours the
//! others.

pub(crate) mod server;
mod strategies;

use std::{
    process::Stdio,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context;
use strategies::{Strategy, TABLES};

use crate::{
    bench::{Bench, Setup},
    client::{Addresses, Call, Connection},
    load::{self, Outcome, Work},
    plot::{self, Bar},
    report::{Cost, grouped},
    server::Server,
    statistics::{median, number},
    works::{Charges, Contested},
};

/// How many requests come at once.
pub(crate) const CROWD: usize = 1_000;

/// How long a round may take: what isn't answered then is given up, and the report says so.
const LONGEST: Duration = Duration::from_secs(15);

/// A contest that has taken so long isn't repeated.
const ENOUGH: Duration = Duration::from_secs(8);

/// Seats of the house in which people want neighbours.
const HOUSE: usize = 40;

/// What everybody wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contest {
    HotSeat,
    Overlap,
    OneWallet,
    Spread,
}

impl Contest {
    const ALL: [Self; 4] = [Self::HotSeat, Self::Overlap, Self::OneWallet, Self::Spread];

    fn name(self) -> &'static str {
        match self {
            Self::HotSeat => "1,000 concurrent holds of one seat",
            Self::Overlap => "1,000 concurrent holds of two adjacent seats in a house of 40",
            Self::OneWallet => "1,000 concurrent charges of one wallet",
            Self::Spread => "1,000 concurrent charges of separate wallets",
        }
    }

    /// How many answers of success there can be.
    fn most(self) -> usize {
        match self {
            Self::HotSeat => 1,
            Self::Overlap => HOUSE / 2,
            Self::OneWallet | Self::Spread => CROWD,
        }
    }

    /// What others published, in milliseconds.
    fn published(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::HotSeat => &[("published elsewhere: version", "2,579"), ("published elsewhere: FOR UPDATE", "5,762")],
            Self::OneWallet => {
                &[("published elsewhere: version", "4,613"), ("published elsewhere: FOR UPDATE", "4,449")]
            }
            Self::Overlap | Self::Spread => &[],
        }
    }

    /// The first of the seats that somebody wants, in a house of so many, and how many.
    fn seats(self, person: usize) -> (usize, usize) {
        match self {
            Self::Overlap => (person * 7 % (HOUSE - 1), 2),
            _ => (0, 1),
        }
    }
}

/// What a strategy did with a contest.
pub(crate) struct Trial {
    contest: Contest,
    pub(crate) strategy: &'static str,
    milliseconds: Vec<f64>,
    costs: Vec<Cost>,
    conflicts: usize,
    succeeded: usize,
    begun: Instant,
    is_stopped: bool,
}

impl Trial {
    fn new(contest: Contest, strategy: &'static str) -> Self {
        Self {
            contest,
            strategy,
            milliseconds: Vec::new(),
            costs: Vec::new(),
            conflicts: 0,
            succeeded: 0,
            begun: Instant::now(),
            is_stopped: false,
        }
    }

    /// Whether there are figures, and more of them would take too long.
    fn is_enough(&self) -> bool {
        self.is_stopped || !self.milliseconds.is_empty() && self.begun.elapsed() > ENOUGH
    }

    fn add(&mut self, outcome: &Outcome, cost: Cost) {
        self.is_stopped = outcome.is_stopped();
        self.milliseconds.push(outcome.milliseconds());
        self.costs.push(cost);
        self.succeeded += outcome.latencies().statuses.get(&201).copied().unwrap_or(0);
    }

    fn time(&self) -> f64 {
        median(&self.milliseconds)
    }

    /// The same in words.
    fn label(&self) -> String {
        if self.is_stopped {
            format!("stopped after {} s", LONGEST.as_secs())
        } else {
            format!("{} ms", grouped(self.time()))
        }
    }

    fn cells(&self) -> Vec<String> {
        let rounds = number(self.milliseconds.len());
        // A round is short for a clock of ticks: the mean over all of them is what can be told.
        let mean = |of: fn(&Cost) -> Option<f64>| {
            let costs: Option<Vec<_>> = self.costs.iter().map(of).collect();
            let sum = costs?.iter().sum::<f64>() * number(CROWD) / 1_000.0;
            Some(format!("{:.0}", sum / rounds))
        };
        let known = |text: Option<String>| text.unwrap_or_else(|| "—".to_owned());
        vec![
            self.strategy.to_owned(),
            if self.is_stopped { self.label() } else { format!("{:.1}", self.time()) },
            known(mean(|cost| cost.server)),
            known(mean(|cost| cost.database)),
            format!("{:.0}", number(self.conflicts) / rounds),
            format!("{:.0} of {}", number(self.succeeded) / rounds, self.contest.most()),
            self.milliseconds.len().to_string(),
        ]
    }
}

const HEAD: [&str; 7] =
    ["", "last response after, ms", "server CPU, ms", "database CPU, ms", "conflicts", "succeeded", "rounds"];

/// What is to be known of the comparison.
const ABOUT: &str = "Each strategy is a small server that does nothing else. It runs one transaction per request over 16 database \
     connections, without authentication, idempotency or events. The lanes are the real server with all of these. \
     A conflict is a transaction that failed because of another one. `FOR UPDATE` and `version, retry` make up to \
     100 attempts. CPU time and conflicts are means over the rounds. Each strategy has 10 rounds of each contest, \
     or as many as fit into 8 s.";

/// What others measured.
const PUBLISHED: &str = "The figures published elsewhere come from earlier servers of this kind: 1,000 requests under an optimistic \
     and under a pessimistic lock. Their code isn't published, so the figures can't be verified or repeated. \
     Unknown are the machines, the durability of the databases, the connection pools, whether HTTP was involved, \
     and whether all 1,000 requests were concurrent. Here 1,000 connections are open before the first request, \
     and all of them send at the same instant. Client, server and database share the machine above, and every \
     commit is durable. So only the order of magnitude is comparable.";

const LANES: &str = "lanes (the real server)";

pub(crate) async fn compare(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_own_servers()?;
    for table in TABLES {
        sqlx::query(table).execute(&bench.fixture.pool).await?;
    }
    let mut trials = Vec::new();
    for strategy in Strategy::ALL {
        for contest in Contest::ALL {
            trials.push(try_locks(bench, strategy, contest).await?);
        }
    }
    for contest in Contest::ALL {
        trials.push(try_lanes(bench, contest).await?);
    }
    for (contest, file) in Contest::ALL.into_iter().zip(["hot-seat", "neighbours", "one-wallet", "spread-wallets"]) {
        let trials: Vec<_> = trials.iter().filter(|trial| trial.contest == contest).collect();
        let bar = |trial: &&Trial| Bar {
            name: trial.strategy.to_owned(),
            value: trial.time(),
            label: trial.label(),
            marks: Vec::new(),
        };
        let svg = plot::bars("milliseconds until the last response", &trials.iter().map(bar).collect::<Vec<_>>());
        let others = contest.published().iter().map(|(name, time)| {
            let unknown = HEAD[2..].iter().map(|_| "—");
            [*name, *time].into_iter().chain(unknown).map(str::to_owned).collect()
        });
        let rows = trials.iter().map(|trial| trial.cells()).chain(others).collect();
        bench.report.add_table(file, contest.name(), HEAD.to_vec(), rows, svg);
    }
    bench.report.remark(ABOUT);
    bench.report.remark(PUBLISHED);
    Ok(())
}

async fn start(bench: &Bench, strategy: Strategy) -> anyhow::Result<Server> {
    let url = bench.database_url().to_owned();
    let arguments = |address: &str| vec!["locks".to_owned(), address.to_owned(), strategy.name().to_owned(), url];
    Server::start(&std::env::current_exe()?, arguments, &[], Stdio::inherit()).await
}

/// Rounds that count.
fn rounds(bench: &Bench) -> usize {
    bench.scale.count(10)
}

/// With a server of its own, so that nothing is left of a round that was given up.
async fn try_locks(bench: &mut Bench, strategy: Strategy, contest: Contest) -> anyhow::Result<Trial> {
    let server = start(bench, strategy).await?;
    let addresses: Addresses = Rc::new([server.address.clone()]);
    let mut trial = Trial::new(contest, strategy.name());
    for round in 0..=rounds(bench) {
        if trial.is_enough() {
            break;
        }
        refill(bench).await?;
        let before = conflicts(&addresses).await?;
        let work = Rc::new(Locks { contest });
        let run = async || load::burst_within(&work, &addresses, CROWD, LONGEST).await;
        let (outcome, cost) = bench.costed_for(&[server.pid()], run).await?;
        if round > 0 || outcome.is_stopped() {
            trial.add(&outcome, cost);
            trial.conflicts += conflicts(&addresses).await? - before;
        }
    }
    Ok(trial)
}

/// Free seats, and wallets with nothing in them.
async fn refill(bench: &Bench) -> anyhow::Result<()> {
    let pool = &bench.fixture.pool;
    for table in ["lock_seats", "lock_bookings", "lock_wallets", "lock_ledger"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(pool).await?;
    }
    let rows =
        |count: usize, end: &str| (0..count).map(|id| format!("({id}, {end}, 0)")).collect::<Vec<_>>().join(", ");
    let seats = format!("INSERT INTO lock_seats VALUES {}", rows(HOUSE, "NULL"));
    let wallets = format!("INSERT INTO lock_wallets VALUES {}", rows(CROWD, "0"));
    for statement in [seats, wallets] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(pool).await?;
    }
    Ok(())
}

async fn conflicts(addresses: &Addresses) -> anyhow::Result<usize> {
    let mut connection = Connection::open(addresses, 0).await?;
    let answer = connection.send(&Call { method: "GET", path: "/conflicts", ..Call::default() }).await?;
    Ok(std::str::from_utf8(answer.body)?.parse()?)
}

/// A request to a strategy's server.
struct Locks {
    contest: Contest,
}

impl Work for Locks {
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()> {
        let (path, body) = match self.contest {
            Contest::HotSeat | Contest::Overlap => {
                let (first, count) = self.contest.seats(number);
                let seats: Vec<_> = (first..first + count).map(|seat| seat.to_string()).collect();
                ("/seats", format!("{number} {}", seats.join(" ")))
            }
            Contest::OneWallet => ("/charges", "0".to_owned()),
            Contest::Spread => ("/charges", number.to_string()),
        };
        connection.send(&Call { method: "POST", path, body: &body, ..Call::default() }).await?;
        Ok(())
    }
}

async fn try_lanes(bench: &mut Bench, contest: Contest) -> anyhow::Result<Trial> {
    let addresses = bench.servers(Setup::Default).await?;
    let mut trial = Trial::new(contest, LANES);
    for round in 0..=rounds(bench) {
        if trial.is_enough() {
            break;
        }
        let before = retries(&addresses).await?;
        let (outcome, cost) = match contest {
            Contest::HotSeat | Contest::Overlap => {
                let sale = bench.fixture.open_sale(HOUSE).await?;
                let mut buyers = bench.fixture.buyers(CROWD).await?;
                bench.fixture.join(sale.concert, &mut buyers).await?;
                let (sale, buyers) = (Rc::new(sale), buyers.into());
                let work = Rc::new(Contested { sale, buyers, wanted: move |person| contest.seats(person) });
                bench.costed(Setup::Default, async || load::burst(&work, &addresses, CROWD).await).await?
            }
            Contest::OneWallet | Contest::Spread => {
                let wallets = if contest == Contest::OneWallet { 1 } else { CROWD };
                let work = Rc::new(Charges { buyers: bench.fixture.buyers(wallets).await?, round: String::new() });
                bench.costed(Setup::Default, async || load::burst(&work, &addresses, CROWD).await).await?
            }
        };
        if round > 0 {
            trial.add(&outcome, cost);
            trial.conflicts += retries(&addresses).await? - before;
        }
    }
    Ok(trial)
}

/// How many batches were repeated.
async fn retries(addresses: &Addresses) -> anyhow::Result<usize> {
    let mut connection = Connection::open(addresses, 0).await?;
    let answer = connection.send(&Call { method: "GET", path: "/metrics", ..Call::default() }).await?;
    let text = std::str::from_utf8(answer.body)?;
    let lines = text.lines().filter(|line| line.starts_with("lane_retries_total"));
    lines.map(|line| line.rsplit_once(' ').and_then(|(_, count)| count.parse::<usize>().ok()).context("a count")).sum()
}
