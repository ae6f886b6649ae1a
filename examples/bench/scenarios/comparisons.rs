//! Comparisons of the server with itself: unbatched, with two instances, and with more data.

use std::rc::Rc;

use super::{CONNECTIONS, prepare_holds, prepare_joins, scaled_run};
use crate::{
    bench::{Bench, Limit, Run, Setup},
    client::Addresses,
    load,
    report::{Goal, LoadRow},
    statistics::median,
    workloads::Journeys,
};

/// Reports the ratio of two rates, round by round.
fn report_comparison(bench: &mut Bench, name: &str, [this, other]: [LoadRow; 2], goal: Goal) {
    let ratios = this.rates.iter().zip(&other.rates).map(|(this, other)| this / other).collect();
    bench.report.add_figure(name, ratios, "", Some(goal));
    bench.report.add_load_row(this);
    bench.report.add_load_row(other);
}

pub(super) async fn single(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    let batches = scaled_run(bench, "holds of 2 seats", 20_000, Limit::None);
    let single = Run {
        name: "holds, one transaction each, 16 lanes",
        setup: Setup::Unbatched,
        count: batches.count / 4,
        ..batches
    };
    let rows = bench
        .measure_interleaved([batches, single], async |bench, run, _| prepare_holds(bench, run.count).await)
        .await?;
    report_comparison(bench, "holds of 2 seats ÷ P", rows, Goal::at_least(3.0, Some(4.0)));
    Ok(())
}

pub(super) async fn instances(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    let goal = Goal::at_least(1.0, None);
    let one = scaled_run(bench, "holds, one instance", 20_000, Limit::None);
    let two = Run { name: "holds, two instances", setup: Setup::TwoInstances, ..one };
    let rows =
        bench.measure_interleaved([two, one], async |bench, run, _| prepare_holds(bench, run.count).await).await?;
    report_comparison(bench, "holds on two instances ÷ on one", rows, goal);
    let one = scaled_run(bench, "journeys, one instance", 8_000, Limit::None);
    let two = Run { name: "journeys, two instances", setup: Setup::TwoInstances, ..one };
    let prepare =
        async |bench: &mut Bench, run: Run, _: &Addresses| Ok(Journeys(prepare_joins(bench, run.count).await?));
    let rows = bench.measure_interleaved([two, one], prepare).await?;
    report_comparison(bench, "journeys on two instances ÷ on one", rows, goal);
    Ok(())
}

/// The growth of the data.
const FACTOR: usize = 10;

pub(super) async fn growth(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    let small = scaled_run(bench, "holds of 2 seats, small database", 6_000, Limit::DurableUpdates);
    let before = bench.measure_closed_loop(small, async |bench, run, _| prepare_holds(bench, run.count).await).await?;
    // Adds nine times the data of the rounds so far. The warm-up round had a quarter of the others' work.
    let addresses = bench.servers(Setup::Default).await?;
    for _ in 0..(FACTOR - 1) * (4 * before.rates.len() + 1) / 4 {
        let work = Rc::new(prepare_holds(bench, small.count).await?);
        load::closed_loop(&work, &addresses, CONNECTIONS, small.count).await?;
    }
    let large = Run { name: "holds of 2 seats, ten times the seats, users, history", ..small };
    let after = bench.measure_closed_loop(large, async |bench, run, _| prepare_holds(bench, run.count).await).await?;
    // Compares ratios to the limits, because the machine's speed may have changed between the runs.
    let ratio = median(&after.ratios()) / median(&before.ratios());
    let goal = Goal::at_least(0.9, None);
    bench.report.add_figure("holds with ten times the data ÷ before", vec![ratio], "", Some(goal));
    bench.report.add_load_row(before);
    bench.report.add_load_row(after);
    Ok(())
}
