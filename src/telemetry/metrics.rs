//! Every metric: its name, kind, unit and description. Code records a metric where it occurs, by its name.
//!
//! `tests/tidy.rs` checks that every recorded metric is in this table and in `docs/operations.md`. Every label has a
//! bounded number of values: none is a user, a concert, or a path as a client sent it.

use std::sync::OnceLock;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use sqlx::MySqlPool;
use tokio_util::sync::CancellationToken;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// In lower snake case, with its unit at the end.
    pub name: &'static str,
    /// How it is recorded.
    pub kind: MetricKind,
    /// The unit of its values.
    pub unit: Unit,
    /// Its help text, one line.
    pub description: &'static str,
}

/// How a metric is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    /// A total that only grows.
    Counter,
    /// A current value.
    Gauge,
    /// A distribution over buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// In seconds: from half a millisecond to the default time limit of a request.
const LATENCY_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// In seconds: from one tick of the queue to four hours.
const WAIT_BUCKETS: &[f64] = &[1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0];

/// In commands: up to the largest `LANE_BATCH_LIMIT`.
const BATCH_SIZE_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// In points: from a cheap seat to the largest charge.
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

/// All metrics except those of the process, which have the standard names.
pub const METRICS: &[Metric] = &[
    duration_histogram("http_request_seconds", LATENCY_BUCKETS, "Duration of requests, by method, route and status"),
    gauge("http_requests_in_flight", "Requests in flight"),
    counter("http_requests_abandoned_total", "Requests whose client disconnected before the answer"),
    counter("http_problems_total", "Problem responses, by code"),
    counter("http_rate_limited_total", "Requests refused by a rate limit, by limit"),
    gauge("http_connections", "Open client connections"),
    counter("http_connections_full_total", "New connections that found the maximum number of connections open"),
    counter("http_connections_evicted_total", "Idle connections closed to make room for new ones"),
    counter("http_connections_refused_total", "New connections closed because of the limit per address"),
    counter("http_connections_stalled_total", "Connections reset because the client did not read its answer"),
    gauge("lane_depth", "Commands waiting in the inbox of a kind of lane"),
    histogram("lane_batch_size", BATCH_SIZE_BUCKETS, "Commands in one transaction of a lane"),
    duration_histogram(
        "lane_wait_seconds",
        LATENCY_BUCKETS,
        "Time for which a command waited until its transaction began",
    ),
    duration_histogram("lane_transaction_seconds", LATENCY_BUCKETS, "Duration of one attempt of a lane's transaction"),
    counter("lane_retries_total", "Transactions of a lane repeated after contention or a lost connection"),
    counter("seat_choices_repeated_total", "Selections of the best seats repeated because seats changed meanwhile"),
    counter("lane_refused_total", "Commands refused because an inbox was full"),
    counter("transaction_retries_total", "Transactions outside of lanes repeated after contention"),
    gauge("database_connections", "Open connections of a pool"),
    gauge("database_connections_idle", "Idle connections of a pool"),
    gauge("database_connections_max", "Maximum number of connections of a pool"),
    gauge("database_away", "1 while the database doesn't answer the health probe"),
    gauge("clock_ahead_seconds", "Seconds by which this instance's clock is ahead of the database's"),
    gauge("database_waiting", "Tasks waiting for a connection of a pool"),
    duration_histogram(
        "database_acquire_seconds",
        LATENCY_BUCKETS,
        "Time until a pool provided a connection or failed to",
    ),
    gauge("queue_waiting", "Waiting tokens of all concerts, without those that were passed over"),
    gauge("queue_active", "Active tokens of all concerts"),
    counter("queue_admitted_total", "Tokens admitted"),
    counter("queue_passed_over_total", "Absent tokens passed over by the head of the queue"),
    counter("queue_abandoned_total", "Tokens that their users left, by their status before"),
    counter("queue_expired_total", "Active tokens that expired, or were not claimed in time"),
    duration_histogram("queue_wait_seconds", WAIT_BUCKETS, "Time from joining a queue to admission"),
    counter(
        "queue_estimates_total",
        "Tokens admitted, by the lowest percentile of their first estimate that covered the wait",
    ),
    gauge("queue_followers", "Open event streams of queue tokens"),
    counter("cache_hits_total", "Answers found in a cache, by cache"),
    counter("cache_misses_total", "Answers not found in a cache, by cache"),
    gauge("seat_map_followers", "Open event streams of seat maps"),
    counter("seat_map_followers_lagged_total", "Snapshots sent to streams of seat maps that lagged too far behind"),
    counter("bookings_total", "Committed changes of bookings, by change"),
    counter("payments_total", "Committed changes of payments, by change"),
    counter("ticket_scans_total", "Tickets scanned at a door, by outcome"),
    counter("top_ups_total", "Committed changes of top-ups, by change"),
    counter("payment_notifications_total", "Notifications of payment providers, by outcome"),
    counter("payment_provider_failures_total", "Calls of the payment provider by the job that failed"),
    gauge("top_up_differences", "Differences between top-ups and the payment provider's list at the last comparison"),
    gauge("top_ups_stuck", "Top-ups that wait for the payment provider ten minutes after their deadline"),
    histogram("points_moved", AMOUNT_BUCKETS, "Points that a charge, payment, refund or adjustment moved"),
    counter("event_attempts_total", "Attempts to deliver an event, by kind of destination and outcome"),
    duration_histogram("event_attempt_seconds", LATENCY_BUCKETS, "Duration of an attempt to deliver an event"),
    gauge("outbox_pending", "Pending deliveries of events, counted up to 100,000"),
    gauge("outbox_parked", "Parked deliveries of events, counted up to 100,000"),
    gauge("outbox_lag_seconds", "Age of the oldest event with a pending delivery"),
    duration_histogram("job_run_seconds", LATENCY_BUCKETS, "Duration of one run of a recurring job"),
    counter("job_failures_total", "Runs of a recurring job that failed"),
    counter("alert_messages_total", "Alerts sent to Slack, by outcome"),
    gauge("audit_violations", "Violations of an invariant found by the last audit of this instance"),
    gauge("server_draining", "1 while the server is stopping"),
    gauge("server_info", "Always 1; its labels name the build"),
];

/// Renders all metrics. Sets the gauges of the pools and of the process when they are scraped.
#[derive(Debug)]
pub struct ProcessMetrics {
    handle: PrometheusHandle,
    pools: Vec<(&'static str, MySqlPool)>,
    draining: CancellationToken,
}

impl ProcessMetrics {
    /// Reads the gauges of `pools`, each with its name, at every scrape.
    pub fn new(pools: Vec<(&'static str, MySqlPool)>, draining: CancellationToken) -> Self {
        Self { handle: recorder().clone(), pools, draining }
    }

    /// Returns all metrics in Prometheus' text format.
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

/// Returns the process's recorder, installed at the first call: a test runs several servers in one process.
///
/// Must be called before the first metric is recorded: without a recorder metrics are lost.
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
