//! Logs: one line per request, and no secrets or personal data.

use std::{
    io::Write,
    sync::{Arc, LazyLock, Mutex},
};

use axum::{Router, http::Method, middleware::from_fn_with_state, routing::get};
use concert_reservation::{
    interfaces::http::middleware::{assign_request_id, convert_failures},
    telemetry::logs::{LogFormat, log_layer, log_panic},
};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tracing::{Dispatch, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Client, TestApp};

/// Everything that this thread logs while the guard lives: a test runs on one thread.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

/// A second dispatcher. While there is one only, tracing asks the current thread's about a new callsite. A thread
/// without a subscriber turns that callsite off for every test.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

impl Captured {
    fn begin(format: LogFormat, level: &str) -> (Self, DefaultGuard) {
        LazyLock::force(&SECOND);
        let captured = Self::default();
        let writer = captured.clone();
        let logs = log_layer(format, level, false, move || writer.clone());
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(logs));
        (captured, guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Its lines about requests, as JSON.
    fn requests(&self) -> Vec<Value> {
        let lines = self.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["message"] == "request").collect()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_request_logs_one_line(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    // A slow statement has a separate line.
    let (captured, _guard) = Captured::begin(LogFormat::Json, "info,sqlx=off");
    let id = [("X-Request-Id", "order-17")];
    let hold = json!({"performanceId": sale.performance_id, "seatIds": [sale.seats[0]]});
    buyer.send(Method::POST, "/api/v1/bookings", &id, Some(hold.clone())).await.expect(201);
    buyer.send(Method::POST, "/api/v1/bookings", &id, Some(hold)).await.expect_problem(409, "SEATS_UNAVAILABLE");
    app.anonymous().get("/api/v1/concerts/7?secret=1").await.expect_problem(404, "CONCERT_NOT_FOUND");
    app.anonymous().get("/nowhere/secret").await.expect_problem(404, "NOT_FOUND");
    app.instances[0].shared.draining.cancel();
    app.anonymous().get("/readyz").await.expect_problem(503, "DRAINING");
    let lines = captured.requests();
    let text = captured.text();
    assert_eq!((lines.len(), text.lines().count()), (5, 5), "{text}");

    let held = &lines[0];
    for (field, value) in [
        ("level", json!("INFO")),
        ("request_id", json!("order-17")),
        ("method", json!("POST")),
        ("route", json!("/api/v1/bookings")),
        ("status", json!(201)),
        ("user", json!(buyer.user_id().to_string())),
    ] {
        assert_eq!(held[field], value, "{field}: {held}");
    }
    let (total, in_lanes) = (held["duration_ms"].as_f64().unwrap(), held["lane_ms"].as_f64().unwrap());
    assert!(0.0 < in_lanes && in_lanes <= total, "{held}");
    assert!(held.get("code").is_none(), "{held}");
    let briefly: Vec<_> = lines[1..].iter().map(|line| json!([line["level"], line["route"], line["code"]])).collect();
    assert_eq!(
        briefly,
        [
            json!(["INFO", "/api/v1/bookings", "SEATS_UNAVAILABLE"]),
            json!(["INFO", "/api/v1/concerts/{concertId}", "CONCERT_NOT_FOUND"]),
            json!(["INFO", "unmatched", "NOT_FOUND"]),
            json!(["WARN", "/readyz", "DRAINING"]),
        ]
    );
    assert!(!text.contains("secret"), "neither queries nor unknown paths: {text}");
}

#[sqlx::test(migrations = false)]
async fn a_failure_is_an_error_with_its_cause(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (captured, _guard) = Captured::begin(LogFormat::Json, "info");
    let answer = app.anonymous().get("/api/v1/concerts").await.expect_problem(500, "INTERNAL");
    let lines = captured.requests();
    assert_eq!((&lines[0]["level"], &lines[0]["code"]), (&json!("ERROR"), &json!("INTERNAL")), "{lines:?}");
    let cause = lines[0]["cause"].as_str().unwrap();
    assert!(cause.contains("exist"), "the database's words: {cause}");
    assert!(
        !String::from_utf8(answer.bytes).unwrap().contains("exist"),
        "no other client learns that the account exists"
    );
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_panic_is_logged_with_its_request_and_its_place(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    #[expect(clippy::panic, reason = "a defect is what this is about")]
    async fn defect() {
        panic!("a defect");
    }
    let app = TestApp::start(options);
    let shared = &app.instances[0].shared;
    let router = Router::new()
        .route("/defect", get(defect))
        .layer(from_fn_with_state(shared.clone(), convert_failures))
        .layer(from_fn_with_state(shared.clone(), assign_request_id));
    let (captured, _guard) = Captured::begin(LogFormat::Json, "info");
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(log_panic));
    let answer = Client::new(router).get("/defect").await;
    std::panic::set_hook(usual);
    let answer = answer.expect_problem(500, "INTERNAL");
    let lines: Vec<Value> = captured.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(
            (&line["level"], &line["request_id"]),
            (&json!("ERROR"), &json!(answer.text("requestId"))),
            "{line}"
        );
    }
    assert_eq!(lines[0]["message"], "panicked: a defect");
    assert!(lines[0]["location"].as_str().unwrap().contains("tests/api/logs.rs"), "{}", lines[0]);
    assert_eq!((&lines[1]["route"], &lines[1]["code"]), (&json!("/defect"), &json!("INTERNAL")));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_request_whose_client_hangs_up_is_logged(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let (captured, _guard) = Captured::begin(LogFormat::Text, "info");
    let user = app.user().await;
    {
        let request = user.get("/api/v1/points");
        futures::pin_mut!(request);
        assert!(futures::poll!(&mut request).is_pending(), "it waits for the database");
    }
    let text = captured.text();
    assert!(text.contains("request given up by its client") && text.contains("route=\"/api/v1/points\""), "{text}");
}

/// All steps of a buyer, with failures, logged at the most detailed level.
async fn journey(app: &TestApp) -> Vec<(&'static str, String)> {
    let sale = app.sale(1, 5).await;
    sale.set_queue(app, json!({"mode": "QUEUE"})).await;
    let anonymous = app.anonymous();
    let (email, password, name) = ("zoe.quux@example.org", "correct horse battery", "Zoe Quuxdottir");
    let account = json!({"email": email, "password": password, "name": name});
    anonymous.post("/api/v1/users", account.clone()).await.expect(201);
    anonymous.post("/api/v1/users", account).await.expect_problem(409, "EMAIL_TAKEN");
    let bad = json!({"email": email, "password": password, "name": name, "extra": email});
    anonymous.post("/api/v1/users", bad).await.expect_problem(422, "VALIDATION_FAILED");
    let wrong = json!({"email": email, "password": "wrong horse battery"});
    anonymous.post("/api/v1/auth/login", wrong).await.expect_problem(401, "INVALID_CREDENTIALS");
    let login = anonymous.post("/api/v1/auth/login", json!({"email": email, "password": password})).await.expect(200);
    let refresh = json!({"refreshToken": login.text("refreshToken")});
    let fresh = anonymous.post("/api/v1/auth/refresh", refresh.clone()).await.expect(200);
    app.advance(11);
    anonymous.post("/api/v1/auth/refresh", refresh).await.expect_problem(401, "INVALID_REFRESH_TOKEN");
    let login_again = json!({"email": email, "password": password});
    let again = anonymous.post("/api/v1/auth/login", login_again).await.expect(200);
    let user_id = again.text("userId").parse().unwrap();
    let buyer = anonymous.with_token(again.text("accessToken"), user_id);
    let buyer = sale.join(buyer).await;
    app.tick().await;
    buyer.get("/api/v1/queue/tokens/current").await.expect(200);
    let hold = json!({"performanceId": sale.performance_id, "seatIds": [sale.seats[0]]});
    let booking = buyer.post_keyed("/api/v1/bookings", "key-of-the-hold", hold).await.expect(201).text("bookingId");
    buyer.post_keyed("/api/v1/points/charges", "key-of-the-charge", json!({"amount": "60000"})).await.expect(201);
    buyer.pay(&booking, "key-of-the-payment").await.expect(201);
    buyer.pay(&booking, "key-of-the-payment").await.expect(201);
    buyer.get(&format!("/api/v1/concerts?query={password}").replace(' ', "+")).await.expect(200);
    app.advance(100_000);
    app.tick().await;
    vec![
        ("e-mail", email.to_owned()),
        ("e-mail", "zoe.quux".to_owned()),
        ("password", password.to_owned()),
        ("password", password.replace(' ', "+")),
        ("wrong password", "wrong horse".to_owned()),
        ("name", "Quuxdottir".to_owned()),
        ("first access token", login.text("accessToken")),
        ("first refresh token", login.text("refreshToken")),
        ("second access token", fresh.text("accessToken")),
        ("second refresh token", fresh.text("refreshToken")),
        ("access token", buyer.token().to_owned()),
        ("refresh token", again.text("refreshToken")),
        ("queue token", buyer.queue_token().to_owned()),
        ("key", "key-of-the".to_owned()),
        ("token secret", "demo-secret".to_owned()),
    ]
}

async fn search_the_logs(options: MySqlConnectOptions, format: LogFormat) {
    let (captured, _guard) = Captured::begin(format, "trace");
    let secrets = journey(&TestApp::start(options)).await;
    let text = captured.text();
    assert!(text.matches("/api/v1/payments").count() >= 2, "the journey was logged: {text}");
    assert!(text.contains("INSERT INTO"), "and what the database was asked: {text}");
    for (what, secret) in secrets {
        let line = text.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "the {what} is logged: {line:?}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn no_secret_is_logged_as_text(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    search_the_logs(options, LogFormat::Text).await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn no_secret_is_logged_as_json(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    search_the_logs(options, LogFormat::Json).await;
}
