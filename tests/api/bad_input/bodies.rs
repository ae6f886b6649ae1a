//! Bodies: their syntax, structure, size and content type.

use axum::http::Method;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use super::{INVALID, MALFORMED, Scene, TOO_LARGE, WRONG_TYPE};

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_body_that_is_not_json_is_malformed(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    for endpoint in scene.endpoints() {
        let bodies: [&[u8]; 16] = [
            b"",
            b" ",
            b"{",
            b"}",
            b"nul",
            b"NaN",
            b"'x'",
            br#"{"a":1,}"#,
            br#"{"a":01}"#,
            br#"{"a" 1}"#,
            b"{} {}",
            b"\0",
            b"\xff",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\x01\"}",
            b"\xef\xbb\xbf{}",
        ];
        for body in bodies {
            if body.is_empty() && endpoint.needs_nothing() {
                continue;
            }
            let reply = endpoint.send(Some("application/json"), body).await;
            let why = format!("{} {:?}", endpoint.path, String::from_utf8_lossy(body));
            scene.assert_refused(reply, MALFORMED, &why).await;
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_body_that_is_not_an_object_or_too_deep_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let lists = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for endpoint in scene.endpoints() {
        for body in ["[]", r#""x""#, "1", "-1.5e3", "null", "true", &lists(200), &lists(30_000)] {
            scene.assert_names(&endpoint, body, &[""]).await;
        }
        let objects = |depth| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let mut missing: Vec<_> =
            endpoint.places().into_iter().filter(|place| place.matches('/').count() == 1).collect();
        missing.retain(|place| !endpoint.is_optional(place).0);
        if endpoint.is_optional("/title").0 {
            // At least one field is required.
            missing.push(String::new());
        }
        missing.push("/a".to_owned());
        let missing: Vec<_> = missing.iter().map(String::as_str).collect();
        for depth in [200, 10_000] {
            scene.assert_names(&endpoint, &objects(depth), &missing).await;
        }
        for place in endpoint.places() {
            let is_object = endpoint.good.pointer(&place).unwrap().is_object();
            let deep = if is_object { lists(200) } else { objects(200) };
            scene.assert_names(&endpoint, &endpoint.with_literal(&place, &deep), &[&place]).await;
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_body_that_is_too_large_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    for endpoint in scene.endpoints() {
        let limit = endpoint.limit();
        let why = &endpoint.path;
        let padded = |bytes: usize| format!("[{}]", " ".repeat(bytes - 2));
        let reply = endpoint.send(Some("application/json"), padded(limit)).await;
        scene.assert_refused(reply, INVALID, why).await;
        for bytes in [limit + 1, 1_048_577, 3_000_000] {
            let reply = endpoint.send(Some("application/json"), padded(bytes)).await;
            scene.assert_refused(reply, TOO_LARGE, why).await;
        }
        // Refused by its Content-Length, without reading it.
        let length = (limit + 1).to_string();
        let headers = [("Content-Type", "application/json"), ("Content-Length", &*length)];
        let reply = endpoint.sender.send_raw(endpoint.method.clone(), why, &headers, "{}").await;
        scene.assert_refused(reply, TOO_LARGE, why).await;
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_body_that_is_not_sent_as_json_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    for endpoint in scene.endpoints() {
        let good = endpoint.good.to_string();
        for content_type in [
            None,
            Some(""),
            Some("text/plain"),
            Some("text/json"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=x"),
            Some("application/jsonp"),
            Some("json"),
            Some("text/plain; application/json"),
        ] {
            let reply = endpoint.send(content_type, good.clone()).await;
            scene.assert_refused(reply, WRONG_TYPE, &format!("{} {content_type:?}", endpoint.path)).await;
        }
        for content_type in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;x=y"] {
            let reply = endpoint.send(Some(content_type), "[]").await;
            scene.assert_refused(reply, INVALID, &format!("{} {content_type}", endpoint.path)).await;
        }
    }
}

/// Operations without a body, so that none is ignored.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_body_that_an_operation_does_not_take_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let concert = format!("/admin/concerts/{}", scene.sale.concert_id);
    let [webhook, session] = ["/admin/webhooks", "/users/me/sessions"].map(|list| format!("{list}/{}", Uuid::nil()));
    for (method, path, sender) in [
        (Method::POST, "/auth/logout", &scene.buyer),
        (Method::DELETE, "/users/me", &scene.buyer),
        (Method::DELETE, "/users/me/sessions", &scene.buyer),
        (Method::DELETE, &*session, &scene.buyer),
        (Method::DELETE, "/queue/tokens/current", &scene.buyer),
        (Method::DELETE, &*concert, &scene.admin),
        (Method::DELETE, &*webhook, &scene.admin),
    ] {
        let path = format!("/api/v1{path}");
        for (encoding, body, expected) in [
            ("identity", r#"{"a":1}"#.to_owned(), INVALID),
            ("identity", "{".to_owned(), MALFORMED),
            ("identity", format!("{{{}}}", " ".repeat(1_048_576)), TOO_LARGE),
            ("gzip", "{}".to_owned(), WRONG_TYPE),
        ] {
            let headers = [("Content-Type", "application/json"), ("Content-Encoding", encoding)];
            let reply = sender.send_raw(method.clone(), &path, &headers, body).await;
            scene.assert_refused(reply, expected, &path).await;
        }
    }
}

/// Authentication comes before validation.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn unauthenticated_requests_get_no_validation_errors(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    for mut endpoint in scene.endpoints() {
        if endpoint.path.ends_with("/users") || endpoint.path.contains("/auth/") {
            continue;
        }
        for (content_type, body) in [(Some("application/json"), "{"), (None, ""), (Some("text/plain"), "x")] {
            endpoint.sender = scene.app.anonymous();
            let reply = endpoint.send(content_type, body).await;
            scene.assert_refused(reply, (401, "UNAUTHENTICATED"), &endpoint.path).await;
            if endpoint.path.contains("/admin/") {
                endpoint.sender = scene.buyer.clone();
                let reply = endpoint.send(content_type, body).await;
                scene.assert_refused(reply, (403, "FORBIDDEN"), &endpoint.path).await;
            }
        }
    }
}
