//! Calculates the load of days of sales: which resource is exhausted first, and which capacity suffices. The costs are
//! those that `scripts/bench` measured; `docs/benchmarks/simulation.md` has the results and their assumptions.
//!
//! ```sh
//! cargo run --example simulate -- --waiting 10000000 --concerts 1000
//! ```

mod costs;
mod crowd;
mod resources;
#[path = "../common/thousands.rs"]
mod thousands;

use std::{
    f64::consts::TAU,
    fmt::{self, Write},
    io::Write as _,
};

use clap::{Arg, ArgMatches, Command};

use crate::{
    costs::{Kind, Lanes, journeys_per_second},
    crowd::{Habits, Sale},
    resources::{Day, RESOURCES, Shop, buy},
    thousands::with_thousands_separators as grouped,
};

/// The arguments: name, default, description.
const ARGUMENTS: [(&str, &str, &str); 19] = [
    ("waiting", "10000000", "Users of the one large sale"),
    ("seats", "50000", "Its seats"),
    ("concerts", "1000", "Sales of a usual day"),
    ("usual-seats", "2000", "Median of their seats"),
    ("usual-waiting", "6000", "Median of their users"),
    ("selling-minutes", "20", "Minutes in which a queue's rate sells the house"),
    ("login-share", "0.2", "Share of users without a session, who log in before they join"),
    ("stream-share", "0", "Share of waiting users who follow a stream; the others poll"),
    ("instances", "2", "Servers"),
    ("instance-cores", "4", "Cores of each"),
    ("instance-gigabytes", "8", "Memory of each"),
    ("connections", "20000", "MAX_CONNECTIONS of each"),
    ("keep-alive", "75", "Seconds for which a connection to a server stays open without a request"),
    ("network", "125", "Megabytes of answers per second from each"),
    ("database-cores", "8", "Cores of the database"),
    ("commits", "20000", "Durable commits per second of the database: its L8"),
    ("log", "200", "Megabytes per second that its log's disk writes"),
    ("round-trip", "0.3", "Milliseconds of a round trip to the database"),
    ("commit", "1", "Milliseconds of a durable commit"),
];

/// The hours at which sales open, and their shares.
const OPENINGS: [(f64, f64); 5] = [(10.0, 0.2), (12.0, 0.2), (14.0, 0.15), (18.0, 0.1), (20.0, 0.35)];

/// Connections of an instance to the database: `DATABASE_MAX_CONNECTIONS`.
const DATABASE_CONNECTIONS: f64 = 32.0;

/// The factor of one standard deviation of seats and crowds, whose logarithms have a normal distribution.
const SPREAD: f64 = 2.2;

/// The random generator `SplitMix64`: the same seed gives the same sales.
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = u32::try_from((word ^ (word >> 31)) >> 32).unwrap_or_default();
        (f64::from(high) + 0.5) / 4_294_967_296.0
    }

    fn spread(&mut self, median: f64) -> f64 {
        let normal = (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos();
        median * SPREAD.powf(normal)
    }

    fn opening(&mut self) -> f64 {
        let mut left = self.uniform();
        for (hour, share) in OPENINGS {
            left -= share;
            if left < 0.0 {
                return hour * 3_600.0;
            }
        }
        OPENINGS[0].0 * 3_600.0
    }
}

fn main() -> anyhow::Result<()> {
    let number = |(name, default, help): (&'static str, &'static str, &'static str)| {
        Arg::new(name).long(name).default_value(default).help(help).value_parser(clap::value_parser!(f64))
    };
    let seed = Arg::new("seed").long("seed").default_value("1").value_parser(clap::value_parser!(u64));
    let command = Command::new("simulate")
        .about("Calculates the load of days of sales: which resource is exhausted first, and which capacity suffices");
    let matches = command.args(ARGUMENTS.map(number)).arg(seed.help("Seed of the usual sales")).get_matches();
    let mut text = String::new();
    report(&matches, &mut text)?;
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn report(matches: &ArgMatches, text: &mut String) -> fmt::Result {
    let get = |name: &str| *matches.get_one::<f64>(name).expect("an argument with a default");
    let selling = get("selling-minutes") * 60.0;
    let habits = Habits { login_share: get("login-share"), stream_share: get("stream-share") };
    let lanes = Lanes { count: 2.0, round_trip: get("round-trip") / 1e3, commit: get("commit") / 1e3 };
    let shop = Shop {
        instances: get("instances"),
        instance_cores: get("instance-cores"),
        instance_gigabytes: get("instance-gigabytes"),
        network: get("network"),
        connections: get("connections"),
        keep_alive: get("keep-alive"),
        database_cores: get("database-cores"),
        commits: get("commits"),
        log: get("log"),
        lanes,
    };
    let large = vec![Sale::new(20.0 * 3_600.0, get("waiting"), get("seats"), selling)];
    let mut dice = Dice(*matches.get_one::<u64>("seed").expect("an argument with a default"));
    let mut usual = Vec::new();
    while f64::from(u32::try_from(usual.len()).unwrap_or(u32::MAX)) < get("concerts") {
        let (opens_at, seats) = (dice.opening(), dice.spread(get("usual-seats")));
        usual.push(Sale::new(opens_at, dice.spread(get("usual-waiting")), seats, selling));
    }
    let both = [large.clone(), usual.clone()].concat();
    check(text)?;
    for (name, sales) in [("One large sale", large), ("A day of usual sales", usual), ("Both", both)] {
        scenario(name, &sales, &habits, &shop, text)?;
    }
    Ok(())
}

/// Writes the predictions of measured rates beside the measurements.
fn check(text: &mut String) -> fmt::Result {
    writeln!(text, "| journeys/s on 2 cores, 64 connections | predicted | measured | error |")?;
    writeln!(text, "| --- | --- | --- | --- |")?;
    for (name, lanes, measured) in [("one instance", 2.0, 1_749.0), ("two instances", 4.0, 1_225.0)] {
        let predicted = journeys_per_second(64.0, lanes, 2.0);
        let error = (predicted / measured - 1.0) * 100.0;
        writeln!(text, "| {name} | {predicted:.0} | {measured:.0} | {error:+.0} % |")?;
    }
    Ok(())
}

fn scenario(name: &str, sales: &[Sale], habits: &Habits, shop: &Shop, text: &mut String) -> fmt::Result {
    let day = Day::simulate(sales.to_vec(), habits, shop);
    let [joins, bookings, polls, row_polls] =
        [Kind::Join, Kind::Hold, Kind::Poll, Kind::RowPoll].map(|kind| day.units[kind as usize]);
    writeln!(text, "\n## {name}\n")?;
    write!(text, "{} joins, {} bookings, {} polls; ", grouped(joins), grouped(bookings), grouped(polls + row_polls))?;
    writeln!(text, "at most {} users at once.", grouped(day.present))?;
    writeln!(text, "Places of draws are written for {} s.\n", day.placing)?;
    writeln!(text, "| resource | peak | capacity | used | peak at | full at |\n| --- | --- | --- | --- | --- | --- |")?;
    for ((resource, unit), peak) in RESOURCES.iter().zip(day.peaks) {
        let full_at = peak.full_at.map_or_else(|| "—".to_owned(), clock);
        let (demand, capacity, used) = (amount(peak.demand, unit), amount(peak.capacity, unit), peak.used() * 100.0);
        writeln!(text, "| {resource} | {demand} | {capacity} | {used:.0} % | {} | {full_at} |", clock(peak.at))?;
    }
    let first = day.first_full();
    match day.peaks[first].full_at {
        Some(at) => writeln!(text, "\nFirst to end: {}, at {}.\n", RESOURCES[first].0, clock(at))?,
        None => writeln!(text, "\nNothing ends. Closest: {}.\n", RESOURCES[first].0)?,
    }
    let (bought, reason) = buy(sales, habits, shop);
    let Shop { instances, instance_cores, instance_gigabytes, .. } = bought;
    write!(text, "To buy: {} instances of {instance_cores} cores and {instance_gigabytes} GB ", grouped(instances))?;
    write!(text, "({}), a database of {} cores ", RESOURCES[reason].0, grouped(bought.database_cores))?;
    write!(text, "with {} commits/s and {} MB/s of log, ", grouped(bought.commits), grouped(bought.log))?;
    writeln!(text, "for {} connections.", grouped(instances * DATABASE_CONNECTIONS))?;
    let [a_day, kept, a_year] = day.disk().map(|gigabytes| amount(gigabytes, "GB"));
    writeln!(text, "Its disk grows by {a_day} a day, keeps {kept} by retention, and grows by {a_year} a year.")
}

fn clock(second: u32) -> String {
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

fn amount(value: f64, unit: &str) -> String {
    let number = if value < 10.0 { format!("{value:.1}") } else { grouped(value) };
    if unit.starts_with('/') || unit.is_empty() { format!("{number}{unit}") } else { format!("{number} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sales_around_their_medians() {
        let draw = |seed| {
            let mut dice = Dice(seed);
            let mut sizes: Vec<_> = (0..1_001).map(|_| dice.spread(2_000.0)).collect();
            sizes.sort_by(f64::total_cmp);
            sizes
        };
        assert!(draw(1) == draw(1) && draw(1) != draw(2));
        assert!((1_800.0..2_200.0).contains(&draw(1)[500]), "{}", draw(1)[500]);
    }

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!(
            (grouped(1_234_567.8), grouped(999.0), clock(72_061)),
            ("1,234,568".into(), "999".into(), "20:01:01".into())
        );
        assert_eq!((amount(0.25, "GB"), amount(1_500.0, "/s")), ("0.2 GB".into(), "1,500/s".into()));
    }
}
