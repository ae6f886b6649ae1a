//! What the server tells of itself: logs, alerts, measurements, traces.

pub mod alerts;
pub mod metrics;
pub mod traces;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::IsTerminal,
    panic::PanicHookInfo,
};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use self::{alerts::Alerts, traces::Traces};
use crate::{
    config::{Config, LogFormat},
    interfaces::http::context::current_request_id,
};

/// What goes on beside the log.
#[derive(Debug)]
pub struct Telemetry {
    /// Tells of errors, if that is wanted.
    pub alerts: Option<Alerts>,
    /// Sends traces, if that is wanted.
    pub traces: Option<Traces>,
}

/// Writes logs to standard error from now on, as is set; panics among them.
pub fn start(config: &Config) -> anyhow::Result<Telemetry> {
    let (alert_layer, alerts) = config.alerts.clone().map(Alerts::new).transpose()?.unzip();
    let (span_layer, traces) = config.trace_endpoint.as_deref().map(traces::start).transpose()?.flatten().unzip();
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::registry()
        .with(span_layer)
        .with(log_layer(config.log_format, &config.log_level, colours, std::io::stderr))
        .with(alert_layer);
    // Fails only if the embedding process has a subscriber of its own, which then gets the logs.
    let _ = subscriber.try_init();
    std::panic::set_hook(Box::new(log_panic));
    if config.trace_endpoint.is_some() && traces.is_none() {
        tracing::warn!("OTEL_EXPORTER_OTLP_ENDPOINT is set, and this build lacks the feature otel: no traces are sent");
    }
    Ok(Telemetry { alerts, traces })
}

/// Lines for a writer.
pub fn log_layer<S, W>(format: LogFormat, level: &str, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::new(level);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

/// A panic ends one request, or one batch, and is a defect: this says where. Its request is told it as `INTERNAL`.
pub fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(tracing::field::display);
    let message = panic.payload_as_str().unwrap_or("without words");
    // Only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    let backtrace = backtrace.as_ref().map(tracing::field::display);
    tracing::error!(request_id = current_request_id().as_deref(), location, backtrace, "panicked: {message}");
}
