//! A database after a year of sales, beside an empty one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use concert_reservation::application::{event::EventUpkeep, housekeeping::HousekeepingFacade};
use sqlx::MySqlPool;

use super::{CONNECTIONS, join_beyond_lookahead, prepare_holds, rates::prepare_payments, scaled_run};
use crate::{
    bench::{Bench, Limit, Run, Setup},
    client::{Addresses, Connection, Request},
    report::{Goal, LoadRow},
    thousands::with_thousands_separators,
    workloads::Polls,
    year::{TABLES, Year},
};

/// The concerts of a year.
const CONCERTS: u32 = 10_000;

/// The duration of an observation of the jobs.
const OBSERVATION_TIME: Duration = Duration::from_secs(12);

/// The largest share of changed pages in the buffer pool at which the database counts as settled.
const MAX_DIRTY_SHARE: f64 = 0.02;

/// The scenario waits for the database to settle at most this long.
const MAX_FLUSH_TIME: Duration = Duration::from_mins(5);

/// The cleanup is stopped after this time.
const MAX_CLEANUP_TIME: Duration = Duration::from_hours(3);

/// The least ratio of a rate to that on an empty database.
const MIN_RATIO: f64 = 0.9;

/// Pairs of rounds, by turns on the empty database and on the year's. The machine's speed changes by some 25 % within
/// half an hour, which a comparison of two stages would take for an effect of the year.
const PAIRS: usize = 7;

/// The loads that are compared.
const LOADS: [Load; 3] = [Load::Polls, Load::Holds, Load::Payments];

#[derive(Clone, Copy)]
enum Load {
    Polls,
    Holds,
    Payments,
}

pub(super) async fn year(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    let mut empty = bench.beside("empty").await?;
    empty.reset().await?;
    let year = Year { concerts: if bench.scale.quick { CONCERTS / 100 } else { CONCERTS } };
    let begun = Instant::now();
    year.fill(&bench.fixture.pool, bench.fixture.app.ports.now()).await?;
    bench.report.add_note(format!("A year of {} concerts was written in {:.0} s.", year.concerts, seconds(begun)));
    note_sizes(bench, "as it was written").await?;
    settle(bench).await?;
    compare(bench, &mut empty, "with a year").await?;
    let begun = Instant::now();
    clean_up(bench).await?;
    bench.report.add_note(format!("Housekeeping without its rests took {:.0} s.", seconds(begun)));
    note_sizes(bench, "after housekeeping").await?;
    settle(bench).await?;
    compare(bench, &mut empty, "tidied up").await?;
    empty.audit().await?;
    empty.close().await
}

fn seconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

/// Measures each load by turns on both databases, then the jobs.
async fn compare(bench: &mut Bench, empty: &mut Bench, when: &str) -> anyhow::Result<()> {
    let pairs = if bench.scale.quick { 1 } else { PAIRS };
    for load in LOADS {
        let name = load.name();
        let mut rows =
            [format!("{name}, empty"), format!("{name} {when}")].map(|name| LoadRow::new(&name, CONNECTIONS));
        for _ in 0..pairs {
            for (side, row) in [&mut *empty, &mut *bench].into_iter().zip(&mut rows) {
                row.append(load.measure(side).await?);
            }
        }
        let ratios = |of: fn(&LoadRow) -> Vec<f64>| {
            let [empty, year] = rows.each_ref().map(of);
            year.into_iter().zip(empty).map(|(year, empty)| year / empty).collect::<Vec<_>>()
        };
        let (rates, costs) = (ratios(|row| row.rates.clone()), ratios(LoadRow::database_costs));
        let goal = Goal::at_least(MIN_RATIO, None);
        bench.report.add_figure(&format!("{name} {when} ÷ empty"), rates, "", Some(goal));
        bench.report.add_figure(&format!("{name} {when} ÷ empty, database's processor time"), costs, "", None);
        for row in rows {
            bench.report.add_load_row(row);
        }
    }
    let (empty_jobs, jobs) = (measure_jobs(empty).await?, measure_jobs(bench).await?);
    for (name, mean) in jobs {
        let before = empty_jobs.get(&name).copied().unwrap_or(f64::NAN);
        bench.report.add_figure(&format!("job {name} {when}, mean (empty: {before:.2} ms)"), vec![mean], " ms", None);
    }
    Ok(())
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Polls => "polls",
            Self::Holds => "holds",
            Self::Payments => "payments",
        }
    }

    /// The units of work of a round.
    fn count(self) -> usize {
        match self {
            Self::Polls => 100_000,
            Self::Holds => 20_000,
            Self::Payments => 15_000,
        }
    }

    /// One round after a warm-up, by a server that is started for it. It is stopped afterwards, because its jobs must
    /// not disturb the other side's round.
    async fn measure(self, bench: &mut Bench) -> anyhow::Result<LoadRow> {
        bench.scale.rounds = 1;
        let run = scaled_run(bench, self.name(), self.count(), Limit::None);
        let polls =
            async |bench: &mut Bench, _: Run, _: &Addresses| Ok(Polls { buyers: join_beyond_lookahead(bench).await? });
        let holds = async |bench: &mut Bench, run: Run, _: &Addresses| prepare_holds(bench, run.count).await;
        let row = match self {
            Self::Polls => bench.measure_closed_loop(run, polls).await?,
            Self::Holds => bench.measure_closed_loop(run, holds).await?,
            Self::Payments => bench.measure_closed_loop(run, prepare_payments).await?,
        };
        bench.stop_servers();
        Ok(row)
    }
}

/// Waits until the database has written the pages that a bulk change left behind.
async fn settle(bench: &mut Bench) -> anyhow::Result<()> {
    let begun = Instant::now();
    let share = flush_pages(&bench.fixture.pool).await?;
    bench.report.add_note(format!("After {:.0} s, {:.0} % of the pages were changed.", seconds(begun), share * 100.0));
    Ok(())
}

/// Waits until the database has written the pages that the fill changed, and returns the share of changed pages.
///
/// A sale must not wait for the flushing of a bulk load, which a year of small writes doesn't leave behind.
async fn flush_pages(pool: &MySqlPool) -> anyhow::Result<f64> {
    sqlx::query("SET GLOBAL innodb_max_dirty_pages_pct = 0").execute(pool).await?;
    let share = wait_for_flushed_pages(pool).await;
    sqlx::query("SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT").execute(pool).await?;
    share
}

async fn wait_for_flushed_pages(pool: &MySqlPool) -> anyhow::Result<f64> {
    let begun = Instant::now();
    loop {
        let share = dirty_share(pool).await?;
        if share <= MAX_DIRTY_SHARE || begun.elapsed() > MAX_FLUSH_TIME {
            return Ok(share);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The share of the buffer pool's pages that are changed and not yet written.
async fn dirty_share(pool: &MySqlPool) -> anyhow::Result<f64> {
    let status = "SHOW GLOBAL STATUS WHERE Variable_name IN \
                  ('Innodb_buffer_pool_pages_dirty', 'Innodb_buffer_pool_pages_total')";
    let rows: BTreeMap<String, String> =
        sqlx::query_as::<_, (String, String)>(status).fetch_all(pool).await?.into_iter().collect();
    let pages = |name: &str| rows.get(name).and_then(|pages| pages.parse::<f64>().ok()).context("no figures of pages");
    Ok(pages("Innodb_buffer_pool_pages_dirty")? / pages("Innodb_buffer_pool_pages_total")?)
}

/// Each job's mean duration in milliseconds, on an otherwise idle server.
async fn measure_jobs(bench: &mut Bench) -> anyhow::Result<BTreeMap<String, f64>> {
    let addresses = bench.servers(Setup::Default).await?;
    let before = jobs(&addresses).await?;
    tokio::time::sleep(OBSERVATION_TIME).await;
    let after = jobs(&addresses).await?;
    bench.stop_servers();
    let mean = |(name, (count, seconds)): (String, (f64, f64))| {
        let (earlier, spent) = before.get(&name).copied().unwrap_or_default();
        (count > earlier).then(|| (name, (seconds - spent) / (count - earlier) * 1_000.0))
    };
    Ok(after.into_iter().filter_map(mean).collect())
}

/// Each job's number of runs, and their total duration in seconds.
async fn jobs(addresses: &Addresses) -> anyhow::Result<BTreeMap<String, (f64, f64)>> {
    let mut connection = Connection::open(addresses, 0).await?;
    let call = Request { method: "GET", path: "/metrics", ..Request::default() };
    let text = String::from_utf8_lossy(connection.send(&call).await?.body).into_owned();
    let mut jobs: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("job_run_seconds_")) {
        let name =
            line.split_once("name=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name.to_owned());
        let value = line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        let (Some(name), Some(value)) = (name, value) else { continue };
        let entry = jobs.entry(name).or_default();
        if line.starts_with("job_run_seconds_count") {
            entry.0 += value;
        } else if line.starts_with("job_run_seconds_sum") {
            entry.1 += value;
        }
    }
    Ok(jobs)
}

/// Deletes what is past its retention, as the job does, but without its rests.
async fn clean_up(bench: &Bench) -> anyhow::Result<()> {
    let (ports, config) = (bench.fixture.app.ports.clone(), &bench.config);
    let upkeep = EventUpkeep::new(ports.clone(), config.event_retention);
    let housekeeping = HousekeepingFacade::new(ports, upkeep).keeping_queue_tokens(config.queue_token_retention);
    let begun = Instant::now();
    while housekeeping.clean().await? && begun.elapsed() < MAX_CLEANUP_TIME {}
    Ok(())
}

/// Each table's name, number of rows, and size in megabytes with its indexes.
async fn sizes(bench: &Bench) -> anyhow::Result<Vec<(&'static str, i64, f64)>> {
    let mut sizes = Vec::new();
    for table in TABLES {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(count).fetch_one(&bench.fixture.pool).await?;
        let bytes = "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS DOUBLE) FROM information_schema.tables \
                     WHERE table_schema = DATABASE() AND table_name = ?";
        let bytes: f64 = sqlx::query_scalar(bytes).bind(table).fetch_one(&bench.fixture.pool).await?;
        sizes.push((table, rows, bytes / 1_048_576.0));
    }
    Ok(sizes)
}

async fn note_sizes(bench: &mut Bench, when: &str) -> anyhow::Result<()> {
    let sizes = sizes(bench).await?;
    #[expect(clippy::cast_precision_loss, reason = "an approximate number of rows in a report")]
    let texts: Vec<_> = sizes
        .into_iter()
        .map(|(table, rows, megabytes)| {
            format!("{table} {} ({megabytes:.0} MB)", with_thousands_separators(rows as f64))
        })
        .collect();
    bench.report.add_note(format!("Rows {when}: {}.", texts.join(", ")));
    Ok(())
}
