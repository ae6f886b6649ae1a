//! Closed loops: rates, each compared with its limit.

use std::{cell::RefCell, rc::Rc};

use super::{CONNECTIONS, join_beyond_lookahead, prepare_holds, prepare_joins, report_ratio, scaled_run};
use crate::{
    bench::{Bench, Limit, Run},
    client::{Addresses, Connection},
    load,
    report::{Goal, LoadRow},
    workloads::{Charges, Holds, HoldsAndCharges, Joins, Journeys, Payments, Polls, SeatMaps},
};

/// The numbers of connections; the last one is compared with the limit.
const CONNECTION_COUNTS: [usize; 3] = [8, 256, CONNECTIONS];

pub(super) async fn polls(bench: &mut Bench) -> anyhow::Result<()> {
    for connections in CONNECTION_COUNTS {
        let limit = if connections == CONNECTIONS { Limit::BareHandler } else { Limit::None };
        let run = Run { connections, ..scaled_run(bench, "polls", 150_000, limit) };
        let row = bench
            .measure_closed_loop(run, async |bench, _, _| Ok(Polls { buyers: join_beyond_lookahead(bench).await? }))
            .await?;
        if connections == CONNECTIONS {
            report_ratio(bench, "polls ÷ H", row, 0.6, 0.8);
        } else {
            bench.report.add_load_row(row);
        }
    }
    Ok(())
}

pub(super) async fn seats(bench: &mut Bench) -> anyhow::Result<()> {
    for (name, is_new, count) in
        [("seat map of 1,000 seats, 200", true, 15_000), ("seat map of 1,000 seats, 304", false, 100_000)]
    {
        let run = scaled_run(bench, name, count, Limit::BareHandler);
        let prepare =
            async |bench: &mut Bench, _, addresses: &Addresses| prepare_seat_maps(bench, addresses, is_new).await;
        let row = bench.measure_closed_loop(run, prepare).await?;
        report_ratio(bench, &format!("{name} ÷ H"), row, 0.6, 0.8);
    }
    Ok(())
}

/// Reads of a house with 1,000 seats, a third of them held, without (`is_new`) or with the current `ETag`.
async fn prepare_seat_maps(bench: &mut Bench, addresses: &Addresses, is_new: bool) -> anyhow::Result<SeatMaps> {
    let holds = Rc::new(prepare_holds(bench, 500).await?);
    load::closed_loop(&holds, addresses, 8, 167).await?;
    let path = format!("/api/v1/performances/{}/seats", holds.sale.performance);
    let mut maps = SeatMaps { path, buyers: holds.buyers.clone(), etag: String::new() };
    if !is_new {
        maps.etag = maps.read_etag(&mut Connection::open(addresses, 0).await?).await?;
    }
    Ok(maps)
}

pub(super) async fn joins(bench: &mut Bench) -> anyhow::Result<()> {
    let run = scaled_run(bench, "joins", 40_000, Limit::DurableUpdates);
    let prepare = async |bench: &mut Bench, run: Run, _: &Addresses| {
        let sale = bench.fixture.closed_sale().await?;
        Ok(Joins { concert: sale.concert.0, buyers: bench.fixture.buyers(run.count).await? })
    };
    let row = bench.measure_closed_loop(run, prepare).await?;
    report_ratio(bench, "joins ÷ L8", row, 0.8, 1.3);
    Ok(())
}

pub(super) async fn holds(bench: &mut Bench) -> anyhow::Result<()> {
    for connections in CONNECTION_COUNTS {
        let limit = if connections == CONNECTIONS { Limit::DurableUpdates } else { Limit::None };
        let run = Run { connections, ..scaled_run(bench, "holds of 2 seats", 20_000, limit) };
        let prepare = async |bench: &mut Bench, run: Run, _: &Addresses| prepare_holds(bench, run.count).await;
        let row = bench.measure_closed_loop(run, prepare).await?;
        if connections == CONNECTIONS {
            let description = prepare_holds(bench, run.count).await?.describe(run.count)?;
            bench.report.add_note(description);
            let goal = Goal::at_most(10.0, None);
            bench.report.add_figure("p99 of holds, 64 connections", row.percentiles(1), " ms", Some(goal));
            report_ratio(bench, "holds of 2 seats ÷ L8", row, 0.6, 1.0);
        } else {
            bench.report.add_load_row(row);
        }
    }
    Ok(())
}

pub(super) async fn charges(bench: &mut Bench) -> anyhow::Result<()> {
    let run = scaled_run(bench, "charges", 20_000, Limit::DurableUpdates);
    let prepare = async |bench: &mut Bench, run: Run, _: &Addresses| {
        Ok(Charges { buyers: bench.fixture.buyers(run.count).await?, round: String::new() })
    };
    let row = bench.measure_closed_loop(run, prepare).await?;
    bench.report.add_figure("charges ÷ L8", row.ratios(), "", None);
    bench.report.add_load_row(row);
    Ok(())
}

pub(super) async fn payments(bench: &mut Bench) -> anyhow::Result<()> {
    let run = scaled_run(bench, "payments", 15_000, Limit::DurableUpdates);
    let row = bench.measure_closed_loop(run, prepare_payments).await?;
    report_ratio(bench, "payments ÷ L8", row, 0.5, 0.8);
    Ok(())
}

/// Bookings that are still to be paid.
pub(super) async fn prepare_payments(bench: &mut Bench, run: Run, addresses: &Addresses) -> anyhow::Result<Payments> {
    let Holds { sale, mut buyers } = prepare_joins(bench, run.count).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    let bookings = RefCell::new(vec![String::new(); run.count]);
    let before = Rc::new(HoldsAndCharges { holds: Holds { sale, buyers: buyers.clone() }, bookings });
    load::closed_loop(&before, addresses, CONNECTIONS, run.count).await?;
    Ok(Payments { buyers, bookings: before.bookings.take() })
}

pub(super) async fn journeys(bench: &mut Bench) -> anyhow::Result<()> {
    let row = measure_journeys(bench).await?;
    report_ratio(bench, "journeys ÷ L8", row, 0.12, 0.16);
    Ok(())
}

/// Measures complete purchases.
pub(super) async fn measure_journeys(bench: &mut Bench) -> anyhow::Result<LoadRow> {
    let run = scaled_run(bench, "journeys of 5 requests", 8_000, Limit::DurableUpdates);
    bench.measure_closed_loop(run, async |bench, run, _| Ok(Journeys(prepare_joins(bench, run.count).await?))).await
}
