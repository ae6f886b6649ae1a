//! Alerts: every logged error is sent to a Slack webhook.
//!
//! A layer of the log's subscriber catches this crate's errors, so logging an error is all that code has to do. The
//! layer only counts errors in memory, grouped by summary: it takes a lock for nanoseconds and can't fail. A task
//! reports a new group at once, and then at most once per interval, however often it occurs and whatever Slack answers.
//!
//! An alert contains no personal data: only the fields that name an error and its place are read.

use std::{
    collections::BTreeMap,
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use chrono::TimeDelta;
use reqwest::redirect::Policy;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context as LayerContext, Layer};

use crate::{
    config::Secret,
    domain::clock::{Clock, Instant},
};

/// The interval at which the task looks for errors to report.
const SEND_INTERVAL: Duration = Duration::from_secs(1);

/// The time limit of the last alert of a stopping server.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The most groups that are kept, and listed in one message; further errors share the group [`OTHER_ERRORS`].
const MAX_GROUPS: usize = 20;

/// The summary of the errors beyond [`MAX_GROUPS`].
const OTHER_ERRORS: &str = "errors of other kinds";

/// Where alerts are sent, and how often.
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// The URL of the Slack webhook, which is a secret.
    pub webhook: Secret,
    /// The least time between two reports of one group.
    pub interval: TimeDelta,
    /// The time limit of a request to Slack.
    pub timeout: Duration,
}

/// The errors that have one summary.
#[derive(Debug, Default)]
struct ErrorGroup {
    /// Occurrences since the last alert.
    unreported: u64,
    /// The last request that failed with such an error.
    request_id: Option<String>,
    reported_at: Option<Instant>,
}

/// One line of an alert: a group of errors with the number of its occurrences.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AlertLine {
    summary: String,
    count: u64,
    request_id: Option<String>,
}

/// All groups with errors to report or with a report in the last interval, by summary.
#[derive(Debug, Default)]
struct ErrorGroups(BTreeMap<String, ErrorGroup>);

impl ErrorGroups {
    fn record(&mut self, summary: String, count: u64, request_id: Option<String>) {
        let is_beyond_the_limit = self.0.len() >= MAX_GROUPS && !self.0.contains_key(&summary);
        let group = self.0.entry(if is_beyond_the_limit { OTHER_ERRORS.to_owned() } else { summary }).or_default();
        group.unreported += count;
        group.request_id = request_id.or(group.request_id.take());
    }

    /// Returns the groups that are due, and marks them as reported. Drops groups without errors for an interval.
    fn take_due(&mut self, now: Instant, interval: TimeDelta) -> Vec<AlertLine> {
        self.0.retain(|_, group| {
            group.unreported > 0 || group.reported_at.is_some_and(|reported_at| now - reported_at < interval)
        });
        let due = self.0.iter_mut().filter(|(_, group)| {
            group.unreported > 0 && group.reported_at.is_none_or(|reported_at| now - reported_at >= interval)
        });
        due.map(|(summary, group)| {
            group.reported_at = Some(now);
            let count = std::mem::take(&mut group.unreported);
            AlertLine { summary: summary.clone(), count, request_id: group.request_id.take() }
        })
        .collect()
    }
}

/// Counts the errors that this crate logs.
#[derive(Clone, Debug, Default)]
pub struct AlertLayer {
    groups: Arc<Mutex<ErrorGroups>>,
}

impl<S: Subscriber> Layer<S> for AlertLayer {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        let metadata = event.metadata();
        // A library also returns its errors to this crate, which decides whether they matter.
        if *metadata.level() == Level::ERROR && metadata.target().starts_with(env!("CARGO_CRATE_NAME")) {
            let mut fields = EventFields::default();
            event.record(&mut fields);
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            let request_id = fields.request_id.take();
            groups.record(fields.summary(), 1, request_id);
        }
    }
}

/// The fields that are read. Causes and panic messages aren't among them, since they may quote client input.
#[derive(Debug, Default)]
struct EventFields {
    message: String,
    code: Option<String>,
    method: Option<String>,
    route: Option<String>,
    location: Option<String>,
    request_id: Option<String>,
}

impl EventFields {
    /// The code and route of a request, the location of a panic, otherwise the message.
    fn summary(self) -> String {
        match self {
            Self { code, method: Some(method), route: Some(route), .. } => {
                format!("{} {method} {route}", code.as_deref().unwrap_or("an error"))
            }
            Self { location: Some(location), .. } => format!("panic at {location}"),
            Self { message, .. } => message,
        }
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = || Some(value.to_owned());
        match field.name() {
            "message" => self.message = value().unwrap_or_default(),
            "code" => self.code = value(),
            "method" => self.method = value(),
            "route" => self.route = value(),
            "location" => self.location = value(),
            "request_id" => self.request_id = value(),
            _ => {}
        }
    }
}

/// Sends alerts.
#[derive(Debug)]
pub struct Alerts {
    groups: Arc<Mutex<ErrorGroups>>,
    settings: AlertSettings,
    client: reqwest::Client,
}

impl Alerts {
    /// Returns the layer that counts errors, and the sender that reports them.
    pub fn new(settings: AlertSettings) -> anyhow::Result<(AlertLayer, Self)> {
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(settings.timeout)
            .redirect(Policy::none())
            .build()
            .context("creating the client for alerts")?;
        let layer = AlertLayer::default();
        let alerts = Self { groups: Arc::clone(&layer.groups), settings, client };
        Ok((layer, alerts))
    }

    /// Reports errors until the server has stopped, and then those that remain.
    pub async fn run(self, clock: Arc<dyn Clock>, stopped: CancellationToken) {
        while stopped.run_until_cancelled(sleep(SEND_INTERVAL)).await.is_some() {
            self.send_due(clock.now()).await;
        }
        let now = clock.now();
        let last = self.lock().take_due(now, TimeDelta::zero());
        let _ = timeout(SHUTDOWN_TIMEOUT, self.send(now, last)).await;
    }

    /// Sends one message with all groups that are due.
    pub async fn send_due(&self, now: Instant) {
        let due = self.lock().take_due(now, self.settings.interval);
        self.send(now, due).await;
    }

    fn lock(&self) -> MutexGuard<'_, ErrorGroups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one message. If that fails, its groups are due again after an interval, with the errors until then.
    async fn send(&self, now: Instant, lines: Vec<AlertLine>) {
        if lines.is_empty() {
            return;
        }
        let outcome = match self.post(message(&lines)).await {
            Ok(()) => "sent",
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "alerts can't be sent");
                let mut groups = self.lock();
                for AlertLine { summary, count, request_id } in lines {
                    groups.record(summary.clone(), count, request_id);
                    if let Some(group) = groups.0.get_mut(&summary) {
                        group.reported_at = Some(now);
                    }
                }
                "failed"
            }
        };
        metrics::counter!("alert_messages_total", "outcome" => outcome).increment(1);
    }

    async fn post(&self, text: String) -> anyhow::Result<()> {
        let request = self.client.post(&self.settings.webhook.0).json(&serde_json::json!({"text": text}));
        // The address is a secret.
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        anyhow::ensure!(answer.status().is_success(), "the answer is {}", answer.status());
        Ok(())
    }
}

/// The text of an alert in Slack's markup.
fn message(lines: &[AlertLine]) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut text = format!("*{} {}* {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), escape_markup(host.trim()));
    for AlertLine { summary, count, request_id } in lines {
        let (summary, count) =
            (escape_markup(summary), if *count == 1 { String::new() } else { format!(", {count} times") });
        let request = request_id.as_deref().map(|id| format!(" (request {})", escape_markup(id))).unwrap_or_default();
        // Writing to a string can't fail.
        let _ = write!(text, "\n• {summary}{count}{request}");
    }
    text
}

/// Escapes the characters that have a meaning in Slack's markup.
fn escape_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn at(seconds: i64) -> Instant {
        Instant::default() + TimeDelta::seconds(seconds)
    }

    fn summaries(lines: &[AlertLine]) -> Vec<(&str, u64)> {
        lines.iter().map(|line| (line.summary.as_str(), line.count)).collect()
    }

    #[test]
    fn a_group_is_reported_at_once_and_then_once_in_an_interval() {
        let mut groups = ErrorGroups::default();
        groups.record("a".to_owned(), 1, Some("first".to_owned()));
        assert_eq!(summaries(&groups.take_due(at(0), MINUTE)), [("a", 1)]);
        groups.record("a".to_owned(), 1, Some("second".to_owned()));
        groups.record("a".to_owned(), 1, None);
        groups.record("b".to_owned(), 1, None);
        assert_eq!(summaries(&groups.take_due(at(1), MINUTE)), [("b", 1)], "another group doesn't wait for it");
        assert_eq!(summaries(&groups.take_due(at(59), MINUTE)), []);
        let due = groups.take_due(at(60), MINUTE);
        assert_eq!(due, [AlertLine { summary: "a".to_owned(), count: 2, request_id: Some("second".to_owned()) }]);
        assert_eq!(groups.0.len(), 2);
        assert_eq!(summaries(&groups.take_due(at(120), MINUTE)), []);
        assert!(groups.0.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn the_number_of_groups_is_bounded() {
        let mut groups = ErrorGroups::default();
        for number in 0..1_000 {
            groups.record(format!("group {number}"), 1, None);
        }
        let due = groups.take_due(at(0), MINUTE);
        assert_eq!(due.len(), MAX_GROUPS + 1);
        assert_eq!(due.iter().map(|line| line.count).sum::<u64>(), 1_000);
        assert!(due.iter().any(|line| line.summary == OTHER_ERRORS && line.count == 1_000 - MAX_GROUPS as u64));
    }

    #[test]
    fn slack_markup_is_escaped() {
        let line = AlertLine { summary: "a <!channel> & b".to_owned(), count: 2, request_id: Some("r1".to_owned()) };
        let text = message(&[line]);
        assert!(text.ends_with("\n• a &lt;!channel&gt; &amp; b, 2 times (request r1)"), "{text}");
    }
}
