//! Every metric: its name, kind and unit, and what it says. They are measured where things happen, by these names.
//!
//! `tests/tidy.rs` checks that what is measured is in this table and in `docs/operations.md`. No label tells of a user,
//! a concert or a path as it was sent: each has a bounded number of values.

use std::sync::OnceLock;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use sqlx::MySqlPool;
use tokio_util::sync::CancellationToken;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// In lower snake case, with its unit.
    pub name: &'static str,
    /// What may be done with it.
    pub kind: MetricKind,
    /// What it is counted in.
    pub unit: Unit,
    /// One sentence for whoever looks at it.
    pub description: &'static str,
}

/// What may be done with a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// It is spread over buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// From half a millisecond to the longest that a request may take.
const LATENCY_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// From a tick to an evening.
const WAIT_BUCKETS: &[f64] = &[1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0];

/// Of a lane's batch.
const BATCH_SIZE_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// From one cheap seat to the most that one charge may add.
const AMOUNT_BUCKETS: &[f64] = &[10_000.0, 50_000.0, 100_000.0, 200_000.0, 500_000.0, 1_000_000.0, 10_000_000.0];

const fn counter(name: &'static str, description: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, unit: Unit::Count, description }
}

const fn gauge(name: &'static str, description: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, unit: Unit::Count, description }
}

const fn duration_histogram(name: &'static str, bounds: &'static [f64], description: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram(bounds), unit: Unit::Seconds, description }
}

const fn histogram(name: &'static str, bounds: &'static [f64], description: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram(bounds), unit: Unit::Count, description }
}

/// All of them, apart from those of the process, which have the names that every server has.
pub const METRICS: &[Metric] = &[
    duration_histogram(
        "http_request_seconds",
        LATENCY_BUCKETS,
        "Time until a request was answered, by method, route and status",
    ),
    gauge("http_requests_in_flight", "Requests that are not answered yet"),
    counter("http_requests_abandoned_total", "Requests whose client hung up before the answer"),
    counter("http_problems_total", "Answers that say no, by code"),
    counter("http_rate_limited_total", "Requests turned away because of how often they came, by limit"),
    gauge("http_connections", "Open connections of clients"),
    counter("http_connections_full_total", "Times that a new connection found the most connections open"),
    counter("http_connections_evicted_total", "Idle connections closed to make room for new ones"),
    counter("http_connections_refused_total", "New connections closed because their address had too many"),
    counter("http_connections_stalled_total", "Connections reset because the client did not read"),
    gauge("lane_depth", "Commands waiting in the inboxes of a kind of lane"),
    histogram("lane_batch_size", BATCH_SIZE_BUCKETS, "Commands in one transaction of a lane"),
    duration_histogram("lane_wait_seconds", LATENCY_BUCKETS, "Time that a command waited for its transaction to begin"),
    duration_histogram(
        "lane_transaction_seconds",
        LATENCY_BUCKETS,
        "Time that a transaction of a lane took, repetitions apart",
    ),
    counter("lane_retries_total", "Transactions of a lane that lost a race, or their connection, and were repeated"),
    counter(
        "seat_choices_repeated_total",
        "Choices of the best seats made again, because seats changed hands meanwhile",
    ),
    counter("lane_refused_total", "Commands turned away because an inbox was full"),
    counter("transaction_retries_total", "Transactions outside of lanes that lost a race and were repeated"),
    gauge("database_connections", "Open connections of a pool"),
    gauge("database_connections_idle", "Open connections of a pool that nobody uses"),
    gauge("database_connections_max", "The most connections that a pool may open"),
    gauge("database_away", "1 while the database doesn't answer"),
    gauge("clock_ahead_seconds", "How far this instance's clock is ahead of the database's"),
    gauge("database_waiting", "Tasks that wait for a connection of a pool"),
    duration_histogram("database_acquire_seconds", LATENCY_BUCKETS, "Time until a pool gave a connection, or didn't"),
    gauge("queue_waiting", "Tokens in line, of all concerts, but for those that were passed over"),
    gauge("queue_active", "Tokens that may book, of all concerts"),
    counter("queue_admitted_total", "Tokens let in"),
    counter("queue_passed_over_total", "Times that somebody was away when the head of the line went past"),
    counter("queue_abandoned_total", "Tokens given up by their users, by what they were"),
    counter("queue_expired_total", "Active tokens whose time was over, or that nobody had used in time"),
    duration_histogram("queue_wait_seconds", WAIT_BUCKETS, "Time from joining to being let in"),
    counter("queue_estimates_total", "Tokens let in, by the least bound of their first estimate that the wait kept"),
    gauge("queue_followers", "Open event streams of queue tokens"),
    counter("cache_hits_total", "Answers that were there already, by cache"),
    counter("cache_misses_total", "Answers that had to be read first, by cache"),
    gauge("seat_map_followers", "Open event streams of seat maps"),
    counter(
        "seat_map_followers_lagged_total",
        "Times that a follower of a seat map had missed too much and was told anew",
    ),
    counter("bookings_total", "Bookings that became what the change says, written and committed"),
    counter("payments_total", "Payments that became what the change says, written and committed"),
    histogram("points_moved", AMOUNT_BUCKETS, "Points that a charge, payment or refund moved"),
    counter("event_attempts_total", "Attempts to deliver an event, by kind of destination and what they came to"),
    duration_histogram("event_attempt_seconds", LATENCY_BUCKETS, "Time that an attempt to deliver an event took"),
    gauge("outbox_pending", "Deliveries of events that are to be made, up to 100,000"),
    gauge("outbox_parked", "Deliveries of events that were given up, up to 100,000"),
    gauge("outbox_lag_seconds", "Age of the oldest event that is still to be delivered somewhere"),
    duration_histogram("job_run_seconds", LATENCY_BUCKETS, "Time that one run of a recurring job took"),
    counter("job_failures_total", "Runs of a recurring job that failed"),
    counter("alert_messages_total", "Messages to Slack that it took, and that it didn't"),
    gauge("audit_violations", "Violations of an invariant that the last audit of this instance found"),
    gauge("server_draining", "1 once the server is stopping"),
    gauge("server_info", "Always 1: its labels tell which build this is"),
];

/// What is looked at when somebody asks, rather than counted as it happens.
#[derive(Debug)]
pub struct ProcessMetrics {
    handle: PrometheusHandle,
    pools: Vec<(&'static str, MySqlPool)>,
    draining: CancellationToken,
}

impl ProcessMetrics {
    /// Watches these pools, by name.
    pub fn new(pools: Vec<(&'static str, MySqlPool)>, draining: CancellationToken) -> Self {
        Self { handle: recorder().clone(), pools, draining }
    }

    /// Everything that was measured, in Prometheus' text format.
    pub fn render(&self) -> String {
        Collector::default().collect();
        metrics::gauge!("server_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        metrics::gauge!("server_draining").set(if self.draining.is_cancelled() { 1.0 } else { 0.0 });
        for (name, pool) in &self.pools {
            metrics::gauge!("database_connections", "pool" => *name).set(f64::from(pool.size()));
            metrics::gauge!("database_connections_max", "pool" => *name)
                .set(f64::from(pool.options().get_max_connections()));
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            metrics::gauge!("database_connections_idle", "pool" => *name).set(f64::from(idle));
        }
        self.handle.render()
    }
}

/// The process's recorder: installed once, however many servers a process (a test) runs.
///
/// Needed before the first measurement: what is measured without a recorder is lost.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install)
}

fn install() -> PrometheusHandle {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let MetricKind::Histogram(bounds) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, bounds).expect("no histogram is without bounds");
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    // Fails only if the embedding process has a recorder of its own, which then gets the measurements.
    let _ = metrics::set_global_recorder(recorder);
    describe();
    handle
}

fn describe() {
    for Metric { name, kind, unit, description } in METRICS {
        match kind {
            MetricKind::Counter => metrics::describe_counter!(*name, *unit, *description),
            MetricKind::Gauge => metrics::describe_gauge!(*name, *unit, *description),
            MetricKind::Histogram(_) => metrics::describe_histogram!(*name, *unit, *description),
        }
    }
    Collector::default().describe();
}
