//! A year of events: their rows and the work of housekeeping don't grow.

use axum::{http::StatusCode, response::IntoResponse};
use chrono::TimeDelta;
use concert_reservation::application::{
    event::{EventRetention, EventUpkeep},
    housekeeping::HousekeepingFacade,
};
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Receiver, Tables, TestApp};

const WEBHOOKS: &str = "/api/v1/admin/webhooks";
const WEEKS: usize = 52;

/// The week by which the first parked events are removed.
const SETTLED: usize = 7;

async fn register(admin: &Client, receiver: &Receiver) -> String {
    let webhook = json!({"url": receiver.url, "types": ["points.charged"]});
    let registered = admin.post(WEBHOOKS, webhook).await.expect(201);
    format!("{WEBHOOKS}/{}", registered.text("webhookId"))
}

/// Charges are made every week. The data platform always refuses one of them; of two webhooks one is deleted before it
/// gets any event, the other answers 410 and is deleted a week later.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_year_of_events_takes_no_more_rows_and_work_than_two_months(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let tables = Tables::of(&options).await;
    let platform = Receiver::answering(|received| {
        let refused = received.json()["data"]["amount"] == "13";
        if refused { StatusCode::BAD_REQUEST } else { StatusCode::OK }.into_response()
    })
    .await;
    let failing = Receiver::answering(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let gone = Receiver::answering(|_| StatusCode::GONE.into_response()).await;
    let settings = [("WEBHOOK_ALLOW_PRIVATE", "true"), ("DATA_PLATFORM_URL", &platform.url), ("EVENT_ATTEMPTS", "1")];
    let app = TestApp::start_with(options, 1, &settings);
    let retention = EventRetention { delivered: TimeDelta::days(7), parked: Some(TimeDelta::days(28)) };
    let housekeeping = HousekeepingFacade::new(app.ports().clone(), EventUpkeep::new(app.ports().clone(), retention));
    let (mut most, mut last_gone) = ([0; 5], None);
    for week in 0..WEEKS {
        let admin = app.admin().await;
        let (deleted, ended) = (register(&admin, &failing).await, register(&admin, &gone).await);
        for amount in ["13", "1", "2", "3", "4"] {
            app.user().await.charge(amount).await;
        }
        app.instances[0].relay.run_once().await.unwrap();
        admin.delete(&deleted).await.expect(204);
        if let Some(path) = last_gone.replace(ended) {
            admin.delete(&path).await.expect(204);
        }
        app.advance(7 * 86_400 + 1);
        let mut turns = 1;
        while housekeeping.clean().await.unwrap() {
            turns += 1;
        }
        let now = [
            tables.count("SELECT COUNT(*) FROM outbox_events").await,
            tables.count("SELECT COUNT(*) FROM event_deliveries").await,
            tables.count("SELECT COUNT(*) FROM webhooks").await,
            tables.count("SELECT COUNT(*) FROM idempotency_keys").await,
            turns,
        ];
        for (most, now) in most.iter_mut().zip(now) {
            assert!(week < SETTLED || now <= *most, "week {week}: {now}, and at most {most} in the first {SETTLED}");
            *most = now.max(*most);
        }
    }
    assert!(most[0] <= 30 && most[1] <= 70 && most[2] <= 6, "{most:?}");
    app.assert_invariants_hold().await;
}
