//! The queue beside one in a sorted set of Redis, without and with durable writes.

use std::{cell::Cell, rc::Rc, time::Instant};

use anyhow::ensure;
use concert_reservation::domain::queue::QueueSettings;
use futures::{StreamExt, TryStreamExt, stream};

use super::{LOOKAHEAD_END, join_beyond_lookahead, scaled_run};
use crate::{
    bench::{Bench, Limit, Run, Setup},
    client::{Addresses, Connection, Request},
    limits,
    load::Workload,
    plot::{self, Bar},
    redis_store::{
        self, Durability,
        queue::{Admission, RedisQueues},
    },
    report::LoadRow,
    statistics::{median, rate},
    thousands::with_thousands_separators,
    workloads::{Joins, Polls},
};

/// The durabilities that are measured.
const DURABILITIES: [Durability; 2] = [Durability::Always, Durability::Snapshots];

/// Users that one tick admits: the most of a transaction of the server.
const ADMISSION_BATCH: usize = 2_000;

/// Joins that prepare a queue in Redis, at once.
const CONCURRENT_JOINS: usize = 256;

/// Explains the comparison.
const ABOUT_QUEUE: &str = "The queue in Redis is a small server that does nothing else: no authentication, no signed tokens, no presence of \
     waiting users, no events. So the comparison favours it.";

pub(super) async fn redis_queue(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    let version = redis_store::require()?;
    bench.report.add_note(format!("Redis {version}, over a socket like the database. {ABOUT_QUEUE}"));
    // First, because a running server would admit, too.
    admissions(bench).await?;
    joins(bench).await?;
    polls(bench).await
}

/// Runs against the server, and against both queues in Redis.
fn beside(ours: Run, [always, snapshots]: [&'static str; 2]) -> [Run; 3] {
    let redis = |name, durability| Run { name, setup: Setup::RedisQueue(durability), ..ours };
    [ours, redis(always, Durability::Always), redis(snapshots, Durability::Snapshots)]
}

/// One request of a queue's user, to the server or to the queue in Redis.
enum QueueRequests {
    Joins(Joins),
    Polls(Polls),
    Redis {
        method: &'static str,
        queue: u64,
        /// The first user's number, and the number of users.
        users: (usize, usize),
    },
}

impl Workload for QueueRequests {
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()> {
        match self {
            Self::Joins(joins) => joins.run(index, connection).await,
            Self::Polls(polls) => polls.run(index, connection).await,
            Self::Redis { method, queue, users: (first, count) } => {
                let path = format!("/queues/{queue}/users/{}", first + index % count);
                let status = connection.send(&Request { method, path: &path, ..Request::default() }).await?.status;
                ensure!(matches!(status, 200 | 201), "the queue in Redis answered {status}");
                Ok(())
            }
        }
    }
}

async fn joins(bench: &mut Bench) -> anyhow::Result<()> {
    let ours = scaled_run(bench, "joins", 40_000, Limit::DurableUpdates);
    let runs = beside(ours, ["joins, Redis, always", "joins, Redis, snapshots"]);
    let next = Rc::new(Cell::new(1_000));
    let prepare = async |bench: &mut Bench, run: Run, _: &Addresses| {
        if run.setup == Setup::Default {
            let sale = bench.fixture.closed_sale().await?;
            let buyers = bench.fixture.buyers(run.count).await?;
            return Ok(QueueRequests::Joins(Joins { concert: sale.concert.0, buyers }));
        }
        let queue = next.replace(next.get() + 1);
        Ok(QueueRequests::Redis { method: "POST", queue, users: (0, run.count) })
    };
    let rows = bench.measure_interleaved(runs, prepare).await?;
    report_rates(bench, rows, "L8", ("redis-joins", "Joins, beside a queue in Redis"));
    Ok(())
}

async fn polls(bench: &mut Bench) -> anyhow::Result<()> {
    let ours = scaled_run(bench, "polls", 100_000, Limit::BareHandler);
    let runs = beside(ours, ["polls, Redis, always", "polls, Redis, snapshots"]);
    let buyers = join_beyond_lookahead(bench).await?;
    let (waiting, queue) = (2 * LOOKAHEAD_END as usize, 1);
    for durability in DURABILITIES {
        bench.start_redis(durability).await?;
        join_in_redis(&RedisQueues::connect(&durability.socket()).await?, queue, waiting).await?;
    }
    let prepare = async |_: &mut Bench, run: Run, _: &Addresses| {
        if run.setup == Setup::Default {
            return Ok(QueueRequests::Polls(Polls { buyers: buyers.clone() }));
        }
        Ok(QueueRequests::Redis { method: "GET", queue, users: (waiting / 2, waiting / 2) })
    };
    let rows = bench.measure_interleaved(runs, prepare).await?;
    report_rates(bench, rows, "H", ("redis-polls", "Polls, beside a queue in Redis"));
    Ok(())
}

/// Reports the rates, their ratios to the limit, and a plot of them.
fn report_rates(bench: &mut Bench, rows: [LoadRow; 3], limit: &str, (file, title): (&'static str, &'static str)) {
    let bars = rows.iter().map(|row| rate_bar(row.name.clone(), row.rate()));
    bench.report.add_plot(file, title, plot::bars("per second", &bars.collect::<Vec<_>>()));
    for row in rows {
        bench.report.add_figure(&format!("{} ÷ {limit}", row.name), row.ratios(), "", None);
        bench.report.add_load_row(row);
    }
}

/// A bar with the rate as its label.
fn rate_bar(name: String, rate: f64) -> Bar {
    Bar { name, value: rate, label: with_thousands_separators(rate), marks: Vec::new() }
}

/// Joins with users 0 to `count` - 1, without HTTP.
async fn join_in_redis(queues: &RedisQueues, queue: u64, count: usize) -> anyhow::Result<()> {
    let joins = (0..count as u64).map(|user| queues.join(queue, user));
    stream::iter(joins).buffer_unordered(CONCURRENT_JOINS).try_for_each(async |_| Ok(())).await?;
    Ok(())
}

/// Admissions in batches, one after the other, without HTTP: a tick of the server, or a script in Redis.
async fn admissions(bench: &mut Bench) -> anyhow::Result<()> {
    let count = bench.scale.count(20_000);
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for round in 0..=bench.scale.rounds {
        let limit = limits::durable_updates(&bench.database, bench.scale.limit_time).await?;
        let mut found = vec![admit_here(bench, count).await?];
        for durability in DURABILITIES {
            bench.start_redis(durability).await?;
            let queues = RedisQueues::connect(&durability.socket()).await?;
            let queue = 100 + round as u64;
            join_in_redis(&queues, queue, count).await?;
            let started = Instant::now();
            for _ in 0..count.div_ceil(ADMISSION_BATCH) {
                queues.admit(queue, ADMISSION_BATCH as u64, Admission::Script).await?;
            }
            found.push(rate(count, started.elapsed()));
        }
        // The first round is a warm-up.
        for (index, rate) in found.into_iter().enumerate().filter(|_| round > 0) {
            rates[index].push(rate);
            ratios[index].push(rate / limit);
        }
    }
    let names = ["the server", "Redis, always", "Redis, snapshots"];
    let bars: Vec<_> =
        names.iter().zip(&rates).map(|(name, rates)| rate_bar((*name).to_owned(), median(rates))).collect();
    bench.report.add_plot("redis-admissions", "Admissions, beside a queue in Redis", plot::bars("per second", &bars));
    for (index, name) in names.into_iter().enumerate() {
        let [rates, ratios] = [&mut rates[index], &mut ratios[index]].map(std::mem::take);
        bench.report.add_figure(&format!("admissions by {name}, batches of 2,000"), rates, " per second", None);
        bench.report.add_figure(&format!("admissions by {name} ÷ L8"), ratios, "", None);
    }
    Ok(())
}

/// Admits the users of a new queue by ticks of this process, and returns the rate per second.
async fn admit_here(bench: &Bench, count: usize) -> anyhow::Result<f64> {
    let settings = QueueSettings {
        admit_count: u32::try_from(count)?,
        admit_interval_seconds: 1,
        max_active: 1_000_000,
        claim_seconds: 3_600,
        ..QueueSettings::default()
    };
    let sale = bench.fixture.sale(100, settings).await?;
    let mut buyers = bench.fixture.buyers(count).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    let (started, mut admitted) = (Instant::now(), 0);
    while admitted < count {
        let more = bench.fixture.app.shared.queue.admission.admit_due().await?;
        ensure!(more > 0, "{admitted} of {count} users were admitted, and no more");
        admitted += usize::try_from(more)?;
    }
    Ok(rate(count, started.elapsed()))
}
