//! The measured processes: their start and stop, processor time and memory.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::client::{Addresses, Connection, Request};

/// The limit for a process to become ready.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A child process that serves HTTP; dropping it stops the process.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts `program` with the arguments for a free address, and waits until it is ready.
    pub(crate) async fn start(
        program: &Path,
        arguments: impl FnOnce(&str) -> Vec<String>,
        variables: &[(&str, &str)],
        log: Stdio,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let child = Command::new(program)
            .args(arguments(&address))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut server = Self { child, address };
        let started = Instant::now();
        while !server.is_ready().await {
            ensure!(server.child.try_wait()?.is_none(), "{} ended while starting", program.display());
            ensure!(started.elapsed() < START_TIMEOUT, "{} isn't ready in time", program.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    async fn is_ready(&self) -> bool {
        let addresses: Addresses = Rc::new([self.address.clone()]);
        let Ok(mut connection) = Connection::open(&addresses, 0).await else { return false };
        let call = Request { method: "GET", path: "/readyz", ..Request::default() };
        connection.send(&call).await.is_ok_and(|answer| answer.status < 400)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A graceful shutdown first, so that the process finishes its transactions.
        let is_signalled =
            Command::new("kill").arg(self.child.id().to_string()).status().is_ok_and(|status| status.success());
        let until = Instant::now() + Duration::from_secs(5);
        while is_signalled && Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// The server's binary in the target folder of this tool.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("target/release/examples")?;
    let binary = folder.join("concert-reservation");
    ensure!(binary.exists(), "there is no {}: cargo build --release", binary.display());
    Ok(binary)
}

/// The total processor time of these processes; `None` if one isn't running.
pub(crate) fn cpu_time(pids: &[u32]) -> Option<Duration> {
    pids.iter().map(|pid| cpu_time_of(*pid)).sum()
}

fn cpu_time_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The process name, in parentheses, may contain spaces.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// A process's peak resident memory since [`reset_peak_memory`], in MB.
pub(crate) fn peak_memory(pid: u32) -> Option<f64> {
    memory(pid, "VmHWM:")
}

/// A process's resident memory, in MB.
pub(crate) fn resident_memory(pid: u32) -> Option<f64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1_024.0)
}

/// Resets the kernel's record of a process's peak memory.
pub(crate) fn reset_peak_memory(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// The process id of the database with this data directory, if it runs on this machine.
pub(crate) fn database_pid(data_directory: &str) -> Option<u32> {
    let argument = format!("--datadir={}", data_directory.trim_end_matches('/'));
    let has_argument = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word.strip_suffix(b"/").unwrap_or(word) == argument.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").ok()?;
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(has_argument)
}
