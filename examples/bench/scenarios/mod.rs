//! The scenarios, their loads and their goals.

mod arrivals;
mod comparisons;
mod crowds;
mod queues;
mod rates;
mod years;

use std::time::Duration;

use crate::{
    bench::{Bench, Limit, Run, Setup},
    fixture::Buyer,
    kills, locks,
    report::{Goal, LoadRow},
    workloads::Holds,
};

/// A measurement that runs on its own. `docs/benchmarks/README.md` lists them too.
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
    RedisQueue,
    Kills,
    Year,
}

impl Scenario {
    /// Each scenario with its name on the command line and its description, in the order of a full run.
    pub(crate) const ALL: [(Self, &str, &str); 19] = [
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
        (Self::Locks, "locks", "the same contended work with other locking strategies, also with locks in Redis"),
        (Self::RedisQueue, "redis-queue", "joins, polls and admissions beside a queue in Redis; only if it is named"),
        (Self::Kills, "kills", "what is left of joins and locks after `kill -9` and pauses; only if it is named"),
        (Self::Year, "year", "polls, holds, payments and jobs after a year of sales; only if it is named"),
    ];

    /// Whether the scenario takes too long for a full run, or needs Redis.
    pub(crate) fn is_for_itself(self) -> bool {
        matches!(self, Self::RedisQueue | Self::Kills | Self::Year)
    }

    /// The time limit. A scenario that exceeds it fails, and the next one starts.
    pub(crate) fn longest(self) -> Duration {
        match self {
            Self::Year => Duration::from_hours(5),
            Self::Locks | Self::RedisQueue | Self::Kills => Duration::from_mins(15),
            _ => Duration::from_mins(6),
        }
    }

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(scenario, ..)| *scenario == self).map_or("", |(_, name, _)| name)
    }

    /// The scenario with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(scenario, ..)| scenario)
    }

    /// Runs it with new servers on an empty database, then checks the invariants.
    pub(crate) async fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        bench.reset().await?;
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
            Self::RedisQueue => queues::redis_queue(bench).await?,
            Self::Kills => kills::kills(bench).await?,
            Self::Year => years::year(bench).await?,
        }
        bench.audit().await
    }
}

/// The default number of connections.
const CONNECTIONS: usize = 64;

/// Holds of two seats that a user may have at once.
const HOLDS_PER_USER: usize = 2;

/// A run with the default setup and number of connections, scaled for a quick run.
fn scaled_run(bench: &Bench, name: &'static str, count: usize, limit: Limit) -> Run {
    Run { name, setup: Setup::Default, connections: CONNECTIONS, count: bench.scale.count(count), limit }
}

/// Reports a rate relative to its limit, with its goals.
fn report_ratio(bench: &mut Bench, name: &str, row: LoadRow, goal: f64, stretch: f64) {
    bench.report.add_figure(name, row.ratios(), "", Some(Goal::at_least(goal, Some(stretch))));
    bench.report.add_load_row(row);
}

/// A sale with `count` pairs of seats and admitted buyers.
async fn prepare_holds(bench: &Bench, count: usize) -> anyhow::Result<Holds> {
    let sale = bench.fixture.open_sale(count * 2).await?;
    let mut buyers = bench.fixture.buyers(count.div_ceil(HOLDS_PER_USER)).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    Ok(Holds { sale, buyers })
}

/// A sale with `count` pairs of seats and as many buyers who haven't joined.
async fn prepare_joins(bench: &Bench, count: usize) -> anyhow::Result<Holds> {
    let sale = bench.fixture.open_sale(count * 2).await?;
    Ok(Holds { sale, buyers: bench.fixture.buyers(count).await? })
}

/// The last place within the queue's lookahead, which stores presence.
const LOOKAHEAD_END: u32 = 1_001;

/// Waiting users beyond the lookahead, whose presence isn't stored.
async fn join_beyond_lookahead(bench: &Bench) -> anyhow::Result<Vec<Buyer>> {
    let sale = bench.fixture.closed_sale().await?;
    let mut buyers = bench.fixture.buyers(2 * LOOKAHEAD_END as usize).await?;
    bench.fixture.join(sale.concert, &mut buyers).await?;
    let tokens = &bench.fixture.app.shared.queue.tokens;
    let place = |buyer: &Buyer| tokens.read_claims(&buyer.queue_token).and_then(|claims| claims.place);
    buyers.retain(|buyer| place(buyer).is_some_and(|place| place > LOOKAHEAD_END));
    Ok(buyers)
}
