//! Open loops: work comes when it comes, and waiting counts.

use std::{rc::Rc, time::Duration};

use super::{rates::journey_rate, ready_to_hold, ready_to_join, run};
use crate::{
    bench::{Bench, Limit, Setup},
    load::{self, Schedule},
    plot::{self, Series},
    report::{Goal, Line},
    statistics::{Latencies, number, slices},
    works::Journeys,
};

/// Connections over which work comes: enough, unless the server falls behind.
const ARRIVING: usize = 256;

pub(super) async fn open(bench: &mut Bench) -> anyhow::Result<()> {
    let peak = run(bench, "holds, closed loop", 20_000, Limit::Nothing);
    let peak = bench.closed(peak, async |bench, run, _| ready_to_hold(bench, run.count).await).await?.rate();
    let addresses = bench.servers(Setup::Default).await?;
    let time = Duration::from_secs(if bench.scale.quick { 1 } else { 3 });
    let mut curves = [("p50", Vec::new()), ("p99", Vec::new()), ("p99.9", Vec::new())];
    for percent in [10, 25, 50, 65, 80, 90] {
        let schedule = Schedule::steady(peak * f64::from(percent) / 100.0, time);
        let mut line = Line::new(&format!("holds arriving at {percent} % of the closed-loop rate"), ARRIVING);
        for _ in 0..bench.scale.rounds {
            let work = Rc::new(ready_to_hold(bench, schedule.count()).await?);
            let (outcome, cost) =
                bench.costed(Setup::Default, async || load::open(&work, &addresses, ARRIVING, &schedule).await).await?;
            line.add(outcome.rate(), None, &outcome.latencies(), cost);
        }
        for (which, (_, curve)) in curves.iter_mut().enumerate() {
            curve.push((peak * f64::from(percent) / 100.0, line.percentile(which)));
        }
        if percent == 50 {
            let goal = Goal::at_most(8.0, None);
            bench.report.find("p99 of holds arriving at half the peak rate", line.percentiles(1), " ms", Some(goal));
        }
        bench.report.add_line(line);
    }
    let series = curves.map(|(name, points)| Series { name: name.to_owned(), points });
    let plot = plot::lines("arriving holds per second", "latency, ms", &series);
    bench.report.draw("open", "Latency of holds at fixed arrival rates, measured from the due time", plot);
    Ok(())
}

/// The width of a slice of time.
const SLICE: Duration = Duration::from_millis(100);

pub(super) async fn opening(bench: &mut Bench) -> anyhow::Result<()> {
    let peak = journey_rate(bench).await?.rate();
    let addresses = bench.servers(Setup::Default).await?;
    let (before, after) = (Duration::from_secs(1), Duration::from_secs(if bench.scale.quick { 1 } else { 4 }));
    let schedule = Schedule::new(vec![(peak * 0.05, before), (peak * 0.8, after)]);
    let work = Rc::new(Journeys(ready_to_join(bench, schedule.count()).await?));
    let (outcome, cost) =
        bench.costed(Setup::Default, async || load::open(&work, &addresses, ARRIVING, &schedule).await).await?;
    let mut line = Line::new("journeys: 5 %, then at once 80 % of the closed-loop rate", ARRIVING);
    line.add(outcome.rate(), None, &outcome.latencies(), cost);
    bench.report.add_line(line);
    let slices = slices(&outcome.samples, outcome.started, SLICE);
    let worst = slices.iter().map(|slice| slice.percentile(0.99)).fold(0.0, f64::max);
    bench.report.find("worst p99 of any 100 ms while a sale opens", vec![worst], " ms", None);
    let series = [("p50", 0.5), ("p99", 0.99)].map(|(name, part)| {
        let point = |(index, slice)| (number(index) * SLICE.as_secs_f64(), Latencies::percentile(slice, part));
        Series { name: name.to_owned(), points: slices.iter().enumerate().map(point).collect() }
    });
    let plot = plot::lines("seconds (the sale opens at 1)", "request latency, ms", &series);
    bench.report.draw("opening", "Latency while a sale opens", plot);
    Ok(())
}
