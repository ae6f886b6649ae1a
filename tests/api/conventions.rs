//! Rules for every request: headers, queries, paths, text.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tokio::io::AsyncWriteExt;

use crate::support::{Client, Connection, Reply, TestApp, with_server};

const CONCERTS: &str = "/api/v1/concerts";

fn account(email: &str, password: &str, name: &str) -> Value {
    json!({"email": email, "password": password, "name": name})
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_compressed_body_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    let body = account("jin@example.org", "correct horse battery", "Jin").to_string();
    let send = async |encoding: &str| {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", encoding)];
        anonymous.send_raw(Method::POST, "/api/v1/users", &headers, body.clone()).await
    };
    for encoding in ["gzip", "br", "identity, gzip", "nonsense"] {
        let reply = send(encoding).await.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
        assert_eq!(reply.header("accept-encoding"), "identity", "{encoding}");
    }
    send("Identity").await.expect(201);
    // An optional body is read if it is present.
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer(&sale).await;
    let booking = buyer.hold(sale.performance_id, &sale.seats).await.expect(201).text("bookingId");
    let cancel = format!("/api/v1/bookings/{booking}/cancel");
    let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    buyer.send_raw(Method::POST, &cancel, &headers, "{}").await.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
    buyer.send_raw(Method::POST, &cancel, &headers, "").await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_repeated_single_valued_header_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer(&sale).await;
    let bearer = format!("Bearer {}", buyer.token());
    let seats = format!("/api/v1/performances/{}/seats", sale.performance_id);
    let anonymous = app.anonymous();
    let twice = async |name: &str, value: &str, path: &str| {
        let request = Request::get(path).header(name, value).header(name, value);
        anonymous.send_request(request.body(Body::empty()).unwrap()).await
    };
    twice("Authorization", &bearer, "/api/v1/users/me").await.expect_problem(400, "MALFORMED_REQUEST");
    twice("Queue-Token", buyer.queue_token(), &seats).await.expect_problem(400, "MALFORMED_REQUEST");
    twice("Queue-Token", buyer.queue_token(), "/api/v1/queue/tokens/current")
        .await
        .expect_problem(400, "MALFORMED_REQUEST");
    let charge = Request::post("/api/v1/points/charges")
        .header("Authorization", &bearer)
        .header("Idempotency-Key", "a")
        .header("Idempotency-Key", "a")
        .header("Content-Type", "application/json");
    let charge = charge.body(Body::from(json!({"amount": "1"}).to_string())).unwrap();
    app.anonymous().send_request(charge).await.expect_problem(400, "MALFORMED_REQUEST");
    assert_eq!(buyer.balance().await, "0");
    // Lists may come in several lines.
    let request = Request::get("/api/v1/points").header("Authorization", &bearer);
    let request = request.header("If-None-Match", "\"7\"").header("If-None-Match", "\"0\"");
    app.anonymous().send_request(request.body(Body::empty()).unwrap()).await.expect(304);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_repeated_query_parameter_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    for (query, parameters) in [
        ("limit=1&limit=1", vec!["limit"]),
        ("limit=1&limit=x", vec!["limit"]),
        ("cursor=x&cursor=x", vec!["cursor"]),
        ("query=a&category=b&query=a&category=b&from=bad", vec!["query", "category", "from"]),
        ("zebra=1&zebra=2", vec!["zebra"]),
        ("query=a&%71uery=b", vec!["query"]),
    ] {
        let reply = anonymous.get(&format!("{CONCERTS}?{query}")).await.expect_problem(422, "VALIDATION_FAILED");
        let named = reply.json()["errors"].as_array().unwrap().clone();
        let mut named: Vec<_> = named.iter().map(|error| error["parameter"].as_str().unwrap().to_owned()).collect();
        let mut expected = parameters;
        named.sort_unstable();
        expected.sort_unstable();
        assert_eq!(named, expected, "{query}");
    }
    anonymous.get(&format!("{CONCERTS}?limit=1&query=a&category=")).await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_id_in_a_path_has_one_spelling(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer(&sale).await;
    let booking = buyer.hold(sale.performance_id, &sale.seats).await.expect(201).text("bookingId");
    let get = async |id: &str| buyer.get(&format!("/api/v1/bookings/{id}")).await;
    get(&booking).await.expect(200);
    get(&booking.to_uppercase()).await.expect(200);
    for other in
        [format!("%7B{booking}%7D"), format!("urn:uuid:{booking}"), booking.replace('-', ""), format!("{booking}%20")]
    {
        get(&other).await.expect_problem(404, "BOOKING_NOT_FOUND");
    }
    for other in [format!("{{{booking}}}"), format!("urn:uuid:{booking}"), booking.replace('-', "")] {
        let refused = buyer.pay(&other, "pay").await.expect_problem(422, "VALIDATION_FAILED").json();
        assert_eq!(refused["errors"][0]["pointer"], "/bookingId", "{other}");
    }
    buyer.get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect(200);
    buyer.get(&format!("/api/v1/concerts/0{}", sale.concert_id)).await.expect_problem(404, "CONCERT_NOT_FOUND");
    let query = format!("/api/v1/admin/bookings?concertId=0{}", sale.concert_id);
    app.admin().await.get(&query).await.expect_problem(422, "VALIDATION_FAILED");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn text_is_normalised_where_it_enters(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    let (composed, decomposed) = ("r\u{e9}my", "re\u{301}my");
    let email = |name: &str| format!("{name}@example.org");
    let password = |name: &str| format!("{name} {name} {name}");
    let body = account(&email(decomposed), &password(decomposed), &format!("  {decomposed} "));
    let user = anonymous.post("/api/v1/users", body).await.expect(201).json();
    assert_eq!((user["name"].as_str(), user["email"].as_str()), (Some(composed), Some(&*email(composed))));
    anonymous
        .post("/api/v1/users", account(&email(composed), &password("other"), "Jin"))
        .await
        .expect_problem(409, "EMAIL_TAKEN");
    for name in [composed, decomposed] {
        let login = json!({"email": email(name), "password": password(name)});
        anonymous.post("/api/v1/auth/login", login).await.expect(200);
    }
    let admin = app.admin().await;
    let concert = json!({"title": format!("Caf{}", "e\u{301}"), "artist": "Zo\u{eb}", "category": "Chanson"});
    let created = admin.post("/api/v1/admin/concerts", concert).await.expect(201).json();
    assert_eq!(created["title"], "Caf\u{e9}");
}

async fn sign_up(client: &Client, email: &str, name: &str) -> Reply {
    client.post("/api/v1/users", account(email, "correct horse battery", name)).await
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn names_with_hidden_characters_are_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    for hidden in
        "\u{202e}\u{200f}\u{2066}\u{61c}\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}\u{34f}\u{180e}\u{e0041}".chars()
    {
        let name = format!("Ji{hidden}n");
        let reply = sign_up(&anonymous, "jin@example.org", &name).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(reply.json()["errors"][0]["pointer"], "/name", "{hidden:?}");
        let email = format!("ji{hidden}n@example.org");
        let reply = sign_up(&anonymous, &email, "Jin").await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(reply.json()["errors"][0]["pointer"], "/email", "{hidden:?}");
    }
    for blank in ["\u{3164}", "\u{2800}\u{2800}", "\u{301}", "\u{ad}", "\u{115f} \u{ffa0}", "\u{fe0f}"] {
        sign_up(&anonymous, "jin@example.org", blank).await.expect_problem(422, "VALIDATION_FAILED");
    }
    for (number, name) in ["김진", "Zoë", "محمد", "🎸", "!", "O'Brien-Smith"].into_iter().enumerate() {
        sign_up(&anonymous, &format!("jin{number}@example.org"), name).await.expect(201);
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_webhook_needs_a_valid_host_and_port(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let admin = app.admin().await;
    for url in [
        "http:///example.org/",
        "http:example.org",
        "http:/example.org/",
        "https:\\\\example.org/",
        "http://example.org:0/",
        "https:///",
    ] {
        let body = json!({"url": url, "types": ["booking.held"]});
        let reply = admin.post("/api/v1/admin/webhooks", body).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(reply.json()["errors"][0]["pointer"], "/url", "{url}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_client_that_closes_its_sending_side_is_answered(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[], |address, stages| async move {
        // Hashing a password takes long: the client's end arrives well before the answer.
        let body = account("jin@example.org", "correct horse battery", "Jin").to_string();
        let mut client = Connection::open(address).await;
        let length = body.len();
        let request = format!(
            "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n\
             {body}"
        );
        client.send(&request).await;
        client.0.shutdown().await.unwrap();
        let (head, _) = client.answer().await;
        assert!(head.starts_with("http/1.1 201"), "{head}");
        client.closed().await;
        stages.draining.cancel();
    })
    .await;
}

/// Some of these never reach the routes: the parser of requests refuses them.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn requests_that_are_too_long_are_problems(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[], |address, stages| async move {
        let path = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(length));
        let header =
            |length: usize| format!("GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(length));
        let many = format!("GET /livez HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: a\r\n".repeat(200));
        for (request, status, code) in [
            (path(60_000), 404, "NOT_FOUND"),
            (path(70_000), 414, "URI_TOO_LONG"),
            // Refused before the end of the path was read.
            (path(2_000_000), 431, "HEADERS_TOO_LARGE"),
            (header(70_000), 431, "HEADERS_TOO_LARGE"),
            (header(300_000), 431, "HEADERS_TOO_LARGE"),
            (header(2_000_000), 431, "HEADERS_TOO_LARGE"),
            (many, 431, "HEADERS_TOO_LARGE"),
        ] {
            let start = &request[..20];
            let mut client = Connection::open(address).await;
            // The server may have stopped reading long before the end.
            let _ = client.0.write_all(request.as_bytes()).await;
            let (head, body) = client.answer().await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{start} of {}: {head}", request.len());
            assert!(head.contains("content-type: application/problem+json"), "{head}");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["code"], code, "{problem}");
            let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("it has an id");
            assert_eq!(problem["requestId"], id, "{problem}");
        }
        Connection::open(address).await.expect("GET /livez?abc", 200).await;
        stages.draining.cancel();
    })
    .await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_path_that_is_not_text_is_not_found(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    for path in ["/%FF", "/api/v1/%00", "/api/v1/concerts/%FF%FE", "/api/v1//concerts", "/api/v1/concerts/", "/..%2f"] {
        let reply = app.anonymous().get(path).await;
        assert_eq!(reply.status.as_u16(), 404, "{path}");
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}");
        assert!(!reply.header("x-request-id").is_empty(), "{path}");
    }
}
