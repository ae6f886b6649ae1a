//! What was found, as lines for a terminal and as a Markdown page.

use std::{collections::BTreeMap, time::Duration};

use crate::statistics::{Latencies, median, number};

/// What a run cost; `None` where it isn't known. Processor time is for one piece of work, in microseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) client: Option<f64>,
    pub(crate) server: Option<f64>,
    pub(crate) database: Option<f64>,
    /// The most that the larger of the servers had resident, in MB.
    pub(crate) memory: Option<f64>,
}

/// A rate, with all that was seen when it was taken.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) connections: usize,
    pub(crate) rates: Vec<f64>,
    pub(crate) limits: Vec<f64>,
    /// What the limits are of, in a few letters.
    pub(crate) limit_name: &'static str,
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
            limit_name: "",
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

    /// The 50th, 99th or 99.9th percentile (0, 1, 2) of each round, in milliseconds.
    pub(crate) fn percentiles(&self, which: usize) -> Vec<f64> {
        self.percentiles.iter().map(|round| round[which]).collect()
    }

    /// The same of the middle round.
    pub(crate) fn percentile(&self, which: usize) -> f64 {
        median(&self.percentiles(which))
    }

    fn cost(&self, of: impl Fn(&Cost) -> Option<f64>) -> Option<f64> {
        let costs: Option<Vec<_>> = self.costs.iter().map(of).collect();
        costs.map(|costs| median(&costs)).filter(|cost| cost.is_finite())
    }

    /// The most memory in any round, in MB.
    pub(crate) fn memory(&self) -> Option<f64> {
        self.costs.iter().filter_map(|cost| cost.memory).reduce(f64::max)
    }

    pub(crate) fn cells(&self) -> Vec<String> {
        let known = |cost: Option<f64>| cost.map_or_else(|| "—".to_owned(), |cost| format!("{cost:.0}"));
        let limit = median(&self.limits);
        vec![
            self.name.clone(),
            self.connections.to_string(),
            grouped(self.rate()),
            if limit.is_finite() { format!("{} {}", self.limit_name, grouped(limit)) } else { "—".to_owned() },
            if limit.is_finite() { format!("{:.2}", median(&self.ratios())) } else { "—".to_owned() },
            milliseconds(self.percentile(0)),
            milliseconds(self.percentile(1)),
            milliseconds(self.percentile(2)),
            known(self.cost(|cost| cost.client)),
            known(self.cost(|cost| cost.server)),
            known(self.cost(|cost| cost.database)),
            known(self.memory()),
            answers(&self.statuses),
        ]
    }
}

pub(crate) const LINE_HEAD: [&str; 13] = [
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
    "server MB",
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

/// A figure with as many digits as mean something.
fn write(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { grouped(value) }
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

    /// How far the goal is reached: 1 is the goal, and more than 3 isn't told apart.
    pub(crate) fn reached(self, value: f64) -> f64 {
        let reached = if self.most { self.bound / value.max(0.0) } else { value / self.bound };
        reached.min(3.0)
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
    /// The middle value with its unit.
    pub(crate) fn written(&self) -> String {
        format!("{}{}", write(median(&self.values)), self.unit)
    }

    pub(crate) fn cells(&self) -> Vec<String> {
        let value = median(&self.values);
        let (low, high) =
            self.values.iter().fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(*it), high.max(*it)));
        let spread = if self.values.len() > 1 { format!("{} to {}", write(low), write(high)) } else { String::new() };
        let none = String::new;
        vec![
            self.name.clone(),
            self.written(),
            spread,
            self.goal.map_or_else(none, |goal| goal.write(goal.bound, self.unit)),
            self.goal.and_then(|goal| Some(goal.write(goal.stretch?, self.unit))).unwrap_or_default(),
            self.goal.map_or_else(none, |goal| goal.verdict(value).to_owned()),
        ]
    }
}

pub(crate) const FINDING_HEAD: [&str; 6] = ["figure", "median", "rounds", "goal", "stretch", ""];

pub(crate) struct Plot {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) svg: String,
}

/// A comparison, with its plot.
pub(crate) struct Table {
    pub(crate) plot: Plot,
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// All that was found in one run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) lines: Vec<Line>,
    /// What the load was, and what else is worth knowing.
    pub(crate) notes: Vec<String>,
    pub(crate) plots: Vec<Plot>,
    /// What is to be known of the tables.
    pub(crate) remarks: Vec<&'static str>,
    pub(crate) tables: Vec<Table>,
    pub(crate) audits: usize,
    /// What a request to a bare handler costs the client and the handler, in microseconds, by the load.
    pub(crate) bare: BTreeMap<&'static str, Vec<[f64; 2]>>,
    pub(crate) failures: Vec<String>,
}

impl Report {
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

    /// Adds a plot; the name is its file's.
    pub(crate) fn draw(&mut self, name: &'static str, title: &'static str, svg: String) {
        self.plots.push(Plot { name, title, svg });
    }

    /// Says something of the comparisons.
    pub(crate) fn remark(&mut self, text: &'static str) {
        say(text);
        self.remarks.push(text);
    }

    /// Adds a comparison.
    pub(crate) fn add_table(
        &mut self,
        name: &'static str,
        title: &'static str,
        head: Vec<&'static str>,
        rows: Vec<Vec<String>>,
        svg: String,
    ) {
        say(&format!("{title}\n| {} |", head.join(" | ")));
        for cells in &rows {
            say(&row(cells));
        }
        self.tables.push(Table { plot: Plot { name, title, svg }, head, rows });
    }

    pub(crate) fn note_audit(&mut self, invariants: usize, took: Duration) {
        self.audits += 1;
        say(&format!("all {invariants} invariants hold ({:.1} s)", took.as_secs_f64()));
    }

    pub(crate) fn fail(&mut self, text: String) {
        say(&text);
        self.failures.push(text);
    }

    /// Adds what is only known at the end.
    pub(crate) fn finish(&mut self) {
        for (name, costs) in std::mem::take(&mut self.bare) {
            let [client, handler] = [0, 1].map(|of| median(&costs.iter().map(|cost| cost[of]).collect::<Vec<_>>()));
            self.note(format!(
                "H of {name}: a request takes {client:.1} µs of processor time in the client, {handler:.1} µs in the handler."
            ));
        }
        if let Some(most) = self.lines.iter().filter_map(Line::memory).reduce(f64::max) {
            let goal = Goal::at_most(150.0, Some(80.0));
            self.find("peak server memory of any scenario", vec![most], " MB", Some(goal));
        }
    }
}

/// A row of a table.
pub(crate) fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[expect(clippy::print_stdout, reason = "the tool's output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
