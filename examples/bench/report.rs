//! What was found, as lines for a terminal and as a Markdown page.

use std::{collections::BTreeMap, time::Duration};

use sqlx::MySqlPool;

use crate::{
    bench::Scale,
    statistics::{Latencies, median, number},
};

/// Processor time for one piece of work, in microseconds; `None` where it isn't known.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) client: Option<f64>,
    pub(crate) server: Option<f64>,
    pub(crate) database: Option<f64>,
}

/// A rate, with all that was seen when it was taken.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) connections: usize,
    pub(crate) rates: Vec<f64>,
    pub(crate) limits: Vec<f64>,
    /// p50, p99 and p99.9 of each round, in milliseconds.
    percentiles: Vec<[f64; 3]>,
    statuses: BTreeMap<u16, usize>,
    costs: Vec<Cost>,
}

impl Line {
    pub(crate) fn new(name: &str, connections: usize) -> Self {
        Self {
            name: name.to_owned(),
            connections,
            rates: Vec::new(),
            limits: Vec::new(),
            percentiles: Vec::new(),
            statuses: BTreeMap::new(),
            costs: Vec::new(),
        }
    }

    /// Adds a round.
    pub(crate) fn add(&mut self, rate: f64, limit: Option<f64>, latencies: &Latencies, cost: Cost) {
        self.rates.push(rate);
        self.limits.extend(limit);
        self.percentiles.push([0.5, 0.99, 0.999].map(|part| latencies.percentile(part)));
        for (status, count) in &latencies.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.costs.push(cost);
    }

    /// The rate of the middle round.
    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// Each round's rate as a part of the limit taken with it.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.rates.iter().zip(&self.limits).map(|(rate, limit)| rate / limit).collect()
    }

    /// The 50th, 99th or 99.9th percentile (0, 1, 2), in milliseconds, of the middle round.
    pub(crate) fn percentile(&self, which: usize) -> f64 {
        median(&self.percentiles.iter().map(|round| round[which]).collect::<Vec<_>>())
    }

    fn cost(&self, of: impl Fn(&Cost) -> Option<f64>) -> Option<f64> {
        let costs: Option<Vec<_>> = self.costs.iter().map(of).collect();
        costs.map(|costs| median(&costs)).filter(|cost| cost.is_finite())
    }

    fn cells(&self) -> Vec<String> {
        let known = |cost: Option<f64>| cost.map_or_else(|| "—".to_owned(), |cost| format!("{cost:.0}"));
        let limit = median(&self.limits);
        vec![
            self.name.clone(),
            self.connections.to_string(),
            grouped(self.rate()),
            if limit.is_finite() { grouped(limit) } else { "—".to_owned() },
            if limit.is_finite() { format!("{:.2}", median(&self.ratios())) } else { "—".to_owned() },
            milliseconds(self.percentile(0)),
            milliseconds(self.percentile(1)),
            milliseconds(self.percentile(2)),
            known(self.cost(|cost| cost.client)),
            known(self.cost(|cost| cost.server)),
            known(self.cost(|cost| cost.database)),
            answers(&self.statuses),
        ]
    }
}

const LINE_HEAD: [&str; 12] = [
    "load",
    "connections",
    "per second",
    "limit",
    "÷",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "client µs",
    "server µs",
    "database µs",
    "answers",
];

/// Which answers there were, as parts of all.
fn answers(statuses: &BTreeMap<u16, usize>) -> String {
    let all = number(statuses.values().sum());
    let part = |(status, count): (&u16, &usize)| match number(*count) / all * 100.0 {
        part if part >= 100.0 => format!("{status}"),
        part => format!("{status}: {part:.1} %"),
    };
    statuses.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Milliseconds with as many digits as mean something.
pub(crate) fn milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// A large figure with its thousands parted.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is wanted of a figure.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) most: bool,
    pub(crate) bound: f64,
    pub(crate) stretch: Option<f64>,
}

impl Goal {
    pub(crate) const fn at_least(bound: f64, stretch: Option<f64>) -> Self {
        Self { most: false, bound, stretch }
    }

    pub(crate) const fn at_most(bound: f64, stretch: Option<f64>) -> Self {
        Self { most: true, bound, stretch }
    }

    fn is_met(self, bound: f64, value: f64) -> bool {
        if self.most { value <= bound } else { value >= bound }
    }

    fn verdict(self, value: f64) -> &'static str {
        match self.stretch {
            Some(stretch) if self.is_met(stretch, value) => "beyond",
            _ if self.is_met(self.bound, value) => "met",
            _ => "missed",
        }
    }

    fn write(self, bound: f64, unit: &str) -> String {
        format!("{} {bound}{unit}", if self.most { "≤" } else { "≥" })
    }
}

/// A figure that has a goal, or stands for itself.
pub(crate) struct Finding {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    /// With a space before it, if it is a word.
    pub(crate) unit: &'static str,
    pub(crate) goal: Option<Goal>,
}

impl Finding {
    fn cells(&self) -> Vec<String> {
        let value = median(&self.values);
        let write = |value: f64| if value < 10.0 { format!("{value:.2}") } else { grouped(value) };
        let (low, high) =
            self.values.iter().fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(*it), high.max(*it)));
        let spread = if self.values.len() > 1 { format!("{} to {}", write(low), write(high)) } else { String::new() };
        let none = String::new;
        vec![
            self.name.clone(),
            format!("{}{}", write(value), self.unit),
            spread,
            self.goal.map_or_else(none, |goal| goal.write(goal.bound, self.unit)),
            self.goal.and_then(|goal| Some(goal.write(goal.stretch?, self.unit))).unwrap_or_default(),
            self.goal.map_or_else(none, |goal| goal.verdict(value).to_owned()),
        ]
    }
}

const FINDING_HEAD: [&str; 6] = ["figure", "median", "rounds", "goal", "stretch", ""];

/// All that was found in one run.
pub(crate) struct Report {
    database: String,
    findings: Vec<Finding>,
    lines: Vec<Line>,
    /// What the load was.
    notes: Vec<String>,
    memory: Vec<(String, f64)>,
    audits: usize,
    settings: Vec<(String, String)>,
    scale: Scale,
}

impl Report {
    pub(crate) async fn new(pool: &MySqlPool, scale: Scale) -> anyhow::Result<Self> {
        let database: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(pool).await?;
        let settings = sqlx::query_as(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin', \
             'innodb_buffer_pool_size', 'innodb_flush_method', 'innodb_doublewrite', 'performance_schema')",
        )
        .fetch_all(pool)
        .await?;
        Ok(Self {
            database,
            findings: Vec::new(),
            lines: Vec::new(),
            notes: Vec::new(),
            memory: Vec::new(),
            audits: 0,
            settings,
            scale,
        })
    }

    pub(crate) fn add_line(&mut self, line: Line) {
        say(&row(&line.cells()));
        self.lines.push(line);
    }

    pub(crate) fn find(&mut self, name: &str, values: Vec<f64>, unit: &'static str, goal: Option<Goal>) {
        let finding = Finding { name: name.to_owned(), values, unit, goal };
        say(&row(&finding.cells()));
        self.findings.push(finding);
    }

    pub(crate) fn note(&mut self, text: String) {
        say(&text);
        self.notes.push(text);
    }

    /// Adds a note, unless it is there.
    pub(crate) fn note_once(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.note(text);
        }
    }

    pub(crate) fn note_memory(&mut self, name: &str, megabytes: f64) {
        self.memory.push((name.to_owned(), megabytes));
    }

    pub(crate) fn note_audit(&mut self, invariants: usize, took: Duration) {
        self.audits += 1;
        say(&format!("all {invariants} invariants hold ({:.1} s)", took.as_secs_f64()));
    }

    /// What the columns of lines are.
    pub(crate) fn say_heads(&self) {
        say(&format!("{} ({} rounds)", self.database, self.scale.rounds));
        for (name, value) in &self.settings {
            say(&format!("  {name} = {value}"));
        }
        say(&row(&FINDING_HEAD.map(str::to_owned)));
        say(&row(&LINE_HEAD.map(str::to_owned)));
    }
}

fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[expect(clippy::print_stdout, reason = "the tool's output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
