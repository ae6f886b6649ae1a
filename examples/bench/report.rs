//! The results of a run, collected for the report and printed as they arrive.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    statistics::{Latencies, median, to_f64},
    thousands::with_thousands_separators,
};

/// The cost of a run; `None` where it is unknown. Processor time is per unit of work, in microseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) client: Option<f64>,
    pub(crate) server: Option<f64>,
    pub(crate) database: Option<f64>,
    /// Peak resident memory of the larger server, in MB.
    pub(crate) memory: Option<f64>,
}

/// A row of the load table: a rate with its limit, latencies, responses and costs, one value per round.
pub(crate) struct LoadRow {
    pub(crate) name: String,
    pub(crate) connections: usize,
    pub(crate) rates: Vec<f64>,
    pub(crate) limits: Vec<f64>,
    /// `L8`, `H` or empty.
    pub(crate) limit_name: &'static str,
    /// p50, p99 and p99.9 of each round, in milliseconds.
    percentiles: Vec<[f64; 3]>,
    statuses: BTreeMap<u16, usize>,
    costs: Vec<Cost>,
}

impl LoadRow {
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

    pub(crate) fn add_round(&mut self, rate: f64, limit: Option<f64>, latencies: &Latencies, cost: Cost) {
        self.rates.push(rate);
        self.limits.extend(limit);
        self.percentiles.push([0.5, 0.99, 0.999].map(|fraction| latencies.percentile(fraction)));
        for (status, count) in &latencies.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.costs.push(cost);
    }

    /// Adds the rounds of another row of the same load.
    pub(crate) fn append(&mut self, other: Self) {
        self.rates.extend(other.rates);
        self.limits.extend(other.limits);
        self.limit_name = other.limit_name;
        self.percentiles.extend(other.percentiles);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.costs.extend(other.costs);
    }

    /// The database's processor time of each round, in microseconds per unit of work.
    pub(crate) fn database_costs(&self) -> Vec<f64> {
        self.costs.iter().filter_map(|cost| cost.database).collect()
    }

    /// The median rate, per second.
    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// Each round's rate divided by the limit measured with it.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.rates.iter().zip(&self.limits).map(|(rate, limit)| rate / limit).collect()
    }

    /// The 50th, 99th or 99.9th percentile (index 0, 1, 2) of each round, in milliseconds.
    pub(crate) fn percentiles(&self, index: usize) -> Vec<f64> {
        self.percentiles.iter().map(|round| round[index]).collect()
    }

    /// The median of [`percentiles`](Self::percentiles).
    pub(crate) fn percentile(&self, index: usize) -> f64 {
        median(&self.percentiles(index))
    }

    fn cost(&self, of: impl Fn(&Cost) -> Option<f64>) -> Option<f64> {
        let costs: Option<Vec<_>> = self.costs.iter().map(of).collect();
        costs.map(|costs| median(&costs)).filter(|cost| cost.is_finite())
    }

    /// The peak memory of all rounds, in MB.
    pub(crate) fn peak_memory(&self) -> Option<f64> {
        self.costs.iter().filter_map(|cost| cost.memory).reduce(f64::max)
    }

    pub(crate) fn cells(&self) -> Vec<String> {
        let format_cost = |cost: Option<f64>| cost.map_or_else(|| "—".to_owned(), |cost| format!("{cost:.0}"));
        let limit = median(&self.limits);
        vec![
            self.name.clone(),
            self.connections.to_string(),
            with_thousands_separators(self.rate()),
            if limit.is_finite() {
                format!("{} {}", self.limit_name, with_thousands_separators(limit))
            } else {
                "—".to_owned()
            },
            if limit.is_finite() { format!("{:.2}", median(&self.ratios())) } else { "—".to_owned() },
            format_milliseconds(self.percentile(0)),
            format_milliseconds(self.percentile(1)),
            format_milliseconds(self.percentile(2)),
            format_cost(self.cost(|cost| cost.client)),
            format_cost(self.cost(|cost| cost.server)),
            format_cost(self.cost(|cost| cost.database)),
            format_cost(self.peak_memory()),
            format_statuses(&self.statuses),
        ]
    }
}

pub(crate) const LOAD_HEAD: [&str; 13] = [
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
    "responses",
];

/// The share of each status.
fn format_statuses(statuses: &BTreeMap<u16, usize>) -> String {
    let total = to_f64(statuses.values().sum());
    let share = |(status, count): (&u16, &usize)| match to_f64(*count) / total * 100.0 {
        percent if percent >= 100.0 => format!("{status}"),
        percent => format!("{status}: {percent:.1} %"),
    };
    statuses.iter().map(share).collect::<Vec<_>>().join(", ")
}

/// Milliseconds with the significant digits.
fn format_milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// A value with the significant digits.
fn format_value(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { with_thousands_separators(value) }
}

/// The target of a figure: a lower or upper bound, and perhaps a stricter one.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    is_upper_bound: bool,
    bound: f64,
    pub(crate) stretch: Option<f64>,
}

impl Goal {
    pub(crate) const fn at_least(bound: f64, stretch: Option<f64>) -> Self {
        Self { is_upper_bound: false, bound, stretch }
    }

    pub(crate) const fn at_most(bound: f64, stretch: Option<f64>) -> Self {
        Self { is_upper_bound: true, bound, stretch }
    }

    /// The value relative to the goal: 1 meets it exactly, a larger score is better, and 3 is the cap.
    pub(crate) fn score(self, value: f64) -> f64 {
        let score = if self.is_upper_bound { self.bound / value.max(0.0) } else { value / self.bound };
        score.min(3.0)
    }

    fn is_met(self, bound: f64, value: f64) -> bool {
        if self.is_upper_bound { value <= bound } else { value >= bound }
    }

    fn verdict(self, value: f64) -> &'static str {
        match self.stretch {
            Some(stretch) if self.is_met(stretch, value) => "beyond",
            _ if self.is_met(self.bound, value) => "met",
            _ => "missed",
        }
    }

    fn format_bound(self, bound: f64, unit: &str) -> String {
        format!("{} {bound}{unit}", if self.is_upper_bound { "≤" } else { "≥" })
    }
}

/// A headline value of a run, with or without a goal.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    /// Appended to the value as it is, so it starts with a space where one is wanted.
    pub(crate) unit: &'static str,
    pub(crate) goal: Option<Goal>,
}

impl Figure {
    /// The median with its unit.
    pub(crate) fn formatted_median(&self) -> String {
        format!("{}{}", format_value(median(&self.values)), self.unit)
    }

    pub(crate) fn cells(&self) -> Vec<String> {
        let value = median(&self.values);
        let (low, high) =
            self.values.iter().fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(*it), high.max(*it)));
        let spread = if self.values.len() > 1 {
            format!("{} to {}", format_value(low), format_value(high))
        } else {
            String::new()
        };
        let none = String::new;
        vec![
            self.name.clone(),
            self.formatted_median(),
            spread,
            self.goal.map_or_else(none, |goal| goal.format_bound(goal.bound, self.unit)),
            self.goal.and_then(|goal| Some(goal.format_bound(goal.stretch?, self.unit))).unwrap_or_default(),
            self.goal.map_or_else(none, |goal| goal.verdict(value).to_owned()),
        ]
    }
}

pub(crate) const FIGURE_HEAD: [&str; 6] = ["figure", "median", "rounds", "goal", "stretch", ""];

pub(crate) struct Plot {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) svg: String,
}

/// A comparison, perhaps with its plot.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) plot: Option<Plot>,
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// All results of one run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) figures: Vec<Figure>,
    pub(crate) load_rows: Vec<LoadRow>,
    /// Descriptions of the load, printed below the load table.
    pub(crate) notes: Vec<String>,
    pub(crate) plots: Vec<Plot>,
    /// Explanations of the comparison tables.
    pub(crate) remarks: Vec<&'static str>,
    pub(crate) tables: Vec<Table>,
    pub(crate) audits: usize,
    /// Processor time per request of client and bare handler, in microseconds, by load.
    pub(crate) bare: BTreeMap<&'static str, Vec<[f64; 2]>>,
    pub(crate) failures: Vec<String>,
}

impl Report {
    pub(crate) fn add_load_row(&mut self, load: LoadRow) {
        print_line(&row(&load.cells()));
        self.load_rows.push(load);
    }

    pub(crate) fn add_figure(&mut self, name: &str, values: Vec<f64>, unit: &'static str, goal: Option<Goal>) {
        let figure = Figure { name: name.to_owned(), values, unit, goal };
        print_line(&row(&figure.cells()));
        self.figures.push(figure);
    }

    pub(crate) fn add_note(&mut self, text: String) {
        print_line(&text);
        self.notes.push(text);
    }

    /// Adds a plot; `name` becomes part of its file name.
    pub(crate) fn add_plot(&mut self, name: &'static str, title: &'static str, svg: String) {
        self.plots.push(Plot { name, title, svg });
    }

    /// Adds an explanation of the comparison tables.
    pub(crate) fn add_remark(&mut self, text: &'static str) {
        print_line(text);
        self.remarks.push(text);
    }

    pub(crate) fn add_table(
        &mut self,
        title: &'static str,
        head: Vec<&'static str>,
        rows: Vec<Vec<String>>,
        plot: Option<Plot>,
    ) {
        print_line(&format!("{title}\n| {} |", head.join(" | ")));
        for cells in &rows {
            print_line(&row(cells));
        }
        self.tables.push(Table { title, plot, head, rows });
    }

    pub(crate) fn record_audit(&mut self, invariants: usize, elapsed: Duration) {
        self.audits += 1;
        print_line(&format!("all {invariants} invariants hold ({:.1} s)", elapsed.as_secs_f64()));
    }

    pub(crate) fn add_failure(&mut self, text: String) {
        print_line(&text);
        self.failures.push(text);
    }

    /// Adds the figures that summarise all scenarios.
    pub(crate) fn finish(&mut self) {
        for (name, costs) in std::mem::take(&mut self.bare) {
            let [client, handler] =
                [0, 1].map(|index| median(&costs.iter().map(|cost| cost[index]).collect::<Vec<_>>()));
            self.add_note(format!(
                "H of {name}: a request takes {client:.1} µs of processor time in the client, {handler:.1} µs in the handler."
            ));
        }
        if let Some(peak) = self.load_rows.iter().filter_map(LoadRow::peak_memory).reduce(f64::max) {
            let goal = Goal::at_most(150.0, Some(80.0));
            self.add_figure("peak server memory of any scenario", vec![peak], " MB", Some(goal));
        }
    }
}

/// A row of a Markdown table.
pub(crate) fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[expect(clippy::print_stdout, reason = "the tool's output")]
pub(crate) fn print_line(line: &str) {
    println!("{line}");
}
