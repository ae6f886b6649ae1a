//! The processes that are measured: how they are started and stopped, and what they cost.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::client::{Addresses, Call, Connection};

/// How long a process may take to listen.
const START: Duration = Duration::from_mins(1);

/// A process of ours that listens.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts `program` with these arguments, which are told the address, and waits until it answers.
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
        let begun = Instant::now();
        while !server.is_ready().await {
            ensure!(server.child.try_wait()?.is_none(), "{} ended at once", program.display());
            ensure!(begun.elapsed() < START, "{} doesn't answer", program.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    async fn is_ready(&self) -> bool {
        let addresses: Addresses = Rc::new([self.address.clone()]);
        let Ok(mut connection) = Connection::open(&addresses, 0).await else { return false };
        let call = Call { method: "GET", path: "/readyz", ..Call::default() };
        connection.send(&call).await.is_ok_and(|answer| answer.status < 400)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that it leaves the database in order.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().is_ok_and(|status| status.success());
        let until = Instant::now() + Duration::from_secs(5);
        while asked && Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// The server's binary, beside which this tool was built.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("target/release/examples")?;
    let binary = folder.join("concert-reservation");
    ensure!(binary.exists(), "there is no {}: cargo build --release", binary.display());
    Ok(binary)
}

/// The processor time that processes have used.
pub(crate) fn cpu(pids: &[u32]) -> Option<Duration> {
    pids.iter().map(|pid| cpu_of(*pid)).sum()
}

fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// The most memory, in MB, that a process has had resident since it was last asked to count anew.
pub(crate) fn peak_memory(pid: u32) -> Option<f64> {
    memory(pid, "VmHWM:")
}

/// The memory, in MB, that a process has resident.
pub(crate) fn resident_memory(pid: u32) -> Option<f64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1_024.0)
}

/// Has the kernel count a process's peak of memory from now on.
pub(crate) fn forget_peak(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// The database's process, if it runs here: the one on this data directory.
pub(crate) fn database_pid(data_directory: &str) -> Option<u32> {
    let wanted = format!("--datadir={}", data_directory.trim_end_matches('/'));
    let own = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word.strip_suffix(b"/").unwrap_or(word) == wanted.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").ok()?;
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(own)
}
