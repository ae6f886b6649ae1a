//! A database after a year of sales, beside an empty one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use concert_reservation::application::{event::EventUpkeep, housekeeping::HousekeepingFacade};
use sqlx::MySqlPool;

use super::{join_beyond_lookahead, prepare_holds, rates::prepare_payments, scaled_run};
use crate::{
    bench::{Bench, Limit, Setup},
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

/// The measurements on one database.
struct Figures {
    lines: [LoadRow; 3],
    jobs: BTreeMap<String, f64>,
}

pub(super) async fn year(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    let empty = measure(bench, ["polls, empty", "holds, empty", "payments, empty"]).await?;
    let year = Year { concerts: if bench.scale.quick { CONCERTS / 100 } else { CONCERTS } };
    let begun = Instant::now();
    year.fill(&bench.fixture.pool, bench.fixture.app.ports.now()).await?;
    bench.report.add_note(format!("A year of {} concerts was written in {:.0} s.", year.concerts, seconds(begun)));
    note_sizes(bench, "as it was written").await?;
    let begun = Instant::now();
    let share = flush_pages(&bench.fixture.pool).await?;
    bench.report.add_note(format!("After {:.0} s, {:.0} % of the pages were changed.", seconds(begun), share * 100.0));
    let full = measure(bench, ["polls, a year", "holds, a year", "payments, a year"]).await?;
    // At once, because the cleanup takes hours.
    compare(bench, &empty, full, "with a year");
    let begun = Instant::now();
    clean_up(bench).await?;
    bench.report.add_note(format!("Housekeeping without its rests took {:.0} s.", seconds(begun)));
    note_sizes(bench, "after housekeeping").await?;
    let tidy = measure(bench, ["polls, tidied up", "holds, tidied up", "payments, tidied up"]).await?;
    compare(bench, &empty, tidy, "with a year, tidied up");
    empty.lines.into_iter().for_each(|line| bench.report.add_load_row(line));
    Ok(())
}

fn seconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

fn compare(bench: &mut Bench, empty: &Figures, figures: Figures, when: &str) {
    for (line, before) in figures.lines.iter().zip(&empty.lines) {
        let what = line.name.split(',').next().unwrap_or_default();
        let ratios = line.rates.iter().zip(&before.rates).map(|(rate, before)| rate / before).collect();
        bench.report.add_figure(&format!("{what} {when} ÷ empty"), ratios, "", Some(Goal::at_least(MIN_RATIO, None)));
    }
    for (name, mean) in &figures.jobs {
        let before = empty.jobs.get(name).copied().unwrap_or(f64::NAN);
        bench.report.add_figure(&format!("job {name} {when}, mean (empty: {before:.2} ms)"), vec![*mean], " ms", None);
    }
    figures.lines.into_iter().for_each(|line| bench.report.add_load_row(line));
}

async fn measure(bench: &mut Bench, names: [&'static str; 3]) -> anyhow::Result<Figures> {
    let [polls, holds, payments] = names;
    let lines = [
        bench
            .measure_closed_loop(scaled_run(bench, polls, 100_000, Limit::None), async |bench, _, _| {
                Ok(Polls { buyers: join_beyond_lookahead(bench).await? })
            })
            .await?,
        bench
            .measure_closed_loop(scaled_run(bench, holds, 20_000, Limit::None), async |bench, run, _| {
                prepare_holds(bench, run.count).await
            })
            .await?,
        bench.measure_closed_loop(scaled_run(bench, payments, 15_000, Limit::None), prepare_payments).await?,
    ];
    Ok(Figures { lines, jobs: measure_jobs(bench).await? })
}

/// Waits until the database has written the pages that the fill changed, and returns the share of changed pages.
///
/// A sale must not wait for the flushing of a bulk load, which a year of small writes doesn't leave behind.
async fn flush_pages(pool: &MySqlPool) -> anyhow::Result<f64> {
    sqlx::query("SET GLOBAL innodb_max_dirty_pages_pct = 0").execute(pool).await?;
    let begun = Instant::now();
    let share = loop {
        let share = dirty_share(pool).await?;
        if share <= MAX_DIRTY_SHARE || begun.elapsed() > MAX_FLUSH_TIME {
            break share;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    sqlx::query("SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT").execute(pool).await?;
    Ok(share)
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
