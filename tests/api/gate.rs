//! The gate: every gated route with every kind of queue token, and the authorization of all routes.

use std::collections::BTreeSet;

use axum::http::Method;
use concert_reservation::interfaces::http::{
    paths::BASE_PATH,
    router::{document, gated_routes},
};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, Sale, TestApp};

/// A gated route and its requests.
struct Gated {
    method: Method,
    template: &'static str,
    /// The path and the body for a performance, one of its seats and a booking.
    request: fn(&Target) -> (String, Option<Value>),
    /// An invalid body, if the route reads one.
    bad_body: Option<Value>,
}

/// The resources that a request names.
#[derive(Clone)]
struct Target {
    performance: u64,
    seat: u64,
    booking: String,
}

fn gated() -> Vec<Gated> {
    vec![
        Gated {
            method: Method::GET,
            template: "/performances/{performanceId}/seats",
            request: |target| (format!("{BASE_PATH}/performances/{}/seats", target.performance), None),
            bad_body: None,
        },
        Gated {
            method: Method::GET,
            template: "/performances/{performanceId}/seats/events",
            request: |target| (format!("{BASE_PATH}/performances/{}/seats/events", target.performance), None),
            bad_body: None,
        },
        Gated {
            method: Method::POST,
            template: "/bookings",
            request: |target| {
                let body = json!({"performanceId": target.performance, "seatIds": [target.seat]});
                (format!("{BASE_PATH}/bookings"), Some(body))
            },
            bad_body: Some(json!({"performanceId": 1, "seatIds": []})),
        },
        Gated {
            method: Method::POST,
            template: "/bookings/{bookingId}/extend",
            request: |target| (format!("{BASE_PATH}/bookings/{}/extend", target.booking), None),
            bad_body: Some(json!({"minutes": 2})),
        },
        Gated {
            method: Method::POST,
            template: "/payments",
            request: |target| (format!("{BASE_PATH}/payments"), Some(json!({"bookingId": target.booking}))),
            bad_body: Some(json!({"bookingId": "x"})),
        },
    ]
}

impl Gated {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    async fn ask(&self, client: &Client, queue_token: Option<&str>, target: &Target) -> Reply {
        let (path, body) = (self.request)(target);
        let key = uuid::Uuid::now_v7().to_string();
        let mut headers = vec![("Idempotency-Key", key.as_str())];
        headers.extend(queue_token.map(|token| ("Queue-Token", token)));
        client.clone().without_queue_token().send(self.method.clone(), &path, &headers, body).await
    }
}

/// Operations of an OpenAPI document by `METHOD path`.
fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Ok(method) = method.to_uppercase().parse::<Method>()
                && operation.get("responses").is_some()
            {
                operations.push((method, path.clone(), operation.clone()));
            }
        }
    }
    operations
}

fn needs(operation: &Value, scheme: &str) -> bool {
    operation["security"].as_array().is_some_and(|all| all.iter().any(|one| one.get(scheme).is_some()))
}

fn whole_document() -> Value {
    serde_json::to_value(document(None)).unwrap()
}

#[test]
fn the_gated_routes_are_those_documented_and_tested_as_gated() {
    let routed = serde_json::to_value(gated_routes().into_openapi()).unwrap();
    let routed: BTreeSet<_> =
        operations(&routed).into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let tested: BTreeSet<_> = gated().iter().map(Gated::name).collect();
    assert_eq!(tested, routed, "every gated route has its row in the table above");

    let documented: BTreeSet<_> = operations(&whole_document())
        .into_iter()
        .filter(|(_, _, operation)| needs(operation, "queueToken") && needs(operation, "accessToken"))
        .map(|(method, path, _)| format!("{method} {}", path.strip_prefix(BASE_PATH).unwrap()))
        .collect();
    assert_eq!(documented, routed, "what says that it needs both tokens is gated, and nothing else");
}

/// A kind of queue token, the client that presents it, the resources, and the expected answer.
struct Kind {
    name: &'static str,
    client: Client,
    token: String,
    target: Target,
    expected: (u16, &'static str),
}

/// A sale, and every kind of token that its gates refuse.
struct Cast {
    sale: Sale,
    kinds: Vec<Kind>,
}

/// The sale's last seat and a booking: an unknown one if there is none.
fn target(sale: &Sale, booking: Option<String>) -> Target {
    let booking = booking.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    Target { performance: sale.performance_id, seat: sale.seats[9], booking }
}

impl Cast {
    async fn assemble(app: &TestApp) -> Self {
        let (sale, other) = (app.sale(1, 10).await, app.sale(1, 1).await);
        let mut kinds = Vec::new();
        let mut add = |name, client: &Client, token: &str, target, expected| {
            kinds.push(Kind { name, client: client.clone(), token: token.to_owned(), target, expected });
        };
        let ended = (403, "QUEUE_TOKEN_EXPIRED");

        sale.set_queue(app, json!({"mode": "OPEN", "activeSeconds": 10})).await;
        let expired = app.buyer(&sale).await;
        add("expired", &expired, expired.queue_token(), target(&sale, None), ended);
        app.advance(10);
        sale.set_queue(app, json!({"mode": "OPEN"})).await;

        let left = app.buyer(&sale).await;
        let booking = left.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
        left.delete("/api/v1/queue/tokens/current").await.expect(204);
        add("left", &left, left.queue_token(), target(&sale, Some(booking)), ended);

        let completed = app.buyer_with_points(&sale, "50000").await;
        let booking = completed.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
        completed.pay(&booking, "pay").await.expect(201);
        add("completed", &completed, completed.queue_token(), target(&sale, Some(booking)), ended);

        let buyer = app.buyer_with_points(&sale, "100000").await;
        let booking = buyer.hold(sale.performance_id, &sale.seats[1..2]).await.expect(201).text("bookingId");
        let own = target(&sale, Some(booking));
        let stranger = app.buyer(&sale).await;
        let not_yours = (403, "QUEUE_TOKEN_NOT_YOURS");
        add("another user's", &buyer, stranger.queue_token(), own.clone(), not_yours);
        add("an ended one of another user's", &buyer, left.queue_token(), own.clone(), not_yours);
        let elsewhere = other.admit(buyer.clone()).await;
        let wrong = (403, "QUEUE_TOKEN_WRONG_CONCERT");
        add("another concert's", &buyer, elsewhere.queue_token(), own.clone(), wrong);

        let invalid = (401, "QUEUE_TOKEN_INVALID");
        let token = buyer.queue_token();
        let altered = format!("{}{}", &token[..token.len() - 1], if token.ends_with('A') { 'B' } else { 'A' });
        add("altered", &buyer, &altered, own.clone(), invalid);
        add("forged", &buyer, "forged", own.clone(), invalid);
        add("an access token", &buyer, buyer.token(), own.clone(), invalid);
        add("empty", &buyer, "", own, (401, "QUEUE_TOKEN_REQUIRED"));
        Self { sale, kinds }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_gated_route_refuses_an_inactive_token(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let Cast { sale, kinds } = Cast::assemble(&app).await;
    for route in gated() {
        for Kind { name, client, token, target, expected: (status, code) } in &kinds {
            println!("{}: {name}", route.name());
            route.ask(client, Some(token), target).await.expect_problem(*status, code);
        }
        println!("{}: none", route.name());
        let Kind { client, target, .. } = kinds.last().unwrap();
        route.ask(client, None, target).await.expect_problem(401, "QUEUE_TOKEN_REQUIRED");
    }

    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let ahead = app.user().await;
    sale.join(ahead).await;
    let waiting = app.user().await;
    let waiting = sale.join(waiting).await;
    for route in gated() {
        let reply = route.ask(&waiting, Some(waiting.queue_token()), &target(&sale, None)).await;
        let body = reply.expect_problem(403, "QUEUE_TOKEN_NOT_ACTIVE").json();
        assert_eq!(body["position"], 2, "{}: {body}", route.name());
        assert!(body["pollAfterSeconds"].as_u64().is_some_and(|seconds| seconds >= 1), "{}: {body}", route.name());
    }
    assert_eq!(sale.available(&waiting).await, 8, "no hold succeeded");
    app.assert_invariants_hold().await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_gated_route_accepts_an_active_token(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 10).await;
    for mut route in gated() {
        if route.template.ends_with("/events") {
            // A stream doesn't end, so only its head is read.
            route.method = Method::HEAD;
        }
        let buyer = app.buyer_with_points(&sale, "100000").await;
        let seat = sale.seats[usize::try_from(10 - sale.available(&buyer).await).unwrap()];
        let booking = buyer.hold(sale.performance_id, &[seat]).await.expect(201).text("bookingId");
        let reply = route.ask(&buyer, Some(buyer.queue_token()), &target(&sale, Some(booking))).await;
        assert!(reply.status.is_success(), "{}: {reply:?}", route.name());
    }
    app.assert_invariants_hold().await;
}

/// A token ends on one server by leaving or paying: the other, which accepted it a moment ago, refuses it at once.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_token_ended_on_another_server_passes_no_gate(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 2, &[("SEAT_MAP_CACHE_MILLISECONDS", "1000")]);
    let sale = app.sale(1, 10).await;
    let path = format!("{BASE_PATH}/performances/{}/seats", sale.performance_id);
    let (leaver, payer) = (app.buyer(&sale).await, app.buyer_with_points(&sale, "50000").await);
    let booking = payer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    for buyer in [&leaver, &payer] {
        for client in app.on_every_server(buyer) {
            client.get(&path).await.expect(200);
        }
    }
    app.at_instance(&leaver, 0).delete("/api/v1/queue/tokens/current").await.expect(204);
    app.at_instance(&payer, 0).pay(&booking, "pay").await.expect(201);
    for buyer in [&leaver, &payer] {
        for client in app.on_every_server(buyer) {
            client.get(&path).await.expect_problem(403, "QUEUE_TOKEN_EXPIRED");
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_head_request_is_gated_like_its_get(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer(&sale).await;
    let path = format!("{BASE_PATH}/performances/{}/seats", sale.performance_id);
    let head = buyer.send(Method::HEAD, &path, &[], None).await.expect(200);
    assert!(head.bytes.is_empty() && !head.header("etag").is_empty(), "{head:?}");
    let without = buyer.without_queue_token().send(Method::HEAD, &path, &[], None).await;
    assert_eq!(without.status.as_u16(), 401, "{without:?}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn checks_run_in_the_documented_order(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 10).await;
    let (user, buyer) = (app.user().await, app.buyer(&sale).await);
    let nowhere = Target { performance: 999_999, seat: 999_999, booking: uuid::Uuid::now_v7().to_string() };
    for route in gated() {
        let name = route.name();
        println!("{name}");
        // The bearer token is checked before everything else.
        let anonymous = app.anonymous();
        route.ask(&anonymous, Some(buyer.queue_token()), &nowhere).await.expect_problem(401, "UNAUTHENTICATED");
        route.ask(&anonymous, None, &nowhere).await.expect_problem(401, "UNAUTHENTICATED");
        let (path, _) = (route.request)(&nowhere);
        if let Some(bad) = &route.bad_body {
            let key = [("Idempotency-Key", "k")];
            let unknown = anonymous.send(route.method.clone(), &path, &key, Some(bad.clone())).await;
            unknown.expect_problem(401, "UNAUTHENTICATED");
            // The body is checked before the queue token.
            let refused = user.send(route.method.clone(), &path, &key, Some(bad.clone())).await;
            refused.expect_problem(422, "VALIDATION_FAILED");
            let json = [("Content-Type", "application/json"), ("Idempotency-Key", "k")];
            let garbage = user.send_raw(route.method.clone(), &path, &json, "{").await;
            garbage.expect_problem(400, "MALFORMED_REQUEST");
            // So is the key.
            let (path, body) = (route.request)(&nowhere);
            let no_key = user.send(route.method.clone(), &path, &[("Idempotency-Key", "")], body).await;
            no_key.expect_problem(400, "IDEMPOTENCY_KEY_REQUIRED");
        }
        // Unknown resources are reported after the queue token's check.
        route.ask(&user, None, &nowhere).await.expect_problem(401, "QUEUE_TOKEN_REQUIRED");
        let missing = route.ask(&buyer, Some(buyer.queue_token()), &nowhere).await;
        assert_eq!(missing.status.as_u16(), 404, "{name}: {missing:?}");
    }
}

/// A path with a value for every parameter.
fn filled(template: &str) -> String {
    template
        .split('/')
        .map(|part| match part {
            "{bookingId}" | "{paymentId}" | "{eventId}" => "0193a0f0-0000-7000-8000-000000000000",
            part if part.starts_with('{') => "1",
            part => part,
        })
        .collect::<Vec<_>>()
        .join("/")
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn protected_routes_need_a_login_and_administration_an_administrator(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = TestApp::start(options);
    let (anonymous, user) = (app.anonymous(), app.user().await);
    let forged = app.anonymous().with_token("forged".to_owned(), user.user_id());
    let mut administration = 0;
    for (method, path, operation) in operations(&whole_document()) {
        let is_administration = path.starts_with("/api/v1/admin/");
        assert_eq!(operation["tags"] == json!(["administration"]), is_administration, "{method} {path}");
        assert!(!is_administration || needs(&operation, "accessToken"), "{method} {path}");
        if !needs(&operation, "accessToken") {
            continue;
        }
        println!("{method} {path}");
        let path = filled(&path);
        for client in [&anonymous, &forged] {
            let refused = client.send(method.clone(), &path, &[], None).await.expect_problem(401, "UNAUTHENTICATED");
            assert!(refused.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
        }
        if is_administration {
            administration += 1;
            user.send(method.clone(), &path, &[], None).await.expect_problem(403, "FORBIDDEN");
            user.send(method.clone(), &path, &[], Some(json!({"x": 1}))).await.expect_problem(403, "FORBIDDEN");
        }
    }
    assert!(administration >= 11, "{administration}");
}
