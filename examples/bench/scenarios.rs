//! The scenarios: what is measured, and what is wanted of it.

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::ensure;

use crate::{
    bench::{Bench, Limit, Run, Setup},
    client::{Addresses, Connection},
    load::{self, Schedule},
    report::{Goal, Line},
    statistics::slices,
    works::{BeforePayment, Charges, Holds, HotSeat, Joins, Journeys, Payments, Polls, SeatMaps},
};

/// Something that is measured on its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scenario {
    Polls,
    Seats,
    Joins,
    Holds,
    HotSeat,
    Charges,
    HotWallet,
    Payments,
    Journeys,
    Open,
    Opening,
}

impl Scenario {
    /// In the order in which they run.
    pub(crate) const ALL: [Self; 11] = [
        Self::Polls,
        Self::Seats,
        Self::Joins,
        Self::Holds,
        Self::HotSeat,
        Self::Charges,
        Self::HotWallet,
        Self::Payments,
        Self::Journeys,
        Self::Open,
        Self::Opening,
    ];

    /// As it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Polls => "polls",
            Self::Seats => "seats",
            Self::Joins => "joins",
            Self::Holds => "holds",
            Self::HotSeat => "hot-seat",
            Self::Charges => "charges",
            Self::HotWallet => "hot-wallet",
            Self::Payments => "payments",
            Self::Journeys => "journeys",
            Self::Open => "open",
            Self::Opening => "opening",
        }
    }

    /// What it does, in a line.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Polls => "people far back in a queue ask for their place, beside a bare handler with the same bytes",
            Self::Seats => "people look at 1,000 seats, anew and again, beside a bare handler with the same bytes",
            Self::Joins => "people join a queue",
            Self::Holds => "holds of two seats, at 8, 64 and 256 connections",
            Self::HotSeat => "1,000 people at once want the same seat",
            Self::Charges => "points are charged, to a wallet each",
            Self::HotWallet => "1,000 charges at once of the same wallet",
            Self::Payments => "holds are paid for",
            Self::Journeys => "buyers go the whole way: join, poll, hold, charge, pay",
            Self::Open => "holds that come at a fixed rate, however fast they are answered",
            Self::Opening => "a sale opens: hardly anybody, then at once four fifths of what the server can do",
        }
    }

    /// Measures it, and checks the invariants.
    pub(crate) async fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        match self {
            Self::Polls => polls(bench).await?,
            Self::Seats => seats(bench).await?,
            Self::Joins => joins(bench).await?,
            Self::Holds => holds(bench).await?,
            Self::HotSeat => hot_seat(bench).await?,
            Self::Charges => charges(bench).await?,
            Self::HotWallet => hot_wallet(bench).await?,
            Self::Payments => payments(bench).await?,
            Self::Journeys => journeys(bench).await?,
            Self::Open => open(bench).await?,
            Self::Opening => opening(bench).await?,
        }
        bench.audit().await
    }
}

/// Connections, where nothing else is said.
const CONNECTIONS: usize = 64;

/// Places before these are watched by the queue.
const WATCHED: usize = 1_001;

fn run(bench: &Bench, count: usize, limit: Limit) -> Run {
    Run { setup: Setup::Default, connections: CONNECTIONS, count: bench.scale.count(count), limit }
}

/// A rate's part of its limit, with what is wanted of it.
fn ratio(bench: &mut Bench, name: &str, line: Line, goal: f64, stretch: f64) {
    bench.report.find(name, line.ratios(), "", Some(Goal::at_least(goal, Some(stretch))));
    bench.report.add_line(line);
}

async fn polls(bench: &mut Bench) -> anyhow::Result<()> {
    let run = run(bench, 150_000, Limit::Bare);
    let line = bench.closed("polls", run, async |bench, _, _| waiting(bench).await).await?;
    ratio(bench, "polls ÷ H", line, 0.6, 0.8);
    Ok(())
}

/// People who wait far from the head.
async fn waiting(bench: &Bench) -> anyhow::Result<Polls> {
    let sale = bench.fixture.closed_sale().await?;
    let mut buyers = bench.fixture.buyers(2 * WATCHED).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    // The order in which they got their places isn't known: only their tokens' numbers are.
    let mut far = Vec::new();
    for buyer in buyers {
        let claims = bench.fixture.app.shared.queue.read(&buyer.queue);
        if claims.and_then(|claims| claims.place).is_some_and(|place| place as usize > WATCHED) {
            far.push(buyer);
        }
    }
    Ok(Polls { buyers: far })
}

async fn joins(bench: &mut Bench) -> anyhow::Result<()> {
    let run = run(bench, 40_000, Limit::Updates);
    let prepare = async |bench: &mut Bench, count: usize, _: &Addresses| {
        let sale = bench.fixture.closed_sale().await?;
        Ok(Joins { concert: sale.concert.0, buyers: bench.fixture.buyers(count).await? })
    };
    let line = bench.closed("joins", run, prepare).await?;
    ratio(bench, "joins ÷ L8", line, 0.8, 1.3);
    Ok(())
}

/// How many holds of two seats a user can have.
const HOLDS_PER_USER: usize = 2;

/// A sale of as many pairs of seats, with buyers who are let in.
pub(crate) async fn ready_to_hold(bench: &Bench, count: usize) -> anyhow::Result<Holds> {
    let sale = bench.fixture.open_sale(count * 2).await?;
    let mut buyers = bench.fixture.buyers(count.div_ceil(HOLDS_PER_USER)).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    Ok(Holds { sale, buyers })
}

async fn holds(bench: &mut Bench) -> anyhow::Result<()> {
    for connections in [8, 256, CONNECTIONS] {
        let is_main = connections == CONNECTIONS;
        let limit = if is_main { Limit::Updates } else { Limit::Nothing };
        let run = Run { connections, ..run(bench, 20_000, limit) };
        let prepare = async |bench: &mut Bench, count: usize, _: &Addresses| {
            let holds = ready_to_hold(bench, count).await?;
            if count == run.count {
                bench.report.note_once(holds.describe(count)?);
            }
            Ok(holds)
        };
        let line = bench.closed("holds of 2 seats", run, prepare).await?;
        if is_main {
            bench.report.find("p99 of holds", vec![line.percentile(1)], " ms", Some(Goal::at_most(10.0, None)));
            ratio(bench, "holds of 2 seats ÷ L8", line, 0.6, 1.0);
        } else {
            bench.report.add_line(line);
        }
    }
    Ok(())
}

/// How many people come at once.
const CROWD: usize = 1_000;

async fn hot_seat(bench: &mut Bench) -> anyhow::Result<()> {
    let rounds = bench.scale.count(15);
    let sale = bench.fixture.open_sale(2 * (rounds + WARM_UP)).await?;
    let mut buyers = bench.fixture.buyers(CROWD).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    let buyers: Rc<[_]> = buyers.into();
    let addresses = bench.servers(Setup::Default).await?;
    let mut line = Line::new("1,000 at once for one seat", CROWD);
    let mut times = Vec::new();
    for round in 0..rounds + WARM_UP {
        // Every other one: nobody is a neighbour of those before.
        let seat = sale.seats[2 * round];
        let work = Rc::new(HotSeat { performance: sale.performance.0, seat, buyers: Rc::clone(&buyers) });
        let (outcome, cost) = bench.costed(async || load::burst(&work, &addresses, CROWD).await).await?;
        let latencies = outcome.latencies();
        let sold = latencies.statuses.get(&201);
        ensure!(sold == Some(&1), "one seat was held {sold:?} times");
        if round >= WARM_UP {
            times.push(outcome.milliseconds());
            line.add(outcome.rate(), None, &latencies, cost);
        }
    }
    let goal = Goal::at_most(40.0, Some(20.0));
    bench.report.find("1,000 at once for one seat, until all are answered", times, " ms", Some(goal));
    bench.report.add_line(line);
    Ok(())
}

/// Rounds that don't count, before those that do.
const WARM_UP: usize = 2;

async fn hot_wallet(bench: &mut Bench) -> anyhow::Result<()> {
    let addresses = bench.servers(Setup::Default).await?;
    let buyers = bench.fixture.buyers(1).await?;
    let mut line = Line::new("1,000 charges at once of one wallet", CROWD);
    let mut times = Vec::new();
    for round in 0..bench.scale.count(15) + WARM_UP {
        let work = Rc::new(Charges { buyers: buyers.clone(), round: round.to_string() });
        let (outcome, cost) = bench.costed(async || load::burst(&work, &addresses, CROWD).await).await?;
        if round >= WARM_UP {
            times.push(outcome.milliseconds());
            line.add(outcome.rate(), None, &outcome.latencies(), cost);
        }
    }
    let goal = Goal::at_most(40.0, Some(20.0));
    bench.report.find("1,000 charges at once of one wallet, all succeed", times, " ms", Some(goal));
    bench.report.add_line(line);
    Ok(())
}

async fn seats(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "seat map of 1,000 seats";
    for (answer, count) in [("200", 15_000), ("304", 100_000)] {
        let run = run(bench, count, Limit::Bare);
        let prepare = async |bench: &mut Bench, _: usize, addresses: &Addresses| {
            let holds = ready_to_hold(bench, 500).await?;
            let sold = Rc::new(Holds { sale: holds.sale.clone(), buyers: holds.buyers.clone() });
            // A third of the house is taken.
            load::closed(&sold, addresses, 8, 167).await?;
            let path = format!("/api/v1/performances/{}/seats", holds.sale.performance);
            let mut maps = SeatMaps { path, buyers: holds.buyers, etag: String::new() };
            if answer == "304" {
                maps.etag = maps.etag(&mut Connection::open(addresses, 0).await?).await?;
            }
            Ok(maps)
        };
        let line = bench.closed(&format!("{name}, {answer}"), run, prepare).await?;
        ratio(bench, &format!("{name}, {answer} ÷ H"), line, 0.6, 0.8);
    }
    Ok(())
}

async fn charges(bench: &mut Bench) -> anyhow::Result<()> {
    let run = run(bench, 20_000, Limit::Updates);
    let prepare = async |bench: &mut Bench, count: usize, _: &Addresses| {
        Ok(Charges { buyers: bench.fixture.buyers(count).await?, round: String::new() })
    };
    let line = bench.closed("charges", run, prepare).await?;
    bench.report.find("charges ÷ L8", line.ratios(), "", None);
    bench.report.add_line(line);
    Ok(())
}

async fn payments(bench: &mut Bench) -> anyhow::Result<()> {
    let run = run(bench, 15_000, Limit::Updates);
    let prepare = async |bench: &mut Bench, count: usize, addresses: &Addresses| {
        let sale = bench.fixture.open_sale(count * 2).await?;
        let mut buyers = bench.fixture.buyers(count).await?;
        bench.fixture.join(sale.concert, &mut buyers).await?;
        let holds = Holds { sale, buyers: buyers.clone() };
        let before = Rc::new(BeforePayment { holds, bookings: RefCell::new(vec![String::new(); count]) });
        load::closed(&before, addresses, CONNECTIONS, count).await?;
        Ok(Payments { buyers, bookings: before.bookings.take() })
    };
    let line = bench.closed("payments", run, prepare).await?;
    ratio(bench, "payments ÷ L8", line, 0.5, 0.8);
    Ok(())
}

async fn journeys(bench: &mut Bench) -> anyhow::Result<()> {
    let line = journey_rate(bench).await?;
    ratio(bench, "journeys ÷ L8", line, 0.12, 0.16);
    Ok(())
}

async fn journey_rate(bench: &mut Bench) -> anyhow::Result<Line> {
    let run = run(bench, 8_000, Limit::Updates);
    let prepare = async |bench: &mut Bench, count: usize, _: &Addresses| {
        let sale = bench.fixture.open_sale(count * 2).await?;
        Ok(Journeys(Holds { sale, buyers: bench.fixture.buyers(count).await? }))
    };
    bench.closed("journeys of 5 requests", run, prepare).await
}

/// Connections over which work comes at its own rate: enough, unless the server falls behind.
const ARRIVING: usize = 256;

async fn open(bench: &mut Bench) -> anyhow::Result<()> {
    let peak = Run { limit: Limit::Nothing, ..run(bench, 20_000, Limit::Nothing) };
    let prepare = async |bench: &mut Bench, count: usize, _: &Addresses| ready_to_hold(bench, count).await;
    let peak = bench.closed("holds, closed loop", peak, prepare).await?.rate();
    let addresses = bench.servers(Setup::Default).await?;
    let time = Duration::from_secs(if bench.scale.quick { 1 } else { 3 });
    for percent in [25, 50, 75, 90] {
        let schedule = Schedule::steady(peak * f64::from(percent) / 100.0, time);
        let mut line = Line::new(&format!("holds arriving at {percent} % of the closed loop's rate"), ARRIVING);
        let mut p99 = Vec::new();
        for _ in 0..bench.scale.rounds {
            let work = Rc::new(ready_to_hold(bench, schedule.count()).await?);
            let (outcome, cost) =
                bench.costed(async || load::open(&work, &addresses, ARRIVING, &schedule).await).await?;
            let latencies = outcome.latencies();
            p99.push(latencies.percentile(0.99));
            line.add(outcome.rate(), None, &latencies, cost);
        }
        if percent == 50 {
            bench.report.find("p99 of holds arriving at half of that rate", p99, " ms", Some(Goal::at_most(8.0, None)));
        }
        bench.report.add_line(line);
    }
    Ok(())
}

/// The width of a slice of time.
const SLICE: Duration = Duration::from_millis(100);

async fn opening(bench: &mut Bench) -> anyhow::Result<()> {
    let peak = journey_rate(bench).await?.rate();
    let addresses = bench.servers(Setup::Default).await?;
    let seconds = Duration::from_secs;
    let after = if bench.scale.quick { seconds(1) } else { seconds(4) };
    let schedule = Schedule::new(vec![(peak * 0.05, seconds(1)), (peak * 0.8, after)]);
    let count = schedule.count();
    let sale = bench.fixture.open_sale(count * 2).await?;
    let work = Rc::new(Journeys(Holds { sale, buyers: bench.fixture.buyers(count).await? }));
    let (outcome, cost) = bench.costed(async || load::open(&work, &addresses, ARRIVING, &schedule).await).await?;
    let mut line = Line::new("journeys: 5 %, then at once 80 % of the closed loop's rate", ARRIVING);
    line.add(outcome.rate(), None, &outcome.latencies(), cost);
    bench.report.add_line(line);
    let slices = slices(&outcome.samples, outcome.started, SLICE);
    let worst = slices.iter().map(|slice| slice.percentile(0.99)).fold(0.0, f64::max);
    bench.report.find("worst p99 of 100 ms while a sale opens", vec![worst], " ms", None);
    Ok(())
}
