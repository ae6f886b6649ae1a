//! What is measured is described, documented, and asked for by names that exist.

use std::collections::BTreeMap;

use concert_reservation::telemetry::metrics::{Kind, METRICS};

use crate::{
    assert_none,
    source::{files, read},
};

/// What measures a metric of this kind.
fn macro_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "metrics::counter!(",
        Kind::Gauge => "metrics::gauge!(",
        Kind::Histogram(_) => "metrics::histogram!(",
    }
}

#[test]
fn every_metric_is_described_documented_and_measured() {
    let kinds: BTreeMap<&str, Kind> = METRICS.iter().map(|metric| (metric.name, metric.kind)).collect();
    let mut findings = Vec::new();
    let mut measured = Vec::new();
    for path in files("src", "rs") {
        let text = read(&path);
        for name in [Kind::Counter, Kind::Gauge, Kind::Histogram(&[])].map(macro_of) {
            for rest in text.split(name).skip(1) {
                let metric = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                match metric.map(|metric| (metric, kinds.get(metric))) {
                    Some((metric, Some(kind))) if macro_of(*kind) == name => measured.push(metric.to_owned()),
                    Some((metric, _)) => findings.push(format!("{path}: `{metric}` is no such thing in METRICS")),
                    None => findings.push(format!("{path}: {name} without a literal name")),
                }
            }
        }
    }
    let manual = read("docs/operations.md");
    for name in kinds.keys() {
        if !measured.iter().any(|measured| measured == name) {
            findings.push(format!("{name} is in METRICS, and nothing measures it"));
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
