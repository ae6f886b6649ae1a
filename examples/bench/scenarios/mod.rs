//! The scenarios: what is measured, and what is wanted of it.

mod arrivals;
mod comparisons;
mod crowds;
mod rates;

use crate::{
    bench::{Bench, Limit, Run, Setup},
    fixture::Buyer,
    locks,
    report::{Goal, Line},
    works::Holds,
};

/// Something that is measured on its own. `docs/benchmarks/README.md` lists them too.
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
    Single,
    Instances,
    Growth,
    Million,
    Locks,
}

impl Scenario {
    /// In the order in which they run: as it is called on the command line, and what it does.
    pub(crate) const ALL: [(Self, &str, &str); 16] = [
        (Self::Polls, "polls", "queue polls by users far from the head"),
        (Self::Seats, "seats", "seat maps of 1,000 seats, complete (200) and unchanged (304)"),
        (Self::Joins, "joins", "joins of a queue"),
        (Self::Holds, "holds", "holds of two seats"),
        (Self::HotSeat, "hot-seat", "1,000 concurrent holds of one seat"),
        (Self::Charges, "charges", "charges of points, each to a separate wallet"),
        (Self::HotWallet, "hot-wallet", "1,000 concurrent charges of one wallet"),
        (Self::Payments, "payments", "payments of held bookings"),
        (Self::Journeys, "journeys", "complete purchases: join, poll, hold, charge, pay"),
        (Self::Open, "open", "holds at fixed arrival rates, independent of response times"),
        (Self::Opening, "opening", "a sale opens: almost no load, then at once 80 % of the server's capacity"),
        (Self::Single, "single", "holds, compared with one transaction per request on the same server"),
        (Self::Instances, "instances", "holds and journeys on two instances, compared with one"),
        (Self::Growth, "growth", "holds with ten times the seats, users and history"),
        (Self::Million, "million", "1,000,000 users wait in one queue"),
        (Self::Locks, "locks", "the same contended work with other locking strategies"),
    ];

    /// As it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(scenario, ..)| *scenario == self).map_or("", |(_, name, _)| name)
    }

    /// The one of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(scenario, ..)| scenario)
    }

    /// Measures it, on new servers and an empty database, and checks the invariants.
    pub(crate) async fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        bench.renew().await?;
        match self {
            Self::Polls => rates::polls(bench).await?,
            Self::Seats => rates::seats(bench).await?,
            Self::Joins => rates::joins(bench).await?,
            Self::Holds => rates::holds(bench).await?,
            Self::HotSeat => crowds::hot_seat(bench).await?,
            Self::Charges => rates::charges(bench).await?,
            Self::HotWallet => crowds::hot_wallet(bench).await?,
            Self::Payments => rates::payments(bench).await?,
            Self::Journeys => rates::journeys(bench).await?,
            Self::Open => arrivals::open(bench).await?,
            Self::Opening => arrivals::opening(bench).await?,
            Self::Single => comparisons::single(bench).await?,
            Self::Instances => comparisons::instances(bench).await?,
            Self::Growth => comparisons::growth(bench).await?,
            Self::Million => crowds::million(bench).await?,
            Self::Locks => locks::compare(bench).await?,
        }
        bench.audit().await
    }
}

/// Connections, where nothing else is said.
const CONNECTIONS: usize = 64;

/// How many holds of two seats a user can have.
const HOLDS_PER_USER: usize = 2;

fn run(bench: &Bench, name: &'static str, count: usize, limit: Limit) -> Run {
    Run { name, setup: Setup::Default, connections: CONNECTIONS, count: bench.scale.count(count), limit }
}

/// A rate as a part of its limit, with what is wanted of it.
fn ratio(bench: &mut Bench, name: &str, line: Line, goal: f64, stretch: f64) {
    bench.report.find(name, line.ratios(), "", Some(Goal::at_least(goal, Some(stretch))));
    bench.report.add_line(line);
}

/// A sale of as many pairs of seats, with buyers who are let in.
async fn ready_to_hold(bench: &Bench, count: usize) -> anyhow::Result<Holds> {
    let sale = bench.fixture.open_sale(count * 2).await?;
    let mut buyers = bench.fixture.buyers(count.div_ceil(HOLDS_PER_USER)).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    Ok(Holds { sale, buyers })
}

/// The same, with buyers who haven't joined.
async fn ready_to_join(bench: &Bench, count: usize) -> anyhow::Result<Holds> {
    let sale = bench.fixture.open_sale(count * 2).await?;
    Ok(Holds { sale, buyers: bench.fixture.buyers(count).await? })
}

/// Places before these are watched by the queue.
const WATCHED: u32 = 1_001;

/// People who wait so far from the head that the queue doesn't watch them.
async fn waiting(bench: &Bench) -> anyhow::Result<Vec<Buyer>> {
    let sale = bench.fixture.closed_sale().await?;
    let mut buyers = bench.fixture.buyers(2 * WATCHED as usize).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    let queue = &bench.fixture.app.shared.queue;
    let place = |buyer: &Buyer| queue.read(&buyer.queue).and_then(|claims| claims.place);
    buyers.retain(|buyer| place(buyer).is_some_and(|place| place > WATCHED));
    Ok(buyers)
}
