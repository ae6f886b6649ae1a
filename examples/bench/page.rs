//! The report as a Markdown page with its plots beside it.

use std::{fmt::Write, path::Path, process::Command};

use sqlx::MySqlPool;

use crate::{
    bench::Scale,
    plot::{self, Bar},
    report::{FINDING_HEAD, Finding, LINE_HEAD, Line, Report, Table, row},
    statistics::median,
};

/// Where and with what the figures were taken.
pub(crate) struct Setting {
    /// `mariadb` or `mysql`: the name of the page.
    pub(crate) name: &'static str,
    database: String,
    rows: Vec<(String, String)>,
}

impl Setting {
    /// Asks the machine and the database.
    pub(crate) async fn read(pool: &MySqlPool, scale: Scale, now: &str) -> anyhow::Result<Self> {
        let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(pool).await?;
        let settings: Vec<(String, String)> = sqlx::query_as(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin', \
             'innodb_buffer_pool_size', 'innodb_flush_method', 'innodb_doublewrite', 'performance_schema', \
             'innodb_log_file_size', 'innodb_redo_log_capacity')",
        )
        .fetch_all(pool)
        .await?;
        let is_mariadb = version.contains("MariaDB");
        // Empty where the connection isn't encrypted.
        let (_, cipher): (String, String) =
            sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_cipher'").fetch_one(pool).await?;
        let encrypted = if cipher.is_empty() { "without TLS" } else { "by TLS" };
        let product = if is_mariadb { "MariaDB" } else { "MySQL" };
        let number = version.split('-').next().unwrap_or_default();
        let settings: Vec<_> = settings.iter().map(|(name, value)| format!("`{name}` = {value}")).collect();
        let rounds = scale.rounds;
        let rows = [
            ("date", now.to_owned()),
            ("commit", commit()),
            ("machine", machine()),
            ("database", format!("{product} {number}, {encrypted}: {}", settings.join(", "))),
            (
                "server",
                format!(
                    "concert-reservation {}, release build, {}",
                    env!("CARGO_PKG_VERSION"),
                    said("rustc", &["--version"])
                ),
            ),
            (
                "settings of the server",
                "the defaults, its log to nowhere, its rate limits off: all requests come from one address".to_owned(),
            ),
            (
                "rounds",
                format!(
                    "{rounds} that count, after one that doesn't; figures are the median{}",
                    if scale.quick { ". **A quick run: not to be quoted**" } else { "" }
                ),
            ),
        ];
        let rows = rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let name = if is_mariadb { "mariadb" } else { "mysql" };
        Ok(Self { name, database: format!("{product} {number}"), rows })
    }

    /// The same for a terminal.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|(name, value)| format!("{name:24} {value}"))
    }
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed =
        !said("git", &["status", "--porcelain", "--untracked-files=no", "--", "src", "migrations"]).is_empty();
    format!("`{commit}`{}", if changed { ", with changes" } else { "" })
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = value(&read("/proc/meminfo"), "MemTotal").and_then(|it| it.split(' ').next()?.parse::<u64>().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (memory, kernel) = (memory.unwrap_or(0) / 1_000_000, read("/proc/sys/kernel/osrelease"));
    format!("{cores} cores ({processor}) for client, server and database, {memory} GB, Linux {}", kernel.trim())
}

/// Writes the page and its plots into a folder.
pub(crate) fn write(folder: &Path, setting: &Setting, report: &Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut page = format!(
        "# Measured on {}\n\nMade by `scripts/bench`; [README.md](README.md) says how to read it.\n\n| | |\n| --- | --- |\n",
        setting.database
    );
    for (name, value) in &setting.rows {
        let _ = writeln!(page, "| {name} | {value} |");
    }
    for failure in &report.failures {
        let _ = writeln!(page, "\n**Failed:** {failure}");
    }
    let _ = writeln!(page, "\nThe invariants were checked {} times, after each scenario, and held.", report.audits);
    let draw = |page: &mut String, name: &str, title: &str, svg: &str| {
        let file = format!("{}-{name}.svg", setting.name);
        let _ = writeln!(page, "\n### {title}\n\n![{title}]({file})");
        std::fs::write(folder.join(file), svg)
    };
    if !report.findings.is_empty() {
        page.push_str("\n## Goals\n\n");
        table(&mut page, &FINDING_HEAD, report.findings.iter().map(Finding::cells));
        draw(&mut page, "goals", "How far each goal is reached", &goals(report))?;
    }
    if !report.lines.is_empty() {
        page.push_str("\n## Load\n\n");
        table(&mut page, &LINE_HEAD, report.lines.iter().map(Line::cells));
    }
    for note in &report.notes {
        let _ = writeln!(page, "\n{note}");
    }
    if !report.plots.is_empty() {
        page.push_str("\n## Over rates and over time\n");
    }
    for plot in &report.plots {
        draw(&mut page, plot.name, plot.title, &plot.svg)?;
    }
    if !report.tables.is_empty() {
        page.push_str("\n## The same contended work under other locks\n");
    }
    for remark in &report.remarks {
        let _ = writeln!(page, "\n{remark}");
    }
    for Table { plot, head, rows } in &report.tables {
        draw(&mut page, plot.name, plot.title, &plot.svg)?;
        page.push('\n');
        table(&mut page, head, rows.iter().cloned());
    }
    std::fs::write(folder.join(format!("{}.md", setting.name)), page)?;
    Ok(())
}

/// A table of Markdown.
fn table(page: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let head: Vec<_> = head.iter().map(|&name| name.to_owned()).collect();
    let rule: Vec<_> = head.iter().map(|_| "---".to_owned()).collect();
    for cells in [head, rule].into_iter().chain(rows) {
        page.push_str(&row(&cells));
        page.push('\n');
    }
}

/// Bars whose length says how far a goal is reached.
fn goals(report: &Report) -> String {
    let bar = |finding: &Finding| {
        let goal = finding.goal?;
        let marks = [Some(1.0), goal.stretch.map(|stretch| goal.reached(stretch))];
        Some(Bar {
            name: finding.name.clone(),
            value: goal.reached(median(&finding.values)),
            label: finding.written(),
            marks: marks.into_iter().flatten().collect(),
        })
    };
    let bars: Vec<_> = report.findings.iter().filter_map(bar).collect();
    plot::bars("1 is the goal; the second mark is the stretch; bars end at 3", &bars)
}
