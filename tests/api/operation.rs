//! Endpoints for operators, and the middleware around every request.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Method, StatusCode},
    middleware::from_fn_with_state,
    routing::get,
};
use concert_reservation::interfaces::http::{
    middleware::{assign_request_id, convert_failures},
    problem::{CODES_OUTSIDE_OPERATIONS, Code},
};
use serde_json::Value;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, TestApp};

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_server_answers_probes_and_names_its_version(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    anonymous.get("/livez").await.expect(200);
    anonymous.get("/readyz").await.expect(200);
    let version = anonymous.get("/version").await.expect(200).json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"), "{version}");
    app.instances[0].shared.draining.cancel();
    anonymous.get("/readyz").await.expect_problem(503, "DRAINING");
    anonymous.get("/livez").await.expect(200);
}

#[sqlx::test(migrations = false)]
async fn a_server_without_database_or_schema_is_not_ready(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    app.anonymous().get("/readyz").await.expect_problem(503, "DATABASE_UNAVAILABLE");
    app.anonymous().get("/livez").await.expect(200);
    let app = TestApp::start(options.database("there_is_no_such_database"));
    app.anonymous().get("/readyz").await.expect_problem(503, "DATABASE_UNAVAILABLE");
    app.anonymous().get("/livez").await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn requests_are_measured(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    anonymous.get("/api/v1/concerts/1").await.expect(404);
    let metrics = anonymous.get("/metrics").await.expect(200);
    assert!(metrics.header("content-type").starts_with("text/plain"), "{}", metrics.header("content-type"));
    let text = String::from_utf8(metrics.bytes).unwrap();
    assert!(text.contains("# TYPE http_request_seconds histogram"), "{text}");
    let measured = text.lines().any(|line| {
        line.starts_with("http_request_seconds_count{")
            && ["method=\"GET\"", "route=\"/api/v1/concerts/{concertId}\"", "status=\"404\""]
                .iter()
                .all(|label| line.contains(label))
    });
    assert!(measured, "by method, route and status: {text}");
    assert!(!text.contains("/concerts/1\""), "ids are no labels: {text}");
}

/// Metrics belong to the process, in which cargo's runner also runs other tests. So the test only asserts that series
/// exist and grow, and that invalid ones don't exist.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn client_input_never_becomes_a_metric_label(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    for path in ["/zebra", "/api/v1/zebra/7", "/swagger-ui/zebra", "/problems/zebra", "/livez?zebra=1"] {
        anonymous.get(path).await;
    }
    for (method, path) in [("ZEBRA", "/livez"), ("ZEBRA", "/zebra"), ("GET", "/api/v1/concerts/zebra")] {
        anonymous.send(method.parse().unwrap(), path, &[("X-Request-Id", "zebra")], None).await;
    }
    let text = String::from_utf8(anonymous.get("/metrics").await.expect(200).bytes).unwrap();
    assert!(!text.contains("zebra") && !text.contains("ZEBRA"), "{text}");
    assert!(text.contains("route=\"unmatched\",status=\"404\"") && text.contains("method=\"OTHER\""), "{text}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_sale_is_measured(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "60000.50").await;
    let mut bookings = Vec::new();
    for seat in &sale.seats[..3] {
        bookings.push(buyer.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId"));
    }
    buyer.send(Method::POST, &format!("/api/v1/bookings/{}/extend", bookings[0]), &[], None).await.expect(200);
    buyer.send(Method::POST, &format!("/api/v1/bookings/{}/cancel", bookings[1]), &[], None).await.expect(200);
    buyer.pay(&bookings[0], "measured").await.expect(201);
    buyer.pay(&bookings[0], "measured").await.expect(201);
    buyer.send(Method::POST, &format!("/api/v1/bookings/{}/cancel", bookings[0]), &[], None).await.expect(200);
    app.advance(301);
    app.tick().await;
    sale.set_queue(&app, serde_json::json!({"mode": "QUEUE"})).await;
    let waiting = sale.join(app.user().await).await;
    app.instances[0].shared.queue.admission.measure_queue_sizes().await.unwrap();
    waiting.delete("/api/v1/queue/tokens/current").await.expect(204);
    app.assert_invariants_hold().await;
    let text = String::from_utf8(app.anonymous().get("/metrics").await.expect(200).bytes).unwrap();
    for (series, at_least) in [
        ("bookings_total{change=\"held\"}", 3.0),
        ("bookings_total{change=\"extended\"}", 1.0),
        ("bookings_total{change=\"cancelled\"}", 1.0),
        ("bookings_total{change=\"confirmed\"}", 1.0),
        ("bookings_total{change=\"refunded\"}", 1.0),
        ("bookings_total{change=\"expired\"}", 1.0),
        ("payments_total{change=\"completed\"}", 1.0),
        ("payments_total{change=\"refunded\"}", 1.0),
        ("points_moved_sum{by=\"charge\"}", 60_000.5),
        ("points_moved_sum{by=\"payment\"}", 50_000.0),
        ("points_moved_sum{by=\"refund\"}", 50_000.0),
        ("queue_admitted_total", 1.0),
        ("queue_abandoned_total{was=\"waiting\"}", 1.0),
        ("queue_waiting", 1.0),
        ("queue_active", 0.0),
        ("lane_depth{lane=\"hold\"}", 0.0),
        ("lane_wait_seconds_count{lane=\"hold\"}", 3.0),
        ("lane_batch_size_count{lane=\"settlement\"}", 4.0),
        ("database_connections{pool=\"lanes\"}", 1.0),
        ("database_acquire_seconds_count{pool=\"requests\"}", 1.0),
        ("audit_violations{invariant=\"1\"}", 0.0),
        ("server_draining", 0.0),
        ("process_resident_memory_bytes", 1_000_000.0),
        ("process_open_fds", 3.0),
    ] {
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value >= at_least), "{series} is {value:?}, not {at_least}: {text}");
    }
    for metric in concert_reservation::telemetry::metrics::METRICS {
        let is_there = text.contains(&format!("# HELP {} ", metric.name));
        let is_measured_here = text.contains(&format!("# TYPE {} ", metric.name));
        assert!(is_there || !is_measured_here, "{} is not described", metric.name);
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_api_describes_itself(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    let document = anonymous.get("/api-docs/openapi.json").await.expect(200);
    assert!(document.header("content-type").starts_with("application/json"));
    let document = document.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut documented = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
            for response in responses.values() {
                let examples = &response["content"]["application/problem+json"]["examples"];
                documented.extend(examples.as_object().into_iter().flat_map(|examples| examples.keys().cloned()));
            }
        }
    }
    let outside = CODES_OUTSIDE_OPERATIONS.map(Code::name);
    for code in Code::ALL.iter().map(|code| code.name()).filter(|name| !outside.contains(name)) {
        assert!(documented.contains(code), "no operation lists {code}");
    }

    let page = anonymous.get("/swagger-ui/").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    let page = String::from_utf8(page.bytes).unwrap();
    assert!(page.contains("swagger-ui"), "{page}");
    assert!(!page.contains("https://") && !page.contains("http://"), "it comes from this server alone: {page}");
    anonymous.get("/swagger-ui/swagger-ui-bundle.js").await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_problem_type_has_a_page(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    for code in Code::ALL {
        let page = anonymous.get(&code.page()).await.expect(200);
        assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
        let text = String::from_utf8(page.bytes).unwrap();
        assert!(text.contains(code.name()) && text.contains(&code.title()), "{}: {text}", code.name());
    }
    anonymous.get("/problems/nothing").await.expect_problem(404, "NOT_FOUND");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_response_names_its_request_id(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    let mut ids = Vec::new();
    for path in ["/livez", "/nowhere", "/api/v1/concerts", "/api/v1/points", "/swagger-ui/", "/problems/x"] {
        let kept = anonymous.send(Method::GET, path, &[("X-Request-Id", "order-17.b:3_x")], None).await;
        assert_eq!(kept.header("x-request-id"), "order-17.b:3_x", "{path}");
        if !kept.status.is_success() {
            assert_eq!(kept.json()["requestId"], "order-17.b:3_x", "{path}");
            assert_eq!(kept.json()["instance"], path);
        }
        let long = "x".repeat(129);
        for insane in ["", "two words", "<script>", &long] {
            let made = anonymous.send(Method::GET, path, &[("X-Request-Id", insane)], None).await;
            let id = made.header("x-request-id").to_owned();
            assert!(!id.is_empty() && id != insane, "{path}: {insane:?} became {id:?}");
            ids.push(id);
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "no two are the same");
    let query = anonymous.get("/api/v1/concerts?limit=0").await.expect_problem(422, "VALIDATION_FAILED");
    assert_eq!(query.json()["instance"], "/api/v1/concerts", "without the query");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn configured_cors_origins_are_allowed(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let preflight = |origin: &'static str| {
        [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type,idempotency-key,queue-token,traceparent"),
        ]
    };
    let origins = [("CORS_ALLOWED_ORIGINS", "https://shop.example.org,https://other.example.org")];
    let app = TestApp::start_with(options.clone(), 1, &origins);
    let anonymous = app.anonymous();
    let path = "/api/v1/bookings";
    let allowed = anonymous.send(Method::OPTIONS, path, &preflight("https://shop.example.org"), None).await.expect(200);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://shop.example.org");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(allowed.header("access-control-allow-methods").contains(method), "{allowed:?}");
    }
    let headers = allowed.header("access-control-allow-headers").to_lowercase();
    for header in [
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "last-event-id",
        "queue-token",
        "traceparent",
        "tracestate",
        "x-request-id",
    ] {
        assert!(headers.contains(header), "{header}: {headers}");
    }
    let origin = [("Origin", "https://other.example.org")];
    let answer = anonymous.send(Method::GET, "/api/v1/concerts", &origin, None).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://other.example.org");
    let exposed = answer.header("access-control-expose-headers").to_lowercase();
    for header in ["etag", "retry-after", "x-request-id", "idempotency-replayed"] {
        assert!(exposed.contains(header), "{header}: {exposed}");
    }
    // The page can read a problem as well.
    let problem = anonymous.send(Method::GET, "/api/v1/points", &origin, None).await.expect(401);
    assert_eq!(problem.header("access-control-allow-origin"), "https://other.example.org");
    let missing = anonymous.send(Method::GET, "/nowhere", &origin, None).await.expect(404);
    assert_eq!(missing.header("access-control-allow-origin"), "https://other.example.org");
    let stranger = anonymous.send(Method::OPTIONS, path, &preflight("https://evil.example.org"), None).await;
    assert_eq!(stranger.header("access-control-allow-origin"), "");

    let closed = TestApp::start(options).anonymous();
    let refused = closed.send(Method::OPTIONS, path, &preflight("https://shop.example.org"), None).await;
    assert_eq!(refused.header("access-control-allow-origin"), "", "no origin is allowed unless it is configured");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn head_answers_as_get_without_a_body(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let user = app.user().await;
    for path in ["/livez", "/version", "/api/v1/concerts", "/api/v1/points", "/api/v1/bookings", "/problems/not-found"]
    {
        let (get, head) =
            (user.get(path).await.expect(200), user.send(Method::HEAD, path, &[], None).await.expect(200));
        assert!(head.bytes.is_empty(), "{path}");
        for header in ["content-type", "etag", "cache-control"] {
            assert_eq!(head.header(header), get.header(header), "{path}: {header}");
        }
    }
    assert_eq!(user.send(Method::HEAD, "/nowhere", &[], None).await.status.as_u16(), 404);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn long_responses_are_compressed_when_accepted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(10, 10).await;
    let buyer = app.buyer(&sale).await;
    let path = "/api-docs/openapi.json";
    let plain = buyer.get(path).await.expect(200);
    assert_eq!(plain.header("content-encoding"), "");
    let compressed = buyer.send(Method::GET, path, &[("Accept-Encoding", "gzip")], None).await.expect(200);
    assert_eq!(compressed.header("content-encoding"), "gzip");
    let varies = compressed.headers.get_all("vary").iter().any(|value| value.as_bytes() == b"accept-encoding");
    assert!(varies, "{compressed:?}");
    assert!(compressed.bytes.len() < plain.bytes.len() / 2 && compressed.bytes.starts_with(&[0x1f, 0x8b]));
    let short = buyer.send(Method::GET, "/livez", &[("Accept-Encoding", "gzip")], None).await.expect(200);
    assert_eq!(short.header("content-encoding"), "", "not worth it");
    let path = format!("/api/v1/performances/{}/seats", sale.performance_id);
    let tagged = buyer.send(Method::GET, &path, &[("Accept-Encoding", "gzip")], None).await.expect(200);
    assert_eq!(tagged.header("content-encoding"), "", "its ETag names these bytes");
}

/// A response that begins in time may take longer, as streams do.
#[sqlx::test(migrations = false)]
async fn a_request_beyond_its_time_limit_is_a_timeout(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_with(options, 1, &[("REQUEST_TIMEOUT_SECONDS", "1")]);
    let shared = &app.instances[0].shared;
    let late = || async {
        let word = futures::stream::once(async {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            Ok::<_, Infallible>("late")
        });
        Body::from_stream(word)
    };
    let router = Router::new()
        .route("/never", get(std::future::pending::<StatusCode>))
        .route("/late", get(late))
        .layer(from_fn_with_state(shared.clone(), convert_failures))
        .layer(from_fn_with_state(shared.clone(), assign_request_id));
    let client = Client::new(router);
    let (never, late) = tokio::join!(client.get("/never"), client.get("/late"));
    never.expect_problem(504, "TIMEOUT");
    assert_eq!(late.expect(200).bytes, b"late");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn refusals_of_the_framework_are_problems(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let user = app.user().await;
    for path in ["/nowhere", "/api/v1", "/api/v1/", "/api/v2/concerts", "/api/v1/concerts/", "/api/v1/%2e%2e"] {
        user.get(path).await.expect_problem(404, "NOT_FOUND");
    }
    for (method, path, allowed) in [
        (Method::DELETE, "/api/v1/concerts", "GET"),
        (Method::PUT, "/api/v1/bookings", "POST"),
        (Method::GET, "/api/v1/payments/x/y", ""),
        (Method::POST, "/livez", "GET"),
        (Method::PATCH, "/api/v1/queue/tokens/current", "DELETE"),
        (Method::DELETE, "/api/v1/performances/1/seats", "GET"),
        (Method::PUT, "/api/v1/bookings/x/extend", "POST"),
    ] {
        // The client makes no difference.
        for client in [&user, &app.anonymous()] {
            let reply = client.send(method.clone(), path, &[], None).await;
            if allowed.is_empty() {
                reply.expect_problem(404, "NOT_FOUND");
            } else {
                let refused = reply.expect_problem(405, "METHOD_NOT_ALLOWED");
                assert!(refused.header("allow").contains(allowed), "{method} {path}: {}", refused.header("allow"));
            }
        }
    }
    let json = [("Content-Type", "application/json")];
    let large = user.send_raw(Method::POST, "/api/v1/bookings", &json, vec![b' '; 64 * 1024 + 1]).await;
    large.expect_problem(413, "PAYLOAD_TOO_LARGE");
    let admin = app.admin().await;
    let large = admin.send_raw(Method::POST, "/api/v1/admin/venues", &json, vec![b' '; 1024 * 1024 + 1]).await;
    large.expect_problem(413, "PAYLOAD_TOO_LARGE");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let form = user.send_raw(Method::POST, "/api/v1/queue/tokens", &form, "concertId=1").await;
    form.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let broken: Value = user
        .send_raw(Method::POST, "/api/v1/queue/tokens", &json, "{\"concertId\":")
        .await
        .expect_problem(400, "MALFORMED_REQUEST")
        .json();
    assert!(!broken["detail"].as_str().unwrap().contains("serde"), "{broken}");
}
