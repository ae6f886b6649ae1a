//! Many people at one place.

use std::{rc::Rc, time::Duration};

use anyhow::ensure;

use super::{run, waiting};
use crate::{
    bench::{Bench, Limit, Run, Setup},
    client::{Addresses, Call, Connection},
    load,
    report::{Goal, Line},
    server,
    works::{Charges, Contested, Polls},
};

/// How many people come at once.
const CROWD: usize = 1_000;

/// Rounds that don't count, before those that do.
const WARM_UP: usize = 2;

/// Rounds that count.
const ROUNDS: usize = 15;

/// What is wanted of the time until all are answered, in milliseconds.
const ALL_ANSWERED: Goal = Goal::at_most(40.0, Some(20.0));

pub(super) async fn hot_seat(bench: &mut Bench) -> anyhow::Result<()> {
    let rounds = bench.scale.count(ROUNDS);
    let sale = bench.fixture.open_sale(2 * (rounds + WARM_UP)).await?;
    let mut buyers = bench.fixture.buyers(CROWD).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    let (sale, buyers): (_, Rc<[_]>) = (Rc::new(sale), buyers.into());
    let addresses = bench.servers(Setup::Default).await?;
    let mut line = Line::new("1,000 concurrent holds of one seat", CROWD);
    let mut times = Vec::new();
    for round in 0..rounds + WARM_UP {
        let wanted = move |_| (2 * round, 1);
        let work = Rc::new(Contested { sale: Rc::clone(&sale), buyers: Rc::clone(&buyers), wanted });
        let (outcome, cost) =
            bench.costed(Setup::Default, async || load::burst(&work, &addresses, CROWD).await).await?;
        let latencies = outcome.latencies();
        let sold = latencies.statuses.get(&201);
        ensure!(sold == Some(&1), "one seat was held {sold:?} times");
        if round >= WARM_UP {
            times.push(outcome.milliseconds());
            line.add(outcome.rate(), None, &latencies, cost);
        }
    }
    bench.report.find("1,000 holds of one seat, last response after", times, " ms", Some(ALL_ANSWERED));
    bench.report.add_line(line);
    Ok(())
}

pub(super) async fn hot_wallet(bench: &mut Bench) -> anyhow::Result<()> {
    let addresses = bench.servers(Setup::Default).await?;
    let buyers = bench.fixture.buyers(1).await?;
    let mut line = Line::new("1,000 concurrent charges of one wallet", CROWD);
    let mut times = Vec::new();
    for round in 0..bench.scale.count(ROUNDS) + WARM_UP {
        let work = Rc::new(Charges { buyers: buyers.clone(), round: round.to_string() });
        let (outcome, cost) =
            bench.costed(Setup::Default, async || load::burst(&work, &addresses, CROWD).await).await?;
        if round >= WARM_UP {
            times.push(outcome.milliseconds());
            line.add(outcome.rate(), None, &outcome.latencies(), cost);
        }
    }
    bench.report.find("1,000 charges of one wallet, last response after", times, " ms", Some(ALL_ANSWERED));
    bench.report.add_line(line);
    Ok(())
}

/// How many wait in a large queue.
const MILLION: u32 = 1_000_000;

/// How many of them ask.
const ASKING: u32 = 5_000;

/// For how long ticks are watched.
const TICKING: Duration = Duration::from_secs(12);

pub(super) async fn million(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_own_servers()?;
    let few = run(bench, "polls, 2,000 waiting", 100_000, Limit::Nothing);
    let small = waiting(bench).await?;
    let prepare = async |_: &mut Bench, _, _: &Addresses| Ok(Polls { buyers: small.clone() });
    bench.closed(few, prepare).await?;
    let resident =
        |bench: &Bench| bench.server_pids(Setup::Default).first().and_then(|pid| server::resident_memory(*pid));
    let before = resident(bench);

    let count = if bench.scale.quick { MILLION / 10 } else { MILLION };
    let far = bench.fixture.crowd(count, ASKING).await?;
    let addresses = bench.servers(Setup::Default).await?;
    let first = Ticks::read(&addresses).await?;
    tokio::time::sleep(TICKING).await;
    let ticks = Ticks::read(&addresses).await?.since(&first);

    let many =
        Run { name: if bench.scale.quick { "polls, 100,000 waiting" } else { "polls, 1,000,000 waiting" }, ..few };
    let prepare = async |_: &mut Bench, run: Run, _: &Addresses| {
        Ok(Polls { buyers: if run.name == many.name { far.clone() } else { small.clone() } })
    };
    let [many, few] = bench.alternate([many, few], prepare).await?;
    let ratios: Vec<_> = many.rates.iter().zip(&few.rates).map(|(many, few)| many / few).collect();
    let report = &mut bench.report;
    report.find("polls with a million waiting ÷ with 2,000", ratios, "", Some(Goal::at_least(0.9, None)));
    report.find("mean admission tick, a million waiting", vec![ticks.mean()], " ms", Some(Goal::at_most(50.0, None)));
    report.find(
        "slowest admission tick, a million waiting, at most",
        vec![ticks.longest()],
        " ms",
        Some(Goal::at_most(50.0, None)),
    );
    report.add_line(many);
    report.add_line(few);
    if let (Some(before), Some(after)) = (before, resident(bench)) {
        let goal = Goal::at_most(100.0, None);
        bench.report.find(
            "server memory for a million waiting users",
            vec![(after - before).max(0.0)],
            " MB",
            Some(goal),
        );
    }
    Ok(())
}

/// How long ticks took so far, as the server counts it.
struct Ticks {
    count: f64,
    seconds: f64,
    /// Upper bounds, in seconds, and how many ticks took at most so long.
    buckets: Vec<(f64, f64)>,
}

impl Ticks {
    async fn read(addresses: &Addresses) -> anyhow::Result<Self> {
        let mut connection = Connection::open(addresses, 0).await?;
        let call = Call { method: "GET", path: "/metrics", ..Call::default() };
        let answer = connection.send(&call).await?;
        let text = String::from_utf8_lossy(answer.body).into_owned();
        let values = |name: &str| -> Vec<(f64, f64)> {
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(TICK));
            lines.filter_map(|line| Some((bound(line), line.rsplit_once(' ')?.1.parse().ok()?))).collect()
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

    fn mean(&self) -> f64 {
        self.seconds / self.count * 1_000.0
    }

    /// The bound below which all of them lie.
    fn longest(&self) -> f64 {
        let within = self.buckets.iter().filter(|(_, count)| *count >= self.count).map(|(bound, _)| *bound);
        within.fold(f64::INFINITY, f64::min) * 1_000.0
    }
}

/// The job that admits.
const TICK: &str = "name=\"admission\"";

/// The upper bound of a bucket's line.
fn bound(line: &str) -> f64 {
    let text = line.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(bound, _)| bound);
    text.parse().unwrap_or(f64::INFINITY)
}
