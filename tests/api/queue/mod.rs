//! The waiting queue: places, admission, deadlines, leaving.

mod admission;
mod ending;
mod joining;

use serde_json::Value;

use crate::support::{Client, Sale, TestApp, race};

const TOKENS: &str = "/api/v1/queue/tokens";
const CURRENT: &str = "/api/v1/queue/tokens/current";
const EVENTS: &str = "/api/v1/queue/tokens/current/events";

async fn poll(client: &Client) -> Value {
    client.get(CURRENT).await.expect(200).json()
}

async fn status(client: &Client) -> String {
    poll(client).await["status"].as_str().expect("a status is a string").to_owned()
}

/// All users poll, so that they count as present. A poll claims an admission.
async fn poll_all(clients: &[Client]) {
    futures::future::join_all(clients.iter().map(poll)).await;
}

async fn position(client: &Client) -> u64 {
    let place = poll(client).await;
    assert_eq!(place["status"], "WAITING", "{place}");
    place["position"].as_u64().expect("a waiting token has a position")
}

async fn leave(client: &Client) {
    client.delete(CURRENT).await.expect(204);
}

async fn join_all(app: &TestApp, sale: &Sale, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for user in app.users(count).await {
        clients.push(sale.join(user).await);
    }
    clients
}

/// A member of `live`, as administrators see it.
async fn live(admin: &Client, sale: &Sale, member: &str) -> u64 {
    let path = format!("/api/v1/admin/concerts/{}/queue", sale.concert_id);
    let queue = admin.get(&path).await.expect(200).json();
    queue["live"][member].as_u64().unwrap_or_else(|| panic!("no {member} in {queue}"))
}

/// Both servers tick concurrently.
async fn tick_both(app: &TestApp) {
    let servers = app.instances.iter().map(|instance| instance.shared.clone());
    for result in race(servers.map(|server| async move { server.queue.admission.admit_due().await })).await {
        result.unwrap();
    }
}
