//! The OpenAPI document and its page. Every test client checks that answers match the document.

use axum::http::Method;
use concert_reservation::{demo, interfaces::http::router::document};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, TestApp, invalid_examples};

#[test]
fn every_example_is_valid() {
    let wrong = invalid_examples();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn fields_that_always_have_a_value_are_required_and_not_nullable() {
    let document = serde_json::to_value(document(None)).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas.iter().filter(|(name, _)| name.ends_with("Response")) {
        let properties: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(schema["required"].as_array().unwrap().len(), properties.len(), "{name}: {properties:?}");
    }
    let mut parameters = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(operation["security"].is_array(), "{path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                parameters += 1;
                assert!(!parameter["schema"].to_string().contains("\"null\""), "{path}: {parameter}");
            }
        }
    }
    assert!(parameters > 50, "{parameters}");
    assert_eq!(document["servers"][0]["url"], "/");
}

#[test]
fn demo_accounts_are_documented_on_demo_servers_only() {
    let text = |demo| serde_json::to_string(&document(demo)).unwrap();
    assert!(!text(None).contains("demo-password-1") && !text(None).contains("demo.example"));
    let demo = text(Some(&demo::accounts()));
    assert!(["alice@demo.example", "admin@demo.example", "demo-password-1"].iter().all(|word| demo.contains(word)));
    let first = |word: &str| demo.find(word).unwrap();
    assert!(first("\"/api/v1/users\"") < first("\"/api/v1/auth/login\""), "a journey begins with signing up");
    assert!(first("\"info\"") < first("\"paths\"") && first("\"paths\"") < first("\"components\""));
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn swagger_ui_keeps_tokens(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    let script = anonymous.get("/swagger-ui/swagger-initializer.js").await.expect(200);
    let script = String::from_utf8(script.bytes).unwrap();
    assert!(script.contains("\"persistAuthorization\": true"), "{script}");
    assert!(script.contains("/api-docs/openapi.json"), "{script}");
}

/// The examples refer to the demo data.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_request_example_is_accepted_unchanged(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    demo::seed(&app.instances[0].shared).await.unwrap();
    let document = app.anonymous().get("/api-docs/openapi.json").await.expect(200).json();
    let log_in = async |email: &str| {
        let credentials = json!({"email": email, "password": "demo-password-1"});
        let reply = app.anonymous().post("/api/v1/auth/login", credentials).await.expect(200);
        app.anonymous().with_token(reply.text("accessToken"), reply.text("userId").parse().unwrap())
    };
    let (admin, alice) = (log_in("admin@demo.example").await, log_in("alice@demo.example").await);
    let concerts = alice.get("/api/v1/concerts").await.expect(200).json();
    assert_eq!(concerts["items"].as_array().unwrap().len(), 3, "{concerts}");
    let joined = alice.post("/api/v1/queue/tokens", json!({"concertId": 1})).await.expect(201);
    app.tick().await;
    let alice = alice.with_queue_token(&joined.text("queueToken"));
    let mut sent = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_administration = path.starts_with("/api/v1/admin/");
            let client = if is_administration { &admin } else { &alice };
            for body in request_examples(&document, operation) {
                sent += 1;
                send_example(client, method, path, body).await;
            }
        }
    }
    assert!(sent >= 14, "{sent}");
}

async fn send_example(client: &Client, method: &str, path: &str, body: Value) {
    let (method, key) = (method.to_uppercase().parse::<Method>().unwrap(), uuid::Uuid::now_v7().to_string());
    let id = "01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10";
    let filled = path
        .replace("{concertId}", "1")
        .replace("{performanceId}", "1")
        .replace("{webhookId}", id)
        .replace("{userId}", id)
        .replace("{bookingId}", id);
    let reply = client.send(method.clone(), &filled, &[("Idempotency-Key", &key)], Some(body.clone())).await;
    let status = reply.status.as_u16();
    // An example can't contain the tokens, codes, ids and passwords of a journey.
    let unknown = [
        "/auth/refresh",
        "/payments",
        "/{userId}",
        "/{userId}/points",
        "/{bookingId}/cancel",
        "/admin/bookings",
        "/me/password",
        "/admissions",
        "/confirm",
        "/{provider}/events",
        "/{topUpId}/refund",
    ];
    let names_the_unknown = unknown.iter().any(|end| path.ends_with(end));
    let is_accepted = reply.status.is_success() || (names_the_unknown && matches!(status, 401 | 404));
    // Both kinds of hold together exceed the seat limit, or name seats that are taken.
    let is_second_hold = path.ends_with("/bookings") && status == 409;
    // The server has no payment provider.
    let is_purchase = path.ends_with("/points/top-ups") && status == 409;
    assert!(is_accepted || is_second_hold || is_purchase, "{method} {path}: {body}: {reply:?}");
}

/// The example bodies of the page.
fn request_examples(document: &Value, operation: &Value) -> Vec<Value> {
    let content = &operation["requestBody"]["content"]["application/json"];
    let named: Vec<_> =
        content["examples"].as_object().into_iter().flatten().map(|(_, it)| it["value"].clone()).collect();
    if !named.is_empty() || content.is_null() {
        return named;
    }
    vec![sample(document, &content["schema"])]
}

/// Builds a body from the examples of a schema's properties, as Swagger UI does.
fn sample(document: &Value, schema: &Value) -> Value {
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return example.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return sample(document, document.pointer(&reference[1..]).unwrap());
    }
    if let Some(choice) = schema["oneOf"].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null")) {
        return sample(document, choice);
    }
    if schema.get("items").is_some() {
        return json!([sample(document, &schema["items"])]);
    }
    let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("no example of {schema}"));
    properties.iter().map(|(name, property)| (name.clone(), sample(document, property))).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn created_resources_have_a_location_header(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "100000").await;
    let hold = json!({"performanceId": sale.performance_id, "seatIds": [sale.seats[0]]});
    let held = buyer.post_keyed("/api/v1/bookings", "hold", hold.clone()).await.expect(201);
    let booking = held.text("bookingId");
    assert_eq!(held.header("location"), format!("/api/v1/bookings/{booking}"));
    let again = buyer.post_keyed("/api/v1/bookings", "hold", hold).await.expect(201);
    assert_eq!((again.header("idempotency-replayed"), again.header("location")), ("true", held.header("location")));
    buyer.get(held.header("location")).await.expect(200);
    let refused = buyer.hold(sale.performance_id, &[sale.seats[0]]).await.expect(409);
    assert_eq!(refused.header("location"), "");
    let paid = buyer.pay(&booking, "pay").await.expect(201);
    assert_eq!(paid.header("location"), format!("/api/v1/payments/{}", paid.text("paymentId")));
    buyer.get(paid.header("location")).await.expect(200);
}
