//! Demand and capacity: the demand of a second for each resource, the peaks of a day, and a sufficient capacity.

use crate::{
    costs::{Kind, Lanes, Rates, Work},
    crowd::{Habits, Sale, Second},
};

/// Seconds of a day.
const DAY: u32 = 86_400;

/// The share of a resource that a peak may use.
const HEADROOM: f64 = 0.7;

/// Bytes of a server at its peak in the benchmarks.
const SERVER_BYTES: f64 = 125e6;

/// Bytes of a connection: those of a stream.
const CONNECTION_BYTES: f64 = 15e3;

/// Bytes of an entrant while places are written: its id and hash, with and without its rank.
const ENTRANT_BYTES: f64 = 112.0;

/// Processor time of a stream in microseconds per second: 10,000 took 8 % of a core.
const STREAM_US: f64 = 8.0;

/// Bytes of a queue token in tables and indexes, and the days for which it is kept. From 100,000 tokens on MariaDB.
const TOKEN: (f64, Option<f64>) = (390.0, Some(30.0));

/// Bytes of an entrant of a draw, which is kept for ever (`None`).
const ENTRANT: (f64, Option<f64>) = (32.0, None);

/// Bytes of a purchase with its seats, claims, payment and ledger. From 865 purchases on MariaDB, as in the next two.
const BOOKING: (f64, Option<f64>) = (2_500.0, None);

/// Bytes of the five events of a purchase, and the days for which they are kept.
const EVENTS: (f64, Option<f64>) = (3_700.0, Some(7.0));

/// Bytes of the idempotency keys of a purchase, and the days for which they are kept.
const KEYS: (f64, Option<f64>) = (3_200.0, Some(2.0));

/// The resources, in the order of [`Shop::capacities`] and [`Shop::demand`].
pub(crate) const RESOURCES: [(&str, &str); 8] = [
    ("instances: processors", "cores"),
    ("instances: client connections", ""),
    ("instances: memory", "GB"),
    ("instances: network", "MB/s"),
    ("database: processors", "cores"),
    ("database: commits", "/s"),
    ("database: log", "MB/s"),
    ("one queue's lock: joins", "/s"),
];

type Amounts = [f64; RESOURCES.len()];

/// The number of resources that belong to the instances: the first ones.
const OF_INSTANCES: usize = 4;

/// The available capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shop {
    pub(crate) instances: f64,
    pub(crate) instance_cores: f64,
    pub(crate) instance_gigabytes: f64,
    /// The network of an instance, in megabytes per second.
    pub(crate) network: f64,
    /// `MAX_CONNECTIONS` of an instance.
    pub(crate) connections: f64,
    /// Seconds for which a client keeps a connection to an instance without a request.
    pub(crate) keep_alive: f64,
    pub(crate) database_cores: f64,
    pub(crate) commits: f64,
    /// The database's log, in megabytes per second.
    pub(crate) log: f64,
    /// The lanes of one instance.
    pub(crate) lanes: Lanes,
}

impl Shop {
    fn lanes(&self) -> Lanes {
        Lanes { count: self.lanes.count * self.instances, ..self.lanes }
    }

    fn capacities(&self) -> Amounts {
        [
            self.instances * self.instance_cores,
            self.instances * self.connections,
            self.instances * self.instance_gigabytes,
            self.instances * self.network,
            self.database_cores,
            self.commits,
            self.log,
            Kind::Join.work().serial_rate(&self.lanes()),
        ]
    }

    fn demand(&self, second: &Second) -> Amounts {
        let lanes = self.lanes();
        let sum = |of: &dyn Fn(Work, f64) -> f64| -> f64 {
            Kind::ALL.into_iter().map(|kind| of(kind.work(), second.rates[kind as usize])).sum()
        };
        let server_us = sum(&|work, rate| rate * work.server_us(work.batch(rate, &lanes)));
        let connections = second.streams + (second.present - second.streams) * (self.keep_alive / 52.5).min(1.0);
        let memory = self.instances * (SERVER_BYTES + second.unplaced * ENTRANT_BYTES) + connections * CONNECTION_BYTES;
        [
            (server_us + second.streams * STREAM_US) / 1e6,
            connections,
            memory / 1e9,
            sum(&|work, rate| rate * work.answer_bytes) / 1e6,
            sum(&|work, rate| rate * work.database_us(work.batch(rate, &lanes))) / 1e6,
            sum(&|work, rate| work.commits(rate, &lanes)),
            sum(&|work, rate| rate * work.log_bytes) / 1e6,
            second.joins_of_one_queue,
        ]
    }
}

/// The greatest demand of a day for a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peak {
    pub(crate) demand: f64,
    pub(crate) capacity: f64,
    /// The second of the day.
    pub(crate) at: u32,
    /// The first second in which the demand exceeds the capacity.
    pub(crate) full_at: Option<u32>,
}

impl Peak {
    pub(crate) fn used(&self) -> f64 {
        self.demand / self.capacity
    }
}

/// A day of sales on a shop. The demand of users doesn't shrink when a resource is full.
pub(crate) struct Day {
    pub(crate) peaks: [Peak; RESOURCES.len()],
    /// The units of each kind of work.
    pub(crate) units: Rates,
    /// The most users at once.
    pub(crate) present: f64,
    /// The seconds in which entrants of a draw had no place yet.
    pub(crate) placing: u32,
}

impl Day {
    pub(crate) fn simulate(mut sales: Vec<Sale>, habits: &Habits, shop: &Shop) -> Self {
        let peaks = shop.capacities().map(|capacity| Peak { demand: 0.0, capacity, at: 0, full_at: None });
        let mut day = Self { peaks, units: Rates::default(), present: 0.0, placing: 0 };
        for at in 0..DAY {
            let mut all = Second::default();
            let time = f64::from(at);
            sales.retain(|sale| !sale.is_over(time));
            let mut is_idle = true;
            for sale in sales.iter_mut().filter(|sale| sale.has_begun(time)) {
                all.add(&sale.step(time, habits));
                is_idle = false;
            }
            if !is_idle {
                day.record(at, &all, shop);
            }
        }
        day
    }

    fn record(&mut self, at: u32, second: &Second, shop: &Shop) {
        for (peak, demand) in self.peaks.iter_mut().zip(shop.demand(second)) {
            if demand > peak.demand {
                (peak.demand, peak.at) = (demand, at);
            }
            if demand > peak.capacity {
                peak.full_at.get_or_insert(at);
            }
        }
        self.units.iter_mut().zip(second.rates).for_each(|(sum, rate)| *sum += rate);
        self.present = self.present.max(second.present);
        self.placing += u32::from(second.unplaced > 1.0);
    }

    /// The resource that is full first, or else the one with the highest use.
    pub(crate) fn first_full(&self) -> usize {
        let key = |peak: &Peak| (peak.full_at.unwrap_or(DAY), -peak.used());
        let by_key = |a: &usize, b: &usize| {
            key(&self.peaks[*a]).partial_cmp(&key(&self.peaks[*b])).unwrap_or(std::cmp::Ordering::Equal)
        };
        (0..self.peaks.len()).min_by(by_key).unwrap_or_default()
    }

    /// Gigabytes of the database if every day is like this one: added per day, kept by retention, and kept for ever per
    /// year.
    pub(crate) fn disk(&self) -> [f64; 3] {
        let [joins, bookings] = [Kind::Join, Kind::Hold].map(|kind| self.units[kind as usize]);
        let parts = [(joins, TOKEN), (joins, ENTRANT), (bookings, BOOKING), (bookings, EVENTS), (bookings, KEYS)];
        let sum = |of: &dyn Fn(Option<f64>) -> f64| -> f64 {
            parts.iter().map(|(count, (bytes, days))| count * bytes * of(*days)).sum::<f64>() / 1e9
        };
        [sum(&|_| 1.0), sum(&|days| days.unwrap_or(0.0)), sum(&|days| if days.is_none() { 365.0 } else { 0.0 })]
    }
}

/// The shop that keeps every peak below the headroom, and the resource that decides the number of instances. More
/// instances have more lanes and thus smaller batches, so the result is found by iteration.
pub(crate) fn buy(sales: &[Sale], habits: &Habits, shop: &Shop) -> (Shop, usize) {
    let mut bought = *shop;
    let mut reason = 0;
    for _ in 0..4 {
        let day = Day::simulate(sales.to_vec(), habits, &bought);
        let needed = |index: usize| day.peaks[index].used() / HEADROOM;
        reason = (0..OF_INSTANCES).max_by(|a, b| needed(*a).total_cmp(&needed(*b))).unwrap_or_default();
        // Two, so that one may fail.
        bought.instances = (bought.instances * needed(reason)).ceil().max(2.0);
        bought.database_cores = (bought.database_cores * needed(4)).ceil().max(2.0);
        bought.commits = (bought.commits * needed(5)).ceil();
        bought.log = (bought.log * needed(6)).ceil();
    }
    (bought, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HABITS: Habits = Habits { login_share: 0.0, stream_share: 0.0 };

    fn shop() -> Shop {
        let lanes = Lanes { count: 2.0, round_trip: 0.000_3, commit: 0.001 };
        Shop {
            instances: 2.0,
            instance_cores: 4.0,
            instance_gigabytes: 8.0,
            network: 125.0,
            connections: 20_000.0,
            keep_alive: 75.0,
            database_cores: 8.0,
            commits: 20_000.0,
            log: 200.0,
            lanes,
        }
    }

    #[test]
    fn polls_take_their_measured_time_of_the_instances_and_no_commit() {
        let mut second = Second { present: 52_500.0, ..Second::default() };
        second.rates[Kind::Poll as usize] = 1_000_000.0;
        let demand = shop().demand(&second);
        assert_eq!((demand[0], demand[1], demand[4], demand[5]), (17.0, 52_500.0, 2.0, 0.0));
        let closing = Shop { keep_alive: 5.25, ..shop() };
        assert!((closing.demand(&second)[1] - 5_250.0).abs() < 1e-6);
    }

    #[test]
    fn connections_of_a_large_crowd_are_full_first_and_what_is_bought_suffices() {
        let sales = vec![Sale::new(7_200.0, 200_000.0, 5_000.0, 1_200.0)];
        let day = Day::simulate(sales.clone(), &HABITS, &shop());
        assert_eq!(RESOURCES[day.first_full()].0, "instances: client connections");
        assert!(day.peaks[1].full_at.unwrap() < 7_200);
        let (bought, reason) = buy(&sales, &HABITS, &shop());
        let day = Day::simulate(sales, &HABITS, &bought);
        assert_eq!((reason, bought.instances), (1, 15.0));
        assert!(day.peaks[..7].iter().all(|peak| peak.used() <= HEADROOM + 1e-9), "{:?}", day.peaks);
    }

    #[test]
    fn what_is_kept_for_days_ends_with_them() {
        let mut units = Rates::default();
        units[Kind::Join as usize] = 1e9;
        let day = Day { peaks: Day::simulate(Vec::new(), &HABITS, &shop()).peaks, units, present: 0.0, placing: 0 };
        let [a_day, kept, a_year] = day.disk();
        assert_eq!((a_day, kept, a_year), (422.0, 30.0 * 390.0, 365.0 * 32.0));
    }
}
