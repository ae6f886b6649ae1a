//! The cost of a unit of work: the figures of `docs/benchmarks/mariadb.md`, and figures derived from them.
//!
//! A write shares its transaction with other waiting writes (`docs/decisions/0004-write-lanes.md`). So its cost has two
//! parts: its own, and its share of the transaction's. Both follow from the holds with 8 and with 64 connections. The
//! share of other writes is in proportion to their statements.

/// The most commands in one transaction: `LANE_BATCH_LIMIT`.
const BATCH_LIMIT: f64 = 128.0;

/// The commands in a transaction of the benchmark's rows: 64 connections, two lanes.
const MEASURED_BATCH: f64 = 32.0;

/// Microseconds of the server for each statement of a transaction, from holds, which have 12.
const SERVER_PER_STATEMENT: f64 = 489.0 / 12.0;

/// Microseconds of the database for each statement of a transaction, from holds, too.
const DATABASE_PER_STATEMENT: f64 = 745.0 / 12.0;

/// The kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Login,
    Join,
    Poll,
    /// A poll by a token whose text has no place, which reads the token's row.
    RowPoll,
    /// A seat map of a thousand seats.
    SeatMap,
    Hold,
    Charge,
    Payment,
}

/// A rate per second of each kind of work, by `kind as usize`.
pub(crate) type Rates = [f64; Kind::ALL.len()];

/// The measured cost of a unit of work; processor time in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    server: f64,
    database: f64,
    client: f64,
    /// The number of statements of its transaction, `BEGIN` and `COMMIT` included; 0 for a read.
    statements: f64,
    /// Whether it shares its transaction with others.
    is_batched: bool,
    /// Bytes that it adds to the redo log.
    pub(crate) log_bytes: f64,
    /// Bytes of its response, with headers.
    pub(crate) answer_bytes: f64,
}

const fn read(server: f64, database: f64, client: f64, answer_bytes: f64) -> Work {
    Work { server, database, client, statements: 0.0, is_batched: false, log_bytes: 0.0, answer_bytes }
}

const fn write(cost: [f64; 3], statements: f64, log_bytes: f64, answer_bytes: f64) -> Work {
    let [server, database, client] = cost;
    Work { server, database, client, statements, is_batched: true, log_bytes, answer_bytes }
}

impl Kind {
    pub(crate) const ALL: [Self; 8] =
        [Self::Login, Self::Join, Self::Poll, Self::RowPoll, Self::SeatMap, Self::Hold, Self::Charge, Self::Payment];

    /// Polls by row and logins aren't in the report. A poll by row costs as much as a 304 of the seat map, which also
    /// adds a shared read of the token. A login is a hash, of which a core makes 15 a second, and a transaction of its
    /// own. Statements, log and answers were counted, one request at a time.
    pub(crate) const fn work(self) -> Work {
        match self {
            Self::Login => Work { is_batched: false, ..write([66_667.0, 300.0, 0.0], 6.0, 2_000.0, 620.0) },
            Self::Join => write([30.0, 28.0, 10.0], 8.0, 1_000.0, 630.0),
            Self::Poll => read(17.0, 2.0, 6.0, 550.0),
            Self::RowPoll => read(21.0, 6.0, 7.0, 550.0),
            Self::SeatMap => read(39.0, 9.0, 13.0, 105_000.0),
            Self::Hold => write([58.0, 98.0, 13.0], 12.0, 2_800.0, 900.0),
            Self::Charge => write([38.0, 40.0, 8.0], 8.0, 1_800.0, 365.0),
            Self::Payment => write([73.0, 191.0, 10.0], 18.0, 8_400.0, 1_080.0),
        }
    }
}

/// The lanes, and the latencies of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    /// Lanes of each kind, of all instances.
    pub(crate) count: f64,
    /// Seconds of a round trip to the database.
    pub(crate) round_trip: f64,
    /// Seconds of a durable commit.
    pub(crate) commit: f64,
}

impl Work {
    /// Processor time of the server in a transaction with `batch` commands, in microseconds.
    pub(crate) fn server_us(&self, batch: f64) -> f64 {
        self.in_batch(self.server, SERVER_PER_STATEMENT, batch)
    }

    /// The same of the database.
    pub(crate) fn database_us(&self, batch: f64) -> f64 {
        self.in_batch(self.database, DATABASE_PER_STATEMENT, batch)
    }

    fn in_batch(&self, measured: f64, per_statement: f64, batch: f64) -> f64 {
        if !self.is_batched {
            return measured;
        }
        let transaction = self.statements * per_statement;
        measured + transaction / batch - transaction / MEASURED_BATCH
    }

    /// Seconds of a transaction without the time of its commands, and of each command.
    fn transaction_seconds(&self, lanes: &Lanes) -> (f64, f64) {
        let shared = self.statements * (lanes.round_trip + DATABASE_PER_STATEMENT / 1e6) + lanes.commit;
        (shared, self.database_us(f64::INFINITY) / 1e6)
    }

    /// The commands in a transaction at a rate per second: those that arrive while the previous transaction runs.
    pub(crate) fn batch(&self, rate: f64, lanes: &Lanes) -> f64 {
        if !self.is_batched {
            return 1.0;
        }
        let (shared, each) = self.transaction_seconds(lanes);
        let rate = rate / lanes.count;
        let idle = 1.0 - rate * each;
        if idle <= 0.0 { BATCH_LIMIT } else { (rate * shared / idle).clamp(1.0, BATCH_LIMIT) }
    }

    /// Transactions per second at a rate.
    pub(crate) fn commits(&self, rate: f64, lanes: &Lanes) -> f64 {
        if self.statements > 0.0 { rate / self.batch(rate, lanes) } else { 0.0 }
    }

    /// The highest rate if all commands wait for one row's lock, as joins of one queue do.
    pub(crate) fn serial_rate(&self, lanes: &Lanes) -> f64 {
        let (shared, each) = self.transaction_seconds(lanes);
        BATCH_LIMIT / (shared + BATCH_LIMIT * each)
    }
}

/// The rate of journeys (join, poll, hold, charge, pay) in a closed loop, where client, server and database share the
/// cores. Each connection is in one of the four kinds of lanes. The time of a poll is neglected.
pub(crate) fn journeys_per_second(connections: f64, lanes: f64, cores: f64) -> f64 {
    let batch = (connections / 4.0 / lanes).max(1.0);
    let steps = [Kind::Join, Kind::Poll, Kind::Hold, Kind::Charge, Kind::Payment];
    let cost = |kind| {
        let work = Kind::work(kind);
        work.client + work.server_us(batch) + work.database_us(batch)
    };
    cores * 1e6 / steps.into_iter().map(cost).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANES: Lanes = Lanes { count: 2.0, round_trip: 0.000_3, commit: 0.001 };

    fn deviation(predicted: f64, measured: f64) -> f64 {
        (predicted / measured - 1.0).abs()
    }

    #[test]
    fn every_kind_of_work_stands_at_its_position() {
        assert!(Kind::ALL.iter().enumerate().all(|(position, kind)| *kind as usize == position));
    }

    /// The figures are from `docs/benchmarks/mariadb.md`; the costs don't depend on them.
    #[test]
    fn measured_rates_of_journeys_follow_from_their_parts() {
        assert!(deviation(journeys_per_second(64.0, 2.0, 2.0), 1_749.0) < 0.15);
        assert!(deviation(journeys_per_second(64.0, 4.0, 2.0), 1_225.0) < 0.15);
    }

    #[test]
    fn the_measured_cost_of_holds_with_256_connections_follows_from_fewer() {
        let hold = Kind::Hold.work();
        assert!(deviation(hold.server_us(128.0), 51.0) < 0.15 && deviation(hold.database_us(128.0), 88.0) < 0.15);
        assert!(deviation(hold.server_us(4.0), 165.0) < 0.01 && deviation(hold.database_us(4.0), 261.0) < 0.01);
    }

    #[test]
    fn batches_grow_with_the_rate_up_to_the_limit() {
        let hold = Kind::Hold.work();
        let batches = [1.0, 1_000.0, 10_000.0, 1e6].map(|rate| hold.batch(rate, &LANES));
        assert!(batches.is_sorted() && batches[0] < 1.001 && batches[3] > 127.999, "{batches:?}");
        let commits = [1.0, 1_000.0, 10_000.0].map(|rate| hold.commits(rate, &LANES));
        assert!(commits[2] < 2.0 * commits[1], "{commits:?}");
        assert!(Kind::Poll.work().commits(1_000.0, &LANES) < 0.001);
    }
}
