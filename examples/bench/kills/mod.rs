//! The data losses after `kill -9` of Redis and of the database, and after a pause of a lock's holder.
//!
//! Every run compares the acknowledged changes with the stored ones: joins and admissions in `queues`, holds in
//! `holds`. A killed process loses the data that it hadn't written. The kernel keeps written data, so this isn't a
//! power failure.

mod holds;
mod queues;

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::time::sleep;

use crate::{bench::Bench, redis_store};

/// Explains the tables.
const ABOUT_KILLS: &str = "Each row is a run under load with several faults. `kill -9` hits the store: Redis, or the database, which start \
     again at once. A pause (SIGSTOP) hits one of two servers for longer than a lock in Redis lasts, 500 ms here. \
     Lost is what was acknowledged and isn't stored. The sum of such rows is the run's result; a rate isn't measured.";

pub(crate) async fn kills(bench: &mut Bench) -> anyhow::Result<()> {
    bench.require_started_servers()?;
    let version = redis_store::require()?;
    bench.report.add_note(format!("Redis {version}"));
    queues::kill_queues(bench).await?;
    holds::kill_holders(bench).await?;
    bench.report.add_remark(ABOUT_KILLS);
    Ok(())
}

/// Whether the database is the private one of `scripts/bench`, which may be killed.
#[expect(clippy::disallowed_methods, reason = "scripts/bench sets it for its private database")]
fn has_private_database(bench: &Bench) -> bool {
    std::env::var("DB_DIR").is_ok() && bench.database_pid().is_some()
}

/// Kills the private database and starts it again. Returns the time until it answered.
async fn kill_database(bench: &mut Bench) -> anyhow::Result<Duration> {
    let pid = bench.database_pid().context("a database on this machine")?;
    signal("KILL", pid)?;
    let started = Instant::now();
    wait_until_dead(pid).await;
    // scripts/bench started the same database with the same variables.
    let start = || {
        let mut command = Command::new("scripts/db");
        command.arg("start").env_remove("DATABASE_URL").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).status()
    };
    let status = tokio::task::spawn_blocking(start).await??;
    ensure!(status.success(), "scripts/db start failed after the kill");
    let elapsed = started.elapsed();
    bench.find_database().await?;
    Ok(elapsed)
}

/// Waits until a killed process has no memory left. Until then `scripts/db` takes it for a running server.
async fn wait_until_dead(pid: u32) {
    let command_line = format!("/proc/{pid}/cmdline");
    while fs::read(&command_line).is_ok_and(|it| !it.is_empty()) {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Sends a signal to a process.
fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status()?;
    ensure!(status.success(), "kill -{name} {pid} failed");
    Ok(())
}
