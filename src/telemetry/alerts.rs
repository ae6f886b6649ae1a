//! Alerts: what is logged as an error is told to people, through a Slack webhook.
//!
//! A layer of the log's subscriber catches the program's own errors, so whoever logs one has alerted, and nobody can
//! forget to. It only counts them, by kind, in memory: that costs a request a lock of nanoseconds and can't fail. A task
//! tells each kind at once, and then at most once in an interval, however often it happens and whatever Slack does.
//!
//! Nothing personal is in an alert: of an event's fields only those are read that say what and where.

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

/// How often it is looked whether there is something to tell.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a server that stops tries to tell what happened last.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many kinds are told apart, and told in one message: what is beyond counts as one more.
const KINDS: usize = 20;

/// What those beyond [`KINDS`] are called.
const OTHERS: &str = "errors of other kinds";

/// Where alerts go, and how often.
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// Slack's address for them, which is a secret.
    pub webhook: Secret,
    /// How often one kind is told at most.
    pub interval: TimeDelta,
    /// How long Slack may take.
    pub timeout: Duration,
}

/// Errors of one kind.
#[derive(Debug, Default)]
struct Kind {
    /// How many nobody was told of.
    untold: u64,
    /// The last request that met with one.
    request_id: Option<String>,
    told_at: Option<Instant>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    what: String,
    times: u64,
    request_id: Option<String>,
}

/// All kinds that happened lately.
#[derive(Debug, Default)]
struct Kinds(BTreeMap<String, Kind>);

impl Kinds {
    fn note(&mut self, what: String, times: u64, request_id: Option<String>) {
        let is_one_too_many = self.0.len() >= KINDS && !self.0.contains_key(&what);
        let kind = self.0.entry(if is_one_too_many { OTHERS.to_owned() } else { what }).or_default();
        kind.untold += times;
        kind.request_id = request_id.or(kind.request_id.take());
    }

    /// What is to be told now; it counts as told. Kinds that have been quiet for an interval are forgotten.
    fn take_due(&mut self, now: Instant, interval: TimeDelta) -> Vec<Line> {
        self.0.retain(|_, kind| kind.untold > 0 || kind.told_at.is_some_and(|told_at| now - told_at < interval));
        let due = self
            .0
            .iter_mut()
            .filter(|(_, kind)| kind.untold > 0 && kind.told_at.is_none_or(|told_at| now - told_at >= interval));
        due.map(|(what, kind)| {
            kind.told_at = Some(now);
            let times = std::mem::take(&mut kind.untold);
            Line { what: what.clone(), times, request_id: kind.request_id.take() }
        })
        .collect()
    }
}

/// Catches errors.
#[derive(Clone, Debug, Default)]
pub struct AlertLayer {
    kinds: Arc<Mutex<Kinds>>,
}

impl<S: Subscriber> Layer<S> for AlertLayer {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        let metadata = event.metadata();
        // What a library finds wrong it also tells its caller, who knows whether that matters.
        if *metadata.level() == Level::ERROR && metadata.target().starts_with(env!("CARGO_CRATE_NAME")) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            let request_id = fields.request_id.take();
            kinds.note(fields.what(), 1, request_id);
        }
    }
}

/// The fields that are read. Causes and messages of panics may quote what somebody sent, so they are not among them.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    code: Option<String>,
    method: Option<String>,
    route: Option<String>,
    location: Option<String>,
    request_id: Option<String>,
}

impl Fields {
    /// A request by its code and route, a panic by its place, anything else by its words.
    fn what(self) -> String {
        match self {
            Self { code, method: Some(method), route: Some(route), .. } => {
                format!("{} {method} {route}", code.as_deref().unwrap_or("an error"))
            }
            Self { location: Some(location), .. } => format!("panic at {location}"),
            Self { message, .. } => message,
        }
    }
}

impl Visit for Fields {
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

/// Tells people.
#[derive(Debug)]
pub struct Alerts {
    kinds: Arc<Mutex<Kinds>>,
    settings: AlertSettings,
    client: reqwest::Client,
}

impl Alerts {
    /// The layer that catches errors, and what tells of them.
    pub fn new(settings: AlertSettings) -> anyhow::Result<(AlertLayer, Self)> {
        // Fails only if somebody has chosen one before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(settings.timeout)
            .redirect(Policy::none())
            .build()
            .context("making a client for alerts")?;
        let layer = AlertLayer::default();
        let alerts = Self { kinds: Arc::clone(&layer.kinds), settings, client };
        Ok((layer, alerts))
    }

    /// Tells of errors until the server has stopped; then of the last ones, briefly.
    pub async fn run(self, clock: Arc<dyn Clock>, stopped: CancellationToken) {
        while stopped.run_until_cancelled(sleep(PERIOD)).await.is_some() {
            self.tell(clock.now()).await;
        }
        let now = clock.now();
        let last = self.lock().take_due(now, TimeDelta::zero());
        let _ = timeout(FAREWELL, self.send(now, last)).await;
    }

    /// Tells what is due, in one message.
    pub async fn tell(&self, now: Instant) {
        let due = self.lock().take_due(now, self.settings.interval);
        self.send(now, due).await;
    }

    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can't be told is due again after an interval, with what happens meanwhile.
    async fn send(&self, now: Instant, lines: Vec<Line>) {
        if lines.is_empty() {
            return;
        }
        let outcome = match self.post(message(&lines)).await {
            Ok(()) => "sent",
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "alerts can't be told");
                let mut kinds = self.lock();
                for Line { what, times, request_id } in lines {
                    kinds.note(what.clone(), times, request_id);
                    if let Some(kind) = kinds.0.get_mut(&what) {
                        kind.told_at = Some(now);
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

/// The words, in Slack's markup.
fn message(lines: &[Line]) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut text = format!("*{} {}* {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), escaped(host.trim()));
    for Line { what, times, request_id } in lines {
        let (what, times) = (escaped(what), if *times == 1 { String::new() } else { format!(", {times} times") });
        let request = request_id.as_deref().map(|id| format!(" (request {})", escaped(id))).unwrap_or_default();
        // Writing to a string can't fail.
        let _ = write!(text, "\n• {what}{times}{request}");
    }
    text
}

/// What Slack would take for markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn at(seconds: i64) -> Instant {
        Instant::default() + TimeDelta::seconds(seconds)
    }

    fn told(lines: &[Line]) -> Vec<(&str, u64)> {
        lines.iter().map(|line| (line.what.as_str(), line.times)).collect()
    }

    #[test]
    fn a_kind_is_told_at_once_and_then_once_in_an_interval() {
        let mut kinds = Kinds::default();
        kinds.note("a".to_owned(), 1, Some("first".to_owned()));
        assert_eq!(told(&kinds.take_due(at(0), MINUTE)), [("a", 1)]);
        kinds.note("a".to_owned(), 1, Some("second".to_owned()));
        kinds.note("a".to_owned(), 1, None);
        kinds.note("b".to_owned(), 1, None);
        assert_eq!(told(&kinds.take_due(at(1), MINUTE)), [("b", 1)], "another kind doesn't wait for it");
        assert_eq!(told(&kinds.take_due(at(59), MINUTE)), []);
        let due = kinds.take_due(at(60), MINUTE);
        assert_eq!(due, [Line { what: "a".to_owned(), times: 2, request_id: Some("second".to_owned()) }]);
        assert_eq!(kinds.0.len(), 2);
        assert_eq!(told(&kinds.take_due(at(120), MINUTE)), []);
        assert!(kinds.0.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn however_many_kinds_there_are_memory_and_messages_stay_small() {
        let mut kinds = Kinds::default();
        for number in 0..1_000 {
            kinds.note(format!("kind {number}"), 1, None);
        }
        let due = kinds.take_due(at(0), MINUTE);
        assert_eq!(due.len(), KINDS + 1);
        assert_eq!(due.iter().map(|line| line.times).sum::<u64>(), 1_000);
        assert!(due.iter().any(|line| line.what == OTHERS && line.times == 1_000 - KINDS as u64));
    }

    #[test]
    fn nothing_is_taken_for_markup() {
        let line = Line { what: "a <!channel> & b".to_owned(), times: 2, request_id: Some("r1".to_owned()) };
        let text = message(&[line]);
        assert!(text.ends_with("\n• a &lt;!channel&gt; &amp; b, 2 times (request r1)"), "{text}");
    }
}
