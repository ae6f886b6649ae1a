//! Open loops: requests arrive at scheduled times, and waiting counts as latency.

use std::{rc::Rc, time::Duration};

use super::{prepare_holds, prepare_joins, rates::measure_journeys, scaled_run};
use crate::{
    bench::{Bench, Limit, Setup},
    load::{self, Schedule},
    plot::{self, Series},
    report::{Goal, LoadRow},
    statistics::{Latencies, slices, to_f64},
    workloads::Journeys,
};

/// Connections of an open loop: enough unless the server falls behind.
const OPEN_LOOP_CONNECTIONS: usize = 256;

pub(super) async fn open(bench: &mut Bench) -> anyhow::Result<()> {
    let peak = scaled_run(bench, "holds, closed loop", 20_000, Limit::None);
    let peak =
        bench.measure_closed_loop(peak, async |bench, run, _| prepare_holds(bench, run.count).await).await?.rate();
    let addresses = bench.servers(Setup::Default).await?;
    let time = Duration::from_secs(if bench.scale.quick { 1 } else { 3 });
    let mut curves = [("p50", Vec::new()), ("p99", Vec::new()), ("p99.9", Vec::new())];
    for percent in [10, 25, 50, 65, 80, 90] {
        let schedule = Schedule::constant(peak * f64::from(percent) / 100.0, time);
        let mut row =
            LoadRow::new(&format!("holds arriving at {percent} % of the closed-loop rate"), OPEN_LOOP_CONNECTIONS);
        for _ in 0..bench.scale.rounds {
            let work = Rc::new(prepare_holds(bench, schedule.count()).await?);
            let (outcome, cost) = bench
                .measure_cost(Setup::Default, async || {
                    load::open_loop(&work, &addresses, OPEN_LOOP_CONNECTIONS, &schedule).await
                })
                .await?;
            row.add_round(outcome.rate(), None, &outcome.latencies(), cost);
        }
        for (index, (_, curve)) in curves.iter_mut().enumerate() {
            curve.push((peak * f64::from(percent) / 100.0, row.percentile(index)));
        }
        if percent == 50 {
            let goal = Goal::at_most(8.0, None);
            bench.report.add_figure(
                "p99 of holds arriving at half the peak rate",
                row.percentiles(1),
                " ms",
                Some(goal),
            );
        }
        bench.report.add_load_row(row);
    }
    let series = curves.map(|(name, points)| Series { name: name.to_owned(), points });
    let plot = plot::lines("arriving holds per second", "latency, ms", &series);
    bench.report.add_plot("open", "Latency of holds at fixed arrival rates, measured from the due time", plot);
    Ok(())
}

/// The resolution of the latency over time.
const SLICE_WIDTH: Duration = Duration::from_millis(100);

pub(super) async fn opening(bench: &mut Bench) -> anyhow::Result<()> {
    let peak = measure_journeys(bench).await?.rate();
    let addresses = bench.servers(Setup::Default).await?;
    let (before, after) = (Duration::from_secs(1), Duration::from_secs(if bench.scale.quick { 1 } else { 4 }));
    let schedule = Schedule::new(vec![(peak * 0.05, before), (peak * 0.8, after)]);
    let work = Rc::new(Journeys(prepare_joins(bench, schedule.count()).await?));
    let (outcome, cost) = bench
        .measure_cost(Setup::Default, async || {
            load::open_loop(&work, &addresses, OPEN_LOOP_CONNECTIONS, &schedule).await
        })
        .await?;
    let mut row = LoadRow::new("journeys: 5 %, then at once 80 % of the closed-loop rate", OPEN_LOOP_CONNECTIONS);
    row.add_round(outcome.rate(), None, &outcome.latencies(), cost);
    bench.report.add_load_row(row);
    let slices = slices(&outcome.samples, outcome.started, SLICE_WIDTH);
    let worst = slices.iter().map(|slice| slice.percentile(0.99)).fold(0.0, f64::max);
    bench.report.add_figure("worst p99 of any 100 ms while a sale opens", vec![worst], " ms", None);
    let series = [("p50", 0.5), ("p99", 0.99)].map(|(name, fraction)| {
        let point =
            |(index, slice)| (to_f64(index) * SLICE_WIDTH.as_secs_f64(), Latencies::percentile(slice, fraction));
        Series { name: name.to_owned(), points: slices.iter().enumerate().map(point).collect() }
    });
    let plot = plot::lines("seconds (the sale opens at 1)", "request latency, ms", &series);
    bench.report.add_plot("opening", "Latency while a sale opens", plot);
    Ok(())
}
