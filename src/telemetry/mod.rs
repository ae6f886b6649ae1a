//! Telemetry: logs, alerts, metrics, traces.
//!
//! It gets its settings passed in, and never reads the configuration itself.

pub mod alerts;
pub mod logs;
pub mod metrics;
pub mod traces;

use std::io::IsTerminal;

use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use self::{
    alerts::{AlertSettings, Alerts},
    logs::{LogFormat, log_layer, log_panic},
    traces::Traces,
};

/// What is logged, and where alerts and traces are sent.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// The format of log lines.
    pub log_format: LogFormat,
    /// A level, or a filter such as `info,sqlx=debug`.
    pub log_level: String,
    /// `None` sends no alerts.
    pub alerts: Option<AlertSettings>,
    /// The URL of the OTLP collector; `None` sends no traces.
    pub trace_endpoint: Option<String>,
}

/// The parts of telemetry that run beside the log.
#[derive(Debug)]
pub struct Telemetry {
    /// Sends alerts, if they are configured.
    pub alerts: Option<Alerts>,
    /// Sends traces, if they are configured.
    pub traces: Option<Traces>,
}

/// Installs the subscriber and the panic hook; from then on events and panics are logged to standard error.
pub fn start(settings: &TelemetrySettings) -> anyhow::Result<Telemetry> {
    let (alert_layer, alerts) = settings.alerts.clone().map(Alerts::new).transpose()?.unzip();
    let (span_layer, traces) = settings.trace_endpoint.as_deref().map(traces::start).transpose()?.flatten().unzip();
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::registry()
        .with(span_layer)
        .with(log_layer(settings.log_format, &settings.log_level, colours, std::io::stderr))
        .with(alert_layer);
    // Fails only if the embedding process has a subscriber of its own, which then gets the logs.
    let _ = subscriber.try_init();
    std::panic::set_hook(Box::new(log_panic));
    if settings.trace_endpoint.is_some() && traces.is_none() {
        tracing::warn!("OTEL_EXPORTER_OTLP_ENDPOINT is set, and this build lacks the feature otel: no traces are sent");
    }
    Ok(Telemetry { alerts, traces })
}
