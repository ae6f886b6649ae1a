//! The server beside itself: set up otherwise, twice, and with more in its database.

use std::rc::Rc;

use super::{CONNECTIONS, ready_to_hold, ready_to_join, run};
use crate::{
    bench::{Bench, Limit, Run, Setup},
    client::Addresses,
    load,
    report::{Goal, Line},
    statistics::median,
    works::Journeys,
};

/// One line's rates as parts of another's, round by round.
fn compare(bench: &mut Bench, name: &str, [this, other]: [Line; 2], goal: Goal) {
    let ratios = this.rates.iter().zip(&other.rates).map(|(this, other)| this / other).collect();
    bench.report.find(name, ratios, "", Some(goal));
    bench.report.add_line(this);
    bench.report.add_line(other);
}

pub(super) async fn single(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_own_servers()?;
    let batches = run(bench, "holds of 2 seats", 20_000, Limit::Nothing);
    let single =
        Run { name: "holds, one transaction each, 16 lanes", setup: Setup::Single, count: batches.count / 4, ..batches };
    let lines = bench.alternate([batches, single], async |bench, run, _| ready_to_hold(bench, run.count).await).await?;
    compare(bench, "holds of 2 seats ÷ P", lines, Goal::at_least(3.0, Some(4.0)));
    Ok(())
}

pub(super) async fn instances(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_own_servers()?;
    let goal = Goal::at_least(1.0, None);
    let one = run(bench, "holds, one instance", 20_000, Limit::Nothing);
    let two = Run { name: "holds, two instances", setup: Setup::Two, ..one };
    let lines = bench.alternate([two, one], async |bench, run, _| ready_to_hold(bench, run.count).await).await?;
    compare(bench, "holds on two instances ÷ on one", lines, goal);
    let one = run(bench, "journeys, one instance", 8_000, Limit::Nothing);
    let two = Run { name: "journeys, two instances", setup: Setup::Two, ..one };
    let prepare =
        async |bench: &mut Bench, run: Run, _: &Addresses| Ok(Journeys(ready_to_join(bench, run.count).await?));
    let lines = bench.alternate([two, one], prepare).await?;
    compare(bench, "journeys on two instances ÷ on one", lines, goal);
    Ok(())
}

/// How much more there is.
const FACTOR: usize = 10;

pub(super) async fn growth(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_own_servers()?;
    let small = run(bench, "holds of 2 seats, small database", 6_000, Limit::Updates);
    let before = bench.closed(small, async |bench, run, _| ready_to_hold(bench, run.count).await).await?;
    // As much again as there is so far, nine times over; the round that doesn't count was a quarter of one.
    let addresses = bench.servers(Setup::Default).await?;
    for _ in 0..(FACTOR - 1) * (4 * before.rates.len() + 1) / 4 {
        let work = Rc::new(ready_to_hold(bench, small.count).await?);
        load::closed(&work, &addresses, CONNECTIONS, small.count).await?;
    }
    let large = Run { name: "holds of 2 seats, ten times the seats, users, history", ..small };
    let after = bench.closed(large, async |bench, run, _| ready_to_hold(bench, run.count).await).await?;
    // Each is a part of the limit of its own time: the machine may have changed meanwhile.
    let ratio = median(&after.ratios()) / median(&before.ratios());
    let goal = Goal::at_least(0.9, None);
    bench.report.find("holds with ten times the data ÷ before", vec![ratio], "", Some(goal));
    bench.report.add_line(before);
    bench.report.add_line(after);
    Ok(())
}
