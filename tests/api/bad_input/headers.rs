//! Headers.

use axum::http::Method;
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use super::Scene;

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn unusual_headers_do_no_harm(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let anonymous = scene.app.anonymous();
    let long = "x".repeat(20_000);
    for id in ["a", "0192-a_b.c:9", &"A".repeat(128)] {
        for path in ["/api/v1/concerts", "/nowhere", "/api/v1/points"] {
            let reply = anonymous.send(Method::GET, path, &[("X-Request-Id", id)], None).await;
            assert_eq!(reply.header("x-request-id"), id, "{path}");
            if !reply.status.is_success() {
                assert_eq!(reply.text("requestId"), id, "{path}");
            }
        }
    }
    let mut made = Vec::new();
    for id in ["", " ", "a b", "a\tb", "<script>", "\"", "{}", "a,b", "%0A", &"A".repeat(129), &long] {
        let reply = anonymous.send(Method::GET, "/nowhere", &[("X-Request-Id", id)], None).await;
        let reply = scene.assert_refused(reply, (404, "NOT_FOUND"), id).await;
        made.push(reply.text("requestId"));
    }
    made.push(anonymous.get("/livez").await.expect(200).header("x-request-id").to_owned());
    assert!(made.iter().all(|id| id.parse::<Uuid>().is_ok()), "{made:?}");
    let count = made.len();
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), count, "{made:?}");

    let seats = format!("/api/v1/performances/{}/seats", scene.sale.performance_id);
    let without = scene.buyer.clone().without_queue_token();
    for (client, path, header, expected) in [
        (&anonymous, "/api/v1/points", "Authorization", (401, "UNAUTHENTICATED")),
        (&without, &seats, "Queue-Token", (401, "QUEUE_TOKEN_INVALID")),
        (&anonymous, "/api/v1/queue/tokens/current", "Queue-Token", (401, "QUEUE_TOKEN_INVALID")),
    ] {
        for value in ["x", "\t", "Bearer x", &long] {
            let reply = client.send(Method::GET, path, &[(header, value)], None).await;
            let expected =
                if value == "\t" && header == "Queue-Token" { (401, "QUEUE_TOKEN_REQUIRED") } else { expected };
            scene.assert_refused(reply, expected, &format!("{path} {header} {value:.60}")).await;
        }
    }
    for path in ["/api/v1/points", &seats] {
        let headers = [("If-None-Match", &*long), ("Accept", &long), ("Range", "bytes=0-1"), ("Cookie", &long)];
        scene.buyer.send(Method::GET, path, &headers, None).await.expect(200);
    }
    let amount = Some(json!({"amount": "1"}));
    let headers = [("Idempotency-Key", &*long)];
    let reply = scene.buyer.send(Method::POST, "/api/v1/points/charges", &headers, amount.clone()).await;
    scene.assert_refused(reply, (400, "IDEMPOTENCY_KEY_REQUIRED"), "a long key").await;
    let headers = [("Idempotency-Key", "k"), ("If-Match", &*long)];
    let reply = scene.buyer.send(Method::POST, "/api/v1/points/charges", &headers, amount).await;
    scene.assert_refused(reply, (412, "PRECONDITION_FAILED"), "a long If-Match").await;
}
