//! High contention: one seat, one wallet, one queue.

use std::{rc::Rc, time::Duration};

use anyhow::ensure;

use super::{join_beyond_lookahead, scaled_run};
use crate::{
    bench::{Bench, Limit, Run, Setup},
    client::{Addresses, Connection, Request},
    load,
    report::{Goal, LoadRow},
    server,
    workloads::{Charges, Contested, Polls},
};

/// Concurrent requests of a burst.
const BURST: usize = 1_000;

/// Warm-up rounds before the measured ones.
const WARM_UP_ROUNDS: usize = 2;

/// Measured rounds.
const ROUNDS: usize = 15;

/// The goal for the time until the last response, in milliseconds.
const LAST_RESPONSE_GOAL: Goal = Goal::at_most(40.0, Some(20.0));

pub(super) async fn hot_seat(bench: &mut Bench) -> anyhow::Result<()> {
    let rounds = bench.scale.count(ROUNDS);
    let sale = bench.fixture.open_sale(2 * (rounds + WARM_UP_ROUNDS)).await?;
    let mut buyers = bench.fixture.buyers(BURST).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    let (sale, buyers): (_, Rc<[_]>) = (Rc::new(sale), buyers.into());
    let addresses = bench.servers(Setup::Default).await?;
    let mut row = LoadRow::new("1,000 concurrent holds of one seat", BURST);
    let mut times = Vec::new();
    for round in 0..rounds + WARM_UP_ROUNDS {
        let selection = move |_| (2 * round, 1);
        let work = Rc::new(Contested { sale: Rc::clone(&sale), buyers: Rc::clone(&buyers), selection });
        let (outcome, cost) =
            bench.measure_cost(Setup::Default, async || load::burst(&work, &addresses, BURST).await).await?;
        let latencies = outcome.latencies();
        let successes = latencies.statuses.get(&201);
        ensure!(successes == Some(&1), "one seat was held {successes:?} times");
        if round >= WARM_UP_ROUNDS {
            times.push(outcome.milliseconds());
            row.add_round(outcome.rate(), None, &latencies, cost);
        }
    }
    bench.report.add_figure("1,000 holds of one seat, last response after", times, " ms", Some(LAST_RESPONSE_GOAL));
    bench.report.add_load_row(row);
    Ok(())
}

pub(super) async fn hot_wallet(bench: &mut Bench) -> anyhow::Result<()> {
    let addresses = bench.servers(Setup::Default).await?;
    let buyers = bench.fixture.buyers(1).await?;
    let mut row = LoadRow::new("1,000 concurrent charges of one wallet", BURST);
    let mut times = Vec::new();
    for round in 0..bench.scale.count(ROUNDS) + WARM_UP_ROUNDS {
        let work = Rc::new(Charges { buyers: buyers.clone(), round: round.to_string() });
        let (outcome, cost) =
            bench.measure_cost(Setup::Default, async || load::burst(&work, &addresses, BURST).await).await?;
        if round >= WARM_UP_ROUNDS {
            times.push(outcome.milliseconds());
            row.add_round(outcome.rate(), None, &outcome.latencies(), cost);
        }
    }
    bench.report.add_figure("1,000 charges of one wallet, last response after", times, " ms", Some(LAST_RESPONSE_GOAL));
    bench.report.add_load_row(row);
    Ok(())
}

/// Waiting users of the large queue.
const WAITING_USERS: u32 = 1_000_000;

/// Users of the large queue that poll.
const POLLING_USERS: u32 = 5_000;

/// The time over which ticks are measured without load.
const TICK_OBSERVATION: Duration = Duration::from_secs(12);

pub(super) async fn million(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    let few = scaled_run(bench, "polls, 2,000 waiting", 100_000, Limit::None);
    let small = join_beyond_lookahead(bench).await?;
    let prepare = async |_: &mut Bench, _, _: &Addresses| Ok(Polls { buyers: small.clone() });
    bench.measure_closed_loop(few, prepare).await?;
    let resident =
        |bench: &Bench| bench.server_pids(Setup::Default).first().and_then(|pid| server::resident_memory(*pid));
    let before = resident(bench);

    let count = if bench.scale.quick { WAITING_USERS / 10 } else { WAITING_USERS };
    let far = bench.fixture.large_queue(count, POLLING_USERS).await?;
    let addresses = bench.servers(Setup::Default).await?;
    let first = Ticks::read(&addresses).await?;
    tokio::time::sleep(TICK_OBSERVATION).await;
    let ticks = Ticks::read(&addresses).await?.since(&first);

    let many =
        Run { name: if bench.scale.quick { "polls, 100,000 waiting" } else { "polls, 1,000,000 waiting" }, ..few };
    let prepare = async |_: &mut Bench, run: Run, _: &Addresses| {
        Ok(Polls { buyers: if run.name == many.name { far.clone() } else { small.clone() } })
    };
    let [many, few] = bench.measure_interleaved([many, few], prepare).await?;
    let ratios: Vec<_> = many.rates.iter().zip(&few.rates).map(|(many, few)| many / few).collect();
    let report = &mut bench.report;
    report.add_figure("polls with a million waiting ÷ with 2,000", ratios, "", Some(Goal::at_least(0.9, None)));
    report.add_figure(
        "mean admission tick, a million waiting",
        vec![ticks.mean()],
        " ms",
        Some(Goal::at_most(50.0, None)),
    );
    report.add_figure(
        "slowest admission tick, a million waiting, at most",
        vec![ticks.longest_bound()],
        " ms",
        Some(Goal::at_most(50.0, None)),
    );
    report.add_load_row(many);
    report.add_load_row(few);
    if let (Some(before), Some(after)) = (before, resident(bench)) {
        let goal = Goal::at_most(100.0, None);
        bench.report.add_figure(
            "server memory for a million waiting users",
            vec![(after - before).max(0.0)],
            " MB",
            Some(goal),
        );
    }
    Ok(())
}

/// The durations of admission ticks since the server's start, from its metrics.
struct Ticks {
    count: f64,
    seconds: f64,
    /// Upper bounds in seconds, with the cumulative number of ticks.
    buckets: Vec<(f64, f64)>,
}

impl Ticks {
    async fn read(addresses: &Addresses) -> anyhow::Result<Self> {
        let mut connection = Connection::open(addresses, 0).await?;
        let call = Request { method: "GET", path: "/metrics", ..Request::default() };
        let answer = connection.send(&call).await?;
        let text = String::from_utf8_lossy(answer.body).into_owned();
        let values = |name: &str| -> Vec<(f64, f64)> {
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(ADMISSION_LABEL));
            lines.filter_map(|line| Some((bucket_bound(line), line.rsplit_once(' ')?.1.parse().ok()?))).collect()
        };
        let sum = |name: &str| values(name).iter().map(|(_, value)| value).sum();
        let [count, seconds] = ["job_run_seconds_count", "job_run_seconds_sum"].map(sum);
        Ok(Self { count, seconds, buckets: values("job_run_seconds_bucket") })
    }

    fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| {
            before.buckets.iter().find(|(it, _)| it.total_cmp(&bound).is_eq()).map_or(0.0, |(_, count)| *count)
        };
        Self {
            count: self.count - before.count,
            seconds: self.seconds - before.seconds,
            buckets: self.buckets.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect(),
        }
    }

    /// In milliseconds.
    fn mean(&self) -> f64 {
        self.seconds / self.count * 1_000.0
    }

    /// The lowest bucket bound above all ticks, in milliseconds.
    fn longest_bound(&self) -> f64 {
        let within = self.buckets.iter().filter(|(_, count)| *count >= self.count).map(|(bound, _)| *bound);
        within.fold(f64::INFINITY, f64::min) * 1_000.0
    }
}

/// The label of the admission job.
const ADMISSION_LABEL: &str = "name=\"admission\"";

/// The upper bound in a bucket's line; infinity for other lines.
fn bucket_bound(line: &str) -> f64 {
    let text = line.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(bound, _)| bound);
    text.parse().unwrap_or(f64::INFINITY)
}
