//! Webhooks: subscriptions, failures and the retention of their events.

mod failures;
mod retention;
mod subscription;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use concert_reservation::application::{
    event::{EventRetention, EventUpkeep},
    housekeeping::HousekeepingFacade,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Client, Received, Receiver, TestApp};

const WEBHOOKS: &str = "/api/v1/admin/webhooks";
const EVENTS: &str = "/api/v1/admin/events";

/// Webhooks of tests are on this machine.
const ALLOWED: (&str, &str) = ("WEBHOOK_ALLOW_PRIVATE", "true");

async fn register(admin: &Client, receiver: &Receiver, types: &[&str]) -> Value {
    admin.post(WEBHOOKS, json!({"url": receiver.url, "types": types})).await.expect(201).json()
}

async fn relay(app: &TestApp) {
    for instance in &app.instances {
        instance.relay.run_once().await.unwrap();
    }
}

async fn list(admin: &Client, query: &str) -> Vec<Value> {
    let page = admin.get(&format!("{EVENTS}?{query}")).await.expect(200).json();
    page["items"].as_array().unwrap().clone()
}

/// Runs housekeeping once; it keeps events for an hour, parked ones for ten days.
async fn clean(app: &TestApp) {
    let retention = EventRetention { delivered: TimeDelta::hours(1), parked: Some(TimeDelta::days(10)) };
    let events = EventUpkeep::new(app.ports().clone(), retention);
    HousekeepingFacade::new(app.ports().clone(), events).clean().await.unwrap();
}

/// The signature by the specification, computed without the server's code.
fn signature(secret: &str, event: &Received) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let signed = [event.header("webhook-id"), event.header("webhook-timestamp"), ""].join(".");
    mac.update(&[signed.as_bytes(), &event.bytes].concat());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
