//! Metrics are described and documented, and queries use metrics that exist.

use std::collections::{BTreeMap, BTreeSet};

use concert_reservation::telemetry::metrics::{METRICS, MetricKind};
use serde_json::Value;

use crate::{
    assert_none,
    source::{files, read},
};

/// The macro that records a metric of this kind.
fn macro_of(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "metrics::counter!(",
        MetricKind::Gauge => "metrics::gauge!(",
        MetricKind::Histogram(_) => "metrics::histogram!(",
    }
}

#[test]
fn every_metric_is_described_documented_and_measured() {
    let kinds: BTreeMap<&str, MetricKind> = METRICS.iter().map(|metric| (metric.name, metric.kind)).collect();
    let mut findings = Vec::new();
    let mut measured = Vec::new();
    for path in files("src", "rs") {
        let text = read(&path);
        for name in [MetricKind::Counter, MetricKind::Gauge, MetricKind::Histogram(&[])].map(macro_of) {
            for rest in text.split(name).skip(1) {
                let metric = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                match metric.map(|metric| (metric, kinds.get(metric))) {
                    Some((metric, Some(kind))) if macro_of(*kind) == name => measured.push(metric.to_owned()),
                    Some((metric, _)) => findings.push(format!("{path}: `{metric}` is not in METRICS as this kind")),
                    None => findings.push(format!("{path}: {name} without a literal name")),
                }
            }
        }
    }
    let manual = read("docs/operations.md");
    for name in kinds.keys() {
        if !measured.iter().any(|measured| measured == name) {
            findings.push(format!("{name} is in METRICS, and no code records it"));
        }
        if !manual.contains(&format!("`{name}`")) {
            findings.push(format!("docs/operations.md lacks `{name}`"));
        }
    }
    if METRICS.len() != kinds.len() {
        findings.push("METRICS has a name twice".to_owned());
    }
    assert_none(&findings);
}

/// Metrics that aren't recorded by this crate.
const FOREIGN: [&str; 6] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "up",
];

/// Keywords of the query language.
const KEYWORDS: [&str; 8] = ["by", "without", "ignoring", "on", "group_left", "unless", "or", "and"];

/// The metrics of a query: its words except keywords, functions, labels and literals.
fn metrics_of(query: &str) -> BTreeSet<String> {
    let mut metrics = BTreeSet::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || matches!(c, '{' | '[' | '"')) {
        rest = &rest[start..];
        let until = |end: char| rest[1..].find(end).map_or(rest.len(), |at| at + 2);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match rest.as_bytes()[0] {
            b'{' => until('}'),
            b'[' => until(']'),
            b'"' => until('"'),
            _ => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        // `sum(…)`, `sum by (…) (…)`.
        let opens = ["(", "by (", "without ("].iter().any(|it| after.trim_start().starts_with(it));
        if KEYWORDS.contains(&word) && opens {
            // The labels.
            rest = &after[after.find(')').map_or(after.len(), |at| at + 1)..];
        } else if word.starts_with(is_word) && !KEYWORDS.contains(&word) && !opens {
            metrics.insert(word.to_owned());
        }
    }
    metrics
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| expressions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn every_query_asks_for_metrics_that_exist() {
    let mut known: BTreeSet<String> = FOREIGN.map(str::to_owned).into();
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter | MetricKind::Gauge => known.extend([metric.name.to_owned()]),
            MetricKind::Histogram(_) => {
                known.extend(["_bucket", "_count", "_sum"].map(|part| format!("{}{part}", metric.name)));
            }
        }
    }
    let mut queries = Vec::new();
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/dashboard.json")).expect("it is JSON");
    expressions(&dashboard, &mut queries);
    let alerts = read("docs/grafana/alerts.yml");
    queries.extend(alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned));
    assert!(queries.len() > 40, "{} queries were found", queries.len());
    let mut findings = Vec::new();
    for query in queries {
        let used = metrics_of(&query);
        if used.is_empty() {
            findings.push(format!("has no metric: {query}"));
        }
        findings.extend(used.difference(&known).map(|name| format!("there is no {name}: {query}")));
    }
    assert_none(&findings);
}

#[test]
fn every_alert_is_explained() {
    let manual = read("docs/operations.md");
    let alerts = read("docs/grafana/alerts.yml");
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let missing = names.filter(|name| !manual.contains(&format!("`{name}`")));
    assert_none(&missing.map(|name| format!("docs/operations.md lacks `{name}`")).collect::<Vec<_>>());
}

#[test]
fn the_metrics_of_a_query_are_separated_from_its_other_words() {
    let query =
        "sum by (le, a) (rate(b{c=\"d\",e=~\"f|g\"}[5m])) / ignoring (h) group_left sum(i) > 0 unless j or vector(0)";
    let used: Vec<_> = metrics_of(query).into_iter().collect();
    assert_eq!(used, ["b", "i", "j"]);
}
