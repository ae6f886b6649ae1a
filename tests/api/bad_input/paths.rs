//! Paths: unknown ones, unknown resources, and methods.

use axum::http::Method;
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use super::{Scene, text};

/// Well-formed requests about resources that don't exist or don't belong together.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn unknown_resources_are_not_found(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut scene = Scene::new(options).await;
    let sale = scene.sale.clone();
    let (second, other_seats) = sale.add_performance(&scene.app, "2026-12-24T18:00:00Z", 1, 2).await;
    let other_sale = scene.app.sale(1, 1).await;
    // The client that administers the sale has been made an administrator by the tests.
    scene.before = scene.tables.checksums().await;
    let [seat, foreign] = [sale.seats[1], other_seats[0]];
    let far = i64::MAX;
    for (performance, seats, expected) in [
        (json!(sale.performance_id), json!([foreign]), (404, "SEAT_NOT_FOUND")),
        (json!(sale.performance_id), json!([seat, foreign]), (404, "SEAT_NOT_FOUND")),
        (json!(second), json!([seat]), (404, "SEAT_NOT_FOUND")),
        (json!(sale.performance_id), json!([seat, far]), (404, "SEAT_NOT_FOUND")),
        (json!(far), json!([seat]), (404, "PERFORMANCE_NOT_FOUND")),
        (json!(other_sale.performance_id), json!([other_sale.seats[0]]), (403, "QUEUE_TOKEN_WRONG_CONCERT")),
    ] {
        let body = json!({"performanceId": performance, "seatIds": seats});
        let reply = scene.buyer.post("/api/v1/bookings", body.clone()).await;
        scene.assert_refused(reply, expected, &body.to_string()).await;
    }
    let reply = scene.buyer.post("/api/v1/queue/tokens", json!({"concertId": far})).await;
    scene.assert_refused(reply, (404, "CONCERT_NOT_FOUND"), "joining").await;
    let showing = json!({"venueId": far, "startsAt": "2026-12-24T18:00:00Z", "seating": {"sections": [
        {"name": "A", "grade": "R", "rows": 1, "seatsPerRow": 1, "price": "1"},
    ]}});
    let path = |concert: u64| format!("/api/v1/admin/concerts/{concert}/performances");
    let reply = scene.admin.post(&path(sale.concert_id), showing).await;
    scene.assert_refused(reply, (404, "VENUE_NOT_FOUND"), "a performance").await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn invalid_ids_in_paths_are_not_found(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let words = || Some(json!({"title": "Spring"}));
    let block = || Some(json!({"seatIds": [scene.sale.seats[1]], "reason": "Behind the desk."}));
    let mut queue = None;
    let mut showing = None;
    for endpoint in scene.endpoints_of_administration() {
        match endpoint.path.rsplit('/').next() {
            Some("queue") => queue = Some(endpoint.good),
            Some("performances") => showing = Some(endpoint.good),
            _ => {}
        }
    }
    let (concert, performance) = ("CONCERT_NOT_FOUND", "PERFORMANCE_NOT_FOUND");
    let (booking, payment) = ("BOOKING_NOT_FOUND", "PAYMENT_NOT_FOUND");
    let (get, post) = (Method::GET, Method::POST);
    let routes = [
        (&get, "concerts/{}", concert, None),
        (&get, "concerts/{}/performances", concert, None),
        (&get, "performances/{}", performance, None),
        (&get, "performances/{}/seats", performance, None),
        (&get, "bookings/{}", booking, None),
        (&post, "bookings/{}/extend", booking, Some(json!({}))),
        (&post, "bookings/{}/cancel", booking, Some(json!({}))),
        (&get, "payments/{}", payment, None),
        (&Method::PATCH, "admin/concerts/{}", concert, words()),
        (&Method::DELETE, "admin/concerts/{}", concert, None),
        (&post, "admin/concerts/{}/performances", concert, showing),
        (&get, "admin/concerts/{}/queue", concert, None),
        (&Method::PUT, "admin/concerts/{}/queue", concert, queue),
        (&get, "admin/concerts/{}/sales", concert, None),
        (&get, "admin/performances/{}", performance, None),
        (&get, "admin/performances/{}/seats", performance, None),
        (&Method::PATCH, "admin/performances/{}", performance, Some(json!({"salesEndAt": null}))),
        (&post, "admin/performances/{}/cancel", performance, Some(json!({}))),
        (&post, "admin/performances/{}/seats/block", performance, block()),
        (&post, "admin/performances/{}/seats/unblock", performance, block()),
    ];
    let long = "9".repeat(5_000);
    let unknown = Uuid::now_v7().to_string();
    let half = &unknown[..35];
    let (own, kept) = (scene.booking.as_str(), scene.sale.concert_id.to_string());
    for (method, template, code, body) in routes {
        let is_number = [concert, performance].contains(&code);
        let mut ids =
            vec!["x", "-1", "1.5", "1e3", "0x1", "%00", "%FF", "%20", "%2F", "..%2F1", "1%20", "null", &long, half];
        if is_number {
            ids.extend(["0", "+1", "%2B1", "99999999999999999999", "9223372036854775808", "9223372036854775807", own]);
        } else {
            ids.extend(["1", &kept, &unknown, "00000000-0000-0000-0000-000000000000", "%D9%A3"]);
        }
        for id in ids {
            let path = format!("/api/v1/{}", template.replace("{}", id));
            let sender = if template.starts_with("admin") { &scene.admin } else { &scene.buyer };
            let reply = sender.send(method.clone(), &path, &[], body.clone()).await;
            scene.assert_refused(reply, (404, code), &format!("{method} {template} {id:.60}")).await;
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn unknown_paths_and_methods_are_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let anonymous = scene.app.anonymous();
    let long = format!("/{}", "x/".repeat(20_000));
    for path in [
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/concerts",
        "/api/v1/concerts/",
        "/API/V1/concerts",
        "/api/v1/users/1",
        "/api/v1/points/charges/1",
        "/.env",
        "/..%2F..%2Fetc%2Fpasswd",
        "/%00",
        "/%FF",
        &long,
        "/problems/none",
        "/admin/venues",
        "//api/v1/concerts",
        "/api/v1/admin",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let reply = scene.buyer.send(method.clone(), path, &[], None).await;
            if path.starts_with("/problems") && method != Method::GET {
                scene.assert_refused(reply, (405, "METHOD_NOT_ALLOWED"), path).await;
                continue;
            }
            let reply = scene.assert_refused(reply, (404, "NOT_FOUND"), &format!("{method} {path:.60}")).await;
            assert_eq!(reply.text("instance"), path);
        }
    }
    let booking = format!("/api/v1/bookings/{}", scene.booking);
    for (path, allowed) in [
        ("/api/v1/users", &["POST"][..]),
        ("/api/v1/users/me", &["GET", "PATCH", "DELETE"]),
        ("/api/v1/auth/login", &["POST"]),
        ("/api/v1/auth/refresh", &["POST"]),
        ("/api/v1/auth/logout", &["POST"]),
        ("/api/v1/auth/password-reset", &["POST"]),
        ("/api/v1/auth/password-reset/confirm", &["POST"]),
        ("/api/v1/users/me/email-verification", &["POST"]),
        ("/api/v1/users/me/email-verification/confirm", &["POST"]),
        ("/api/v1/concerts", &["GET"]),
        ("/api/v1/concerts/1", &["GET"]),
        ("/api/v1/concerts/1/performances", &["GET"]),
        ("/api/v1/performances/1/seats", &["GET"]),
        ("/api/v1/queue/tokens", &["POST"]),
        ("/api/v1/queue/tokens/current", &["GET", "DELETE"]),
        ("/api/v1/bookings", &["GET", "POST"]),
        (&booking, &["GET"]),
        (&format!("{booking}/extend"), &["POST"]),
        (&format!("{booking}/cancel"), &["POST"]),
        ("/api/v1/points", &["GET"]),
        ("/api/v1/points/charges", &["POST"]),
        ("/api/v1/points/transactions", &["GET"]),
        ("/api/v1/payments", &["GET", "POST"]),
        ("/api/v1/payments/x", &["GET"]),
        ("/api/v1/admin/venues", &["GET", "POST"]),
        ("/api/v1/admin/concerts", &["POST"]),
        ("/api/v1/admin/concerts/1", &["PATCH", "DELETE"]),
        ("/api/v1/admin/concerts/1/performances", &["POST"]),
        ("/api/v1/admin/concerts/1/queue", &["GET", "PUT"]),
        ("/api/v1/admin/concerts/1/sales", &["GET"]),
        ("/api/v1/performances/1", &["GET"]),
        ("/api/v1/admin/performances/1", &["GET", "PATCH"]),
        ("/api/v1/admin/performances/1/cancel", &["POST"]),
        ("/api/v1/admin/performances/1/seats/block", &["POST"]),
        ("/api/v1/admin/exports/bookings", &["GET"]),
        ("/api/v1/admin/exports/transactions", &["GET"]),
        ("/api/v1/admin/audit", &["GET"]),
        ("/livez", &["GET"]),
        ("/readyz", &["GET"]),
        ("/metrics", &["GET"]),
        ("/version", &["GET"]),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if allowed.contains(&method) {
                continue;
            }
            // A gated route checks authentication first.
            let is_gated = path.ends_with("/seats") || path.ends_with("/extend");
            for client in [&anonymous, &scene.buyer].into_iter().skip(usize::from(is_gated)) {
                let reply = client.send(method.parse().unwrap(), path, &[], Some(json!({}))).await;
                let why = format!("{method} {path}");
                let reply = scene.assert_refused(reply, (405, "METHOD_NOT_ALLOWED"), &why).await;
                let mut listed: Vec<_> = reply.header("allow").split(',').map(str::trim).collect();
                listed.retain(|method| *method != "HEAD");
                listed.sort_unstable();
                let mut expected = allowed.to_vec();
                expected.sort_unstable();
                assert_eq!(listed, expected, "{why}");
            }
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn head_is_answered_like_get_without_the_body(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let (sale, booking) = (&scene.sale, &scene.booking);
    for path in [
        "/livez",
        "/api/v1/users/me",
        "/api/v1/concerts",
        &format!("/api/v1/concerts/{}", sale.concert_id),
        &format!("/api/v1/concerts/{}/performances", sale.concert_id),
        &format!("/api/v1/performances/{}/seats", sale.performance_id),
        "/api/v1/queue/tokens/current",
        "/api/v1/bookings",
        &format!("/api/v1/bookings/{booking}"),
        "/api/v1/points",
        "/api/v1/points/transactions",
        "/api/v1/payments",
    ] {
        let get = scene.buyer.get(path).await.expect(200);
        let head = scene.buyer.send(Method::HEAD, path, &[], None).await.expect(200);
        assert_eq!(head.header("etag"), get.header("etag"), "{path}");
        assert!(head.bytes.is_empty(), "{path}: {}", text(&head));
    }
    let path = format!("/api/v1/performances/{}/seats", sale.performance_id);
    scene.app.anonymous().send(Method::HEAD, &path, &[], None).await.expect(401);
    scene.buyer.clone().without_queue_token().send(Method::HEAD, &path, &[], None).await.expect(401);
}
