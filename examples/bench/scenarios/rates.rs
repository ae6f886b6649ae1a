//! How many a second: closed loops, each beside its limit.

use std::{cell::RefCell, rc::Rc};

use super::{CONNECTIONS, ratio, ready_to_hold, ready_to_join, run, waiting};
use crate::{
    bench::{Bench, Limit, Run},
    client::{Addresses, Connection},
    load,
    report::{Goal, Line},
    works::{BeforePayment, Charges, Holds, Joins, Journeys, Payments, Polls, SeatMaps},
};

/// The numbers of connections that are tried; the one that counts comes last.
const SWEEP: [usize; 3] = [8, 256, CONNECTIONS];

pub(super) async fn polls(bench: &mut Bench) -> anyhow::Result<()> {
    for connections in SWEEP {
        let limit = if connections == CONNECTIONS { Limit::Bare } else { Limit::Nothing };
        let run = Run { connections, ..run(bench, "polls", 150_000, limit) };
        let line = bench.closed(run, async |bench, _, _| Ok(Polls { buyers: waiting(bench).await? })).await?;
        if connections == CONNECTIONS {
            ratio(bench, "polls ÷ H", line, 0.6, 0.8);
        } else {
            bench.report.add_line(line);
        }
    }
    Ok(())
}

pub(super) async fn seats(bench: &mut Bench) -> anyhow::Result<()> {
    for (name, is_new, count) in
        [("seat map of 1,000 seats, 200", true, 15_000), ("seat map of 1,000 seats, 304", false, 100_000)]
    {
        let run = run(bench, name, count, Limit::Bare);
        let prepare = async |bench: &mut Bench, _, addresses: &Addresses| seat_maps(bench, addresses, is_new).await;
        let line = bench.closed(run, prepare).await?;
        ratio(bench, &format!("{name} ÷ H"), line, 0.6, 0.8);
    }
    Ok(())
}

/// A house of 1,000 seats of which a third is taken, and people who see it for the first time or again.
async fn seat_maps(bench: &mut Bench, addresses: &Addresses, is_new: bool) -> anyhow::Result<SeatMaps> {
    let holds = Rc::new(ready_to_hold(bench, 500).await?);
    load::closed(&holds, addresses, 8, 167).await?;
    let path = format!("/api/v1/performances/{}/seats", holds.sale.performance);
    let mut maps = SeatMaps { path, buyers: holds.buyers.clone(), etag: String::new() };
    if !is_new {
        maps.etag = maps.etag(&mut Connection::open(addresses, 0).await?).await?;
    }
    Ok(maps)
}

pub(super) async fn joins(bench: &mut Bench) -> anyhow::Result<()> {
    let run = run(bench, "joins", 40_000, Limit::Updates);
    let prepare = async |bench: &mut Bench, run: Run, _: &Addresses| {
        let sale = bench.fixture.closed_sale().await?;
        Ok(Joins { concert: sale.concert.0, buyers: bench.fixture.buyers(run.count).await? })
    };
    let line = bench.closed(run, prepare).await?;
    ratio(bench, "joins ÷ L8", line, 0.8, 1.3);
    Ok(())
}

pub(super) async fn holds(bench: &mut Bench) -> anyhow::Result<()> {
    for connections in SWEEP {
        let limit = if connections == CONNECTIONS { Limit::Updates } else { Limit::Nothing };
        let run = Run { connections, ..run(bench, "holds of 2 seats", 20_000, limit) };
        let prepare = async |bench: &mut Bench, run: Run, _: &Addresses| ready_to_hold(bench, run.count).await;
        let line = bench.closed(run, prepare).await?;
        if connections == CONNECTIONS {
            let described = ready_to_hold(bench, run.count).await?.describe(run.count)?;
            bench.report.note(described);
            let goal = Goal::at_most(10.0, None);
            bench.report.find("p99 of holds, 64 connections", line.percentiles(1), " ms", Some(goal));
            ratio(bench, "holds of 2 seats ÷ L8", line, 0.6, 1.0);
        } else {
            bench.report.add_line(line);
        }
    }
    Ok(())
}

pub(super) async fn charges(bench: &mut Bench) -> anyhow::Result<()> {
    let run = run(bench, "charges", 20_000, Limit::Updates);
    let prepare = async |bench: &mut Bench, run: Run, _: &Addresses| {
        Ok(Charges { buyers: bench.fixture.buyers(run.count).await?, round: String::new() })
    };
    let line = bench.closed(run, prepare).await?;
    bench.report.find("charges ÷ L8", line.ratios(), "", None);
    bench.report.add_line(line);
    Ok(())
}

pub(super) async fn payments(bench: &mut Bench) -> anyhow::Result<()> {
    let run = run(bench, "payments", 15_000, Limit::Updates);
    let prepare = async |bench: &mut Bench, run: Run, addresses: &Addresses| {
        let Holds { sale, mut buyers } = ready_to_join(bench, run.count).await?;
        bench.fixture.join(sale.concert, &mut buyers).await?;
        let bookings = RefCell::new(vec![String::new(); run.count]);
        let before = Rc::new(BeforePayment { holds: Holds { sale, buyers: buyers.clone() }, bookings });
        load::closed(&before, addresses, CONNECTIONS, run.count).await?;
        Ok(Payments { buyers, bookings: before.bookings.take() })
    };
    let line = bench.closed(run, prepare).await?;
    ratio(bench, "payments ÷ L8", line, 0.5, 0.8);
    Ok(())
}

pub(super) async fn journeys(bench: &mut Bench) -> anyhow::Result<()> {
    let line = journey_rate(bench).await?;
    ratio(bench, "journeys ÷ L8", line, 0.12, 0.16);
    Ok(())
}

/// How many whole journeys there are a second.
pub(super) async fn journey_rate(bench: &mut Bench) -> anyhow::Result<Line> {
    let run = run(bench, "journeys of 5 requests", 8_000, Limit::Updates);
    bench.closed(run, async |bench, run, _| Ok(Journeys(ready_to_join(bench, run.count).await?))).await
}
