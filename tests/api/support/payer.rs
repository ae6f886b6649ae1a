//! Payers: top-ups, and the page and notifications of the payment sandbox.

use axum::http::Method;
use chrono::{DateTime, Utc};
use concert_reservation::config::DEMO_SECRET;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use super::{Client, Reply};

pub(crate) const TOP_UPS: &str = "/api/v1/points/top-ups";

/// The path to which the sandbox sends its notifications.
pub(crate) const SANDBOX_EVENTS: &str = "/api/v1/payment-providers/sandbox/events";

/// The settings of a server whose points are bought in the sandbox.
pub(crate) const SANDBOX: [(&str, &str); 1] = [("PAYMENT_PROVIDER", "sandbox")];

impl Client {
    /// Creates a top-up.
    pub(crate) async fn top_up(&self, amount: &str) -> Value {
        let key = Uuid::now_v7().to_string();
        self.post_keyed(TOP_UPS, &key, json!({"amount": amount})).await.expect(201).json()
    }

    /// The present state of a top-up.
    pub(crate) async fn top_up_again(&self, top_up: &Value) -> Value {
        self.get(&format!("{TOP_UPS}/{}", id_of(top_up))).await.expect(200).json()
    }

    /// Chooses on the sandbox's page what becomes of a top-up.
    pub(crate) async fn choose(&self, top_up: &Value, outcome: &str) -> Reply {
        let path = checkout_path(top_up);
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        self.send_raw(Method::POST, &path, &form, format!("outcome={outcome}")).await.expect(303)
    }

    /// Sends a notification as the sandbox signs it at this instant.
    pub(crate) async fn notify(&self, body: &Value, at: DateTime<Utc>) -> Reply {
        let body = body.to_string();
        let signature = sandbox_signature(&body, at);
        let headers = [("Content-Type", "application/json"), ("Sandbox-Signature", signature.as_str())];
        self.send_raw(Method::POST, SANDBOX_EVENTS, &headers, body.clone()).await
    }
}

pub(crate) fn id_of(top_up: &Value) -> &str {
    top_up["topUpId"].as_str().expect("a top-up has an id")
}

/// The path of the sandbox's page.
pub(crate) fn checkout_path(top_up: &Value) -> String {
    let url = top_up["checkoutUrl"].as_str().expect("a checkout has an address");
    url.strip_prefix("http://127.0.0.1:8080").expect("the server's own address").to_owned()
}

/// The sandbox's notification about a top-up.
pub(crate) fn notification(top_up: &Value, state: &str) -> Value {
    let checkout_id = checkout_path(top_up).rsplit('/').next().unwrap().to_owned();
    json!({"checkoutId": checkout_id, "topUpId": id_of(top_up), "state": state, "amount": top_up["amount"]})
}

fn sandbox_signature(body: &str, at: DateTime<Utc>) -> String {
    let mac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).unwrap();
    let secret = mac(DEMO_SECRET.as_bytes()).chain_update("notifications of the payment sandbox").finalize();
    let timestamp = at.timestamp();
    let tag = mac(&secret.into_bytes()).chain_update(format!("{timestamp}.{body}")).finalize().into_bytes();
    format!("t={timestamp},v1={}", hex::encode(tag))
}
