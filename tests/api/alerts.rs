//! Alerts: errors are sent to Slack, and a failing Slack affects nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{http::StatusCode, response::IntoResponse};
use chrono::TimeDelta;
use concert_reservation::{
    config::Secret,
    telemetry::alerts::{AlertSettings, Alerts},
};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tokio_util::sync::CancellationToken;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Receiver, TestApp};

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Long enough for a sent message to arrive, and short enough for a test to wait for it.
const LITTLE_PATIENCE: Duration = Duration::from_secs(1);

/// A stand-in for Slack: it answers with a status, or not at all if that is 0.
struct Slack {
    receiver: Receiver,
    status: Arc<AtomicU16>,
}

impl Slack {
    async fn start() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let answer = Arc::clone(&status);
        let receiver = Receiver::with_behaviour(move |_| match answer.load(Ordering::SeqCst) {
            0 => Box::pin(std::future::pending()),
            status => Box::pin(async move { StatusCode::from_u16(status).unwrap().into_response() }),
        });
        Self { receiver: receiver.await, status }
    }

    /// The messages since the last call.
    fn texts(&mut self) -> Vec<String> {
        self.receiver.drain().iter().map(|received| received.text("text")).collect()
    }

    /// The only message since the last call; waits for it.
    async fn text(&mut self) -> String {
        let text = self.receiver.next().await.text("text");
        assert_eq!(self.texts(), [""; 0], "more than one");
        text
    }

    /// Sends the errors of this thread here, with this time limit.
    fn alerts(&self, timeout: Duration) -> (Alerts, DefaultGuard) {
        let settings =
            AlertSettings { webhook: Secret(self.receiver.url.clone()), interval: TimeDelta::minutes(1), timeout };
        let (layer, alerts) = Alerts::new(settings).unwrap();
        (alerts, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
    }
}

/// A request that fails because the database has no schema.
async fn fail(app: &TestApp) {
    app.anonymous().get("/api/v1/concerts?query=secret").await.expect_problem(500, "INTERNAL");
}

#[sqlx::test(migrations = false)]
async fn errors_are_reported_by_kind_and_rate_limited(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let mut slack = Slack::start().await;
    let (alerts, _guard) = slack.alerts(TIMEOUT);
    for _ in 0..3 {
        fail(&app).await;
    }
    app.anonymous().get("/nowhere").await.expect_problem(404, "NOT_FOUND");
    app.anonymous().get("/readyz").await.expect_problem(503, "DATABASE_UNAVAILABLE");
    alerts.send_due(app.now()).await;
    let text = slack.text().await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("concert-reservation"), "{text}");
    assert_eq!(lines[1].split(" (request ").next(), Some("• DATABASE_UNAVAILABLE GET /readyz"), "{text}");
    assert_eq!(lines[2].split(" (request ").next(), Some("• INTERNAL GET /api/v1/concerts, 3 times"), "{text}");
    assert!(!text.contains("secret"), "{text}");

    fail(&app).await;
    fail(&app).await;
    app.advance(59);
    alerts.send_due(app.now()).await;
    assert!(slack.texts().is_empty(), "not twice in a minute");
    app.advance(1);
    alerts.send_due(app.now()).await;
    assert!(slack.text().await.contains(", 2 times"));
    app.advance(60);
    alerts.send_due(app.now()).await;
    assert!(slack.texts().is_empty(), "there is nothing to report");
}

#[sqlx::test(migrations = false)]
async fn a_failed_alert_is_sent_again_later(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let mut slack = Slack::start().await;
    let (alerts, _guard) = slack.alerts(LITTLE_PATIENCE);
    // It answers 500, redirects, hangs, and recovers.
    for (count, status) in [(1, 500), (2, 302), (3, 0), (4, 200)] {
        slack.status.store(status, Ordering::SeqCst);
        fail(&app).await;
        alerts.send_due(app.now()).await;
        let text = slack.text().await;
        assert!(count == 1 || text.contains(&format!(", {count} times")), "nothing is lost: {status}: {text}");
        alerts.send_due(app.now()).await;
        assert!(slack.texts().is_empty(), "nor tried again at once");
        app.advance(60);
    }
}

#[sqlx::test(migrations = false)]
async fn a_stopping_server_sends_the_last_errors(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let mut slack = Slack::start().await;
    let (alerts, _guard) = slack.alerts(TIMEOUT);
    fail(&app).await;
    alerts.send_due(app.now()).await;
    slack.text().await;
    fail(&app).await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    alerts.run(app.clock.clone(), stopped).await;
    assert!(slack.text().await.contains("INTERNAL"), "although the group was reported within the minute");
}
