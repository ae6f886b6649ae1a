//! Invalid input: the right status and code, every invalid field named, and no row changed.

use std::collections::BTreeMap;

use axum::{body::Body, http::Method};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Reply, Sale, Tables, TestApp};

/// A problem's status and code.
type Expected = (u16, &'static str);

const MALFORMED: Expected = (400, "MALFORMED_REQUEST");
const TOO_LARGE: Expected = (413, "PAYLOAD_TOO_LARGE");
const WRONG_TYPE: Expected = (415, "UNSUPPORTED_MEDIA_TYPE");
const INVALID: Expected = (422, "VALIDATION_FAILED");

/// A placeholder in a body for text that isn't a JSON value.
const HERE: &str = "@here@";

/// An endpoint that reads a body, an authorized client, and a valid body.
struct Endpoint {
    method: Method,
    path: String,
    sender: Client,
    good: Value,
}

impl Endpoint {
    async fn send(&self, content_type: Option<&str>, body: impl Into<Body>) -> Reply {
        let mut headers = vec![("Idempotency-Key", "key")];
        headers.extend(content_type.map(|content_type| ("Content-Type", content_type)));
        self.sender.send_raw(self.method.clone(), &self.path, &headers, body).await
    }

    /// Whether the body is optional.
    fn needs_nothing(&self) -> bool {
        self.good == json!({})
    }

    /// The limit of its body in bytes.
    fn limit(&self) -> usize {
        if self.path.contains("/admin/") { 1_048_576 } else { 65_536 }
    }

    /// The pointers of all values in the valid body.
    fn places(&self) -> Vec<String> {
        let mut places = Vec::new();
        gather_places(&self.good, "", &mut places);
        places
    }

    /// The valid body with another value at one pointer.
    fn with(&self, place: &str, value: Value) -> String {
        let mut body = self.good.clone();
        *body.pointer_mut(place).unwrap() = value;
        body.to_string()
    }

    /// The valid body with raw JSON at one pointer.
    fn with_literal(&self, place: &str, literal: &str) -> String {
        self.with(place, json!(HERE)).replace(&format!("\"{HERE}\""), literal)
    }

    /// Whether a field is optional, and whether it is nullable.
    fn is_optional(&self, place: &str) -> (bool, bool) {
        let is_patch = self.method == Method::PATCH && self.path.contains("/admin/");
        let may_be_null = place == "/salesEndAt"
            || (!is_patch && ["/description", "/paymentMethod", "/salesOpenAt"].contains(&place));
        (is_patch || may_be_null, may_be_null)
    }
}

fn gather_places(value: &Value, place: &str, places: &mut Vec<String>) {
    let within: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => vec![],
    };
    for (name, value) in within {
        let place = format!("{place}/{name}");
        gather_places(value, &place, places);
        places.push(place);
    }
}

/// A server with a sale, whose tables must not change.
struct Scene {
    app: TestApp,
    tables: Tables,
    before: BTreeMap<String, Option<i64>>,
    sale: Sale,
    /// With points and an active queue token.
    buyer: Client,
    admin: Client,
    /// The buyer's.
    booking: String,
}

impl Scene {
    async fn new(options: MySqlConnectOptions) -> Self {
        let tables = Tables::of(&options).await;
        let app = TestApp::start(options);
        let sale = app.sale(1, 8).await;
        let buyer = app.buyer_with_points(&sale, "1000").await;
        let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
        let admin = app.admin().await;
        let before = tables.checksums().await;
        Self { app, tables, before, sale, buyer, admin, booking }
    }

    /// Every endpoint with a body.
    fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints_of_users().into_iter().chain(self.endpoints_of_administration()).collect()
    }

    fn endpoints_of_users(&self) -> Vec<Endpoint> {
        let sale = &self.sale;
        let booking = format!("/bookings/{}", self.booking);
        let account = json!({"email": "jin@example.org", "password": "correct horse", "name": "Jin"});
        let login = json!({"email": "jin@example.org", "password": "correct horse"});
        let hold = json!({"performanceId": sale.performance_id, "seatIds": [sale.seats[1], sale.seats[2]]});
        let anonymous = [
            ("/users", account),
            ("/auth/login", login),
            ("/auth/refresh", json!({"refreshToken": "x"})),
            ("/auth/password-reset", json!({"email": "jin@example.org"})),
            ("/auth/password-reset/confirm", json!({"code": "x", "newPassword": "correct horse"})),
        ];
        let buyer = [
            ("/users/me/email-verification", json!({})),
            ("/users/me/email-verification/confirm", json!({"code": "x"})),
            ("/queue/tokens", json!({"concertId": sale.concert_id})),
            ("/bookings", hold),
            (&*format!("{booking}/extend"), json!({})),
            (&*format!("{booking}/cancel"), json!({})),
            ("/points/charges", json!({"amount": "1", "paymentMethod": "CARD"})),
            ("/points/top-ups", json!({"amount": "1"})),
            ("/payments", json!({"bookingId": self.booking})),
        ];
        let mut endpoints = Vec::new();
        for (sender, routes) in [(self.app.anonymous(), &anonymous[..]), (self.buyer.clone(), &buyer[..])] {
            endpoints.extend(routes.iter().map(|(path, good)| Endpoint {
                method: Method::POST,
                path: format!("/api/v1{path}"),
                sender: sender.clone(),
                good: good.clone(),
            }));
        }
        let (path, good) = ("/api/v1/users/me".to_owned(), json!({"name": "Jin"}));
        endpoints.push(Endpoint { method: Method::PATCH, path, sender: self.buyer.clone(), good });
        endpoints
    }

    fn endpoints_of_administration(&self) -> Vec<Endpoint> {
        let sale = &self.sale;
        let section = json!({"name": "Floor", "grade": "R", "rows": 1, "seatsPerRow": 2, "price": "5"});
        let queue = json!({
            "mode": "OPEN", "admitCount": 1, "admitIntervalSeconds": 1, "maxActive": 1, "activeSeconds": 1,
            "claimSeconds": 1, "salesOpenAt": "2026-12-01T00:00:00Z",
        });
        let words = json!({"title": "Spring", "artist": "Jin", "category": "POP", "description": "Songs."});
        let showing = json!({
            "venueId": sale.venue_id, "startsAt": "2026-12-24T18:00:00Z", "seating": {"sections": [section]},
        });
        let block = json!({"seatIds": [sale.seats[1], sale.seats[2]], "reason": "Behind the desk."});
        let times = json!({
            "startsAt": "2026-12-24T18:00:00Z", "salesEndAt": "2026-12-24T17:00:00Z", "reason": "The artist is ill.",
        });
        let concert = format!("concerts/{}", sale.concert_id);
        [
            (Method::POST, "venues", json!({"name": "Hall", "address": "Seoul"})),
            (Method::POST, "concerts", words.clone()),
            (Method::PATCH, &concert, words),
            (Method::POST, &format!("{concert}/performances"), showing),
            (Method::PUT, &format!("{concert}/queue"), queue),
            (Method::POST, "admissions", json!({"code": "x"})),
            (Method::PATCH, &format!("performances/{}", sale.performance_id), times),
            (Method::POST, &format!("performances/{}/cancel", sale.performance_id), json!({})),
            (Method::POST, &format!("performances/{}/seats/block", sale.performance_id), block),
        ]
        .map(|(method, path, good)| Endpoint {
            method,
            path: format!("/api/v1/admin/{path}"),
            sender: self.admin.clone(),
            good,
        })
        .into()
    }

    /// Fails unless the answer is this problem and no row was changed.
    async fn assert_refused(&self, reply: Reply, (status, code): Expected, why: &str) -> Reply {
        assert_eq!((reply.status.as_u16(), &*reply.code()), (status, code), "{why}: {}", text(&reply));
        let reply = reply.expect_problem(status, code);
        assert_eq!(reply.text("requestId"), reply.header("x-request-id"), "{why}");
        assert_eq!(self.tables.checksums().await, self.before, "{why}: something was changed: {}", text(&reply));
        reply
    }

    /// Fails unless exactly these fields are named and no row was changed.
    async fn assert_names(&self, endpoint: &Endpoint, body: &str, pointers: &[&str]) {
        let shown: String = body.chars().take(300).collect();
        let reply = endpoint.send(Some("application/json"), body.to_owned()).await;
        let reply = self.assert_refused(reply, INVALID, &format!("{} {shown}", endpoint.path)).await;
        let problem = reply.json();
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors: {problem}"));
        assert!(errors.iter().all(|error| error["message"].is_string()), "{problem}");
        let mut named: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap_or("none")).collect();
        named.sort_unstable();
        let mut expected = pointers.to_vec();
        expected.sort_unstable();
        assert_eq!(named, expected, "{} {shown}: {problem}", endpoint.path);
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.bytes).into_owned()
}

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
async fn every_field_of_a_wrong_type_is_named(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    for endpoint in scene.endpoints() {
        for place in endpoint.places() {
            let good = endpoint.good.pointer(&place).unwrap();
            let mut wrong = vec!["true"];
            if !endpoint.is_optional(&place).1 {
                wrong.push("null");
            }
            let is_amount = place.ends_with("/amount") || place.ends_with("/price");
            wrong.extend_from_slice(match good {
                Value::Object(_) => &["[]", "[1]", "1", r#""x""#],
                Value::Array(_) => &["{}", r#"{"0":1}"#, "1", r#""x""#],
                Value::Number(_) => &["{}", "[]", "[1]", r#""1""#, "1.5", "-1", "1e400"],
                _ if is_amount => &["{}", "[]", r#"["1"]"#, "1.234"],
                _ => &["{}", "[]", r#"["x"]"#, "1", "0.5", r#""\ud800""#],
            });
            for literal in wrong {
                scene.assert_names(&endpoint, &endpoint.with_literal(&place, literal), &[&place]).await;
            }
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn missing_unknown_and_duplicate_fields_are_named(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    for endpoint in scene.endpoints() {
        let mut objects = vec![String::new()];
        for place in endpoint.places() {
            if endpoint.good.pointer(&place).unwrap().is_object() {
                objects.push(place.clone());
            }
            let (object, name) = place.rsplit_once('/').unwrap();
            let mut body = endpoint.good.clone();
            let Some(members) = body.pointer_mut(object).unwrap().as_object_mut() else { continue };
            let value = members.remove(name).unwrap();
            if !endpoint.is_optional(&place).0 {
                scene.assert_names(&endpoint, &body.to_string(), &[&place]).await;
            }
            // Restored, and then a second time.
            body.pointer_mut(object).unwrap()[HERE] = json!(0);
            let twice = format!("\"{name}\":{value},\"{name}\":{value}");
            let body = body.to_string().replace(&format!("\"{HERE}\":0"), &twice);
            scene.assert_names(&endpoint, &body, &[&place]).await;
        }
        for object in objects {
            for (name, pointer) in [("surplus", "surplus"), ("a/b~c", "a~1b~0c"), ("", ""), ("__proto__", "__proto__")]
            {
                let mut body = endpoint.good.clone();
                body.pointer_mut(&object).unwrap()[name] = json!(null);
                scene.assert_names(&endpoint, &body.to_string(), &[&format!("{object}/{pointer}")]).await;
            }
        }
    }
    let account = &scene.endpoints()[0];
    let case = r#"{"Email": "jin@example.org", "password": "correct horse", "name": "Jin"}"#;
    scene.assert_names(account, case, &["/email", "/Email"]).await;
}

/// Invalid amounts, as JSON.
const NO_AMOUNTS: &[&str] = &[
    "-1",
    "-0",
    "1.234",
    "1e3",
    "1E+2",
    "1e400",
    "10000000000000",
    r#""-1""#,
    r#""-0""#,
    r#""1.234""#,
    r#""1e3""#,
    r#""10000000000000""#,
    r#""""#,
    r#"" 1""#,
    r#""01""#,
    r#""+1""#,
    r#""1.""#,
    r#"".5""#,
    r#""NaN""#,
    r#""1\u0000""#,
];

/// Invalid values of a field by its name, as JSON.
fn bad_values(endpoint: &Endpoint, place: &str) -> Vec<String> {
    let name = match place.rsplit('/').next() {
        Some("0") => "seatId",
        name => name.unwrap_or(""),
    };
    let numbers = |high: u64| {
        let too_much = (high + 1).to_string();
        ["0", &too_much, "18446744073709551617", "1.0", "1e1"].map(str::to_owned).to_vec()
    };
    match name {
        "seatId" | "performanceId" | "concertId" | "venueId" => numbers(i64::MAX.unsigned_abs()),
        "rows" | "seatsPerRow" => numbers(1_000),
        "admitCount" => numbers(100_000),
        "maxActive" => numbers(1_000_000),
        "activeSeconds" => numbers(86_400),
        "admitIntervalSeconds" | "claimSeconds" => numbers(3_600),
        "amount" => {
            let beyond = &["0", r#""0""#, r#""0.00""#, "10000000.01", r#""10000000.01""#];
            [beyond, NO_AMOUNTS].concat().into_iter().map(str::to_owned).collect()
        }
        "price" => [&["10000000000"], NO_AMOUNTS].concat().into_iter().map(str::to_owned).collect(),
        "password" if !endpoint.path.ends_with("/users") => vec![],
        name => bad_texts(name).into_iter().map(|text| json!(text).to_string()).collect(),
    }
}

fn bad_texts(name: &str) -> Vec<String> {
    let (texts, long): (&[&str], _) = match name {
        "name" | "address" | "title" | "artist" | "category" | "grade" => {
            let texts = &["", "   ", "\u{a0}", "a\u{0}b", "a\nb", "a\u{7f}", "a\u{85}b", "\u{1b}[31m"];
            (texts, "가".repeat(201))
        }
        "description" => (&["a\u{0}b", "\u{1b}[31m"], "가".repeat(10_001)),
        "email" => {
            let texts = &[
                "",
                "jin",
                "@example.org",
                "jin@",
                "jin@host",
                "a b@example.org",
                "a\u{0}@example.org",
                "jin@example..org",
                "jin@mina@example.org",
                "jin@example.org\nBcc: x@example.org",
            ];
            (texts, format!("jin@{}.org", "x".repeat(250)))
        }
        "password" => (&["", "123456789", "아홉글자비밀번호요"], "x".repeat(129)),
        "paymentMethod" => (&[""], "x".repeat(51)),
        "startsAt" | "salesOpenAt" => {
            let texts = &[
                "",
                "tomorrow",
                "2026-12-24",
                "2026-12-24T18:00:00",
                "2026-13-24T18:00:00Z",
                "+10000-01-01T00:00:00Z",
                "9999-12-31T23:59:59Z",
                "1969-12-31T23:59:59Z",
            ];
            (texts, "2026-12-24T18:00:00Z\u{0}".to_owned())
        }
        "mode" => (&["", "open", "OPEN "], "OPEN\u{0}".to_owned()),
        "bookingId" => {
            let simple = "01939e6b0c5a7d029c417be1f0a2c3d4";
            (&["", "x", "1", "' OR 1=1 --", simple], "00000000-0000-0000-0000-00000000000g".to_owned())
        }
        _ => return vec![],
    };
    texts.iter().map(|text| (*text).to_owned()).chain([long]).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_field_with_an_invalid_value_is_named(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let mut tried = 0;
    for endpoint in scene.endpoints() {
        for place in endpoint.places() {
            for literal in bad_values(&endpoint, &place) {
                scene.assert_names(&endpoint, &endpoint.with_literal(&place, &literal), &[&place]).await;
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn all_mistakes_are_reported_at_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let endpoints = scene.endpoints();
    let find = |end: &str| endpoints.iter().find(|endpoint| endpoint.path.ends_with(end)).unwrap();
    let [a, b] = [scene.sale.seats[1], scene.sale.seats[2]];
    let hold = |seats: Value| json!({"performanceId": 0, "seatIds": seats, "more": 1}).to_string();
    let many: Vec<_> = (1..=101).collect();
    for (seats, pointers) in [
        (json!([]), &["/seatIds"][..]),
        (json!(many), &["/seatIds"]),
        (json!([a, a]), &["/seatIds/1"]),
        (json!([a, b, a, b, a]), &["/seatIds/2", "/seatIds/3", "/seatIds/4"]),
        (json!([0, a, "x", b, null, -1]), &["/seatIds/0", "/seatIds/2", "/seatIds/4", "/seatIds/5"]),
    ] {
        let all = [pointers, &["/performanceId", "/more"]].concat();
        scene.assert_names(find("/bookings"), &hold(seats), &all).await;
    }
    let account = json!({"email": "jin", "password": "short", "name": "", "role": "ADMIN"}).to_string();
    scene.assert_names(find("/users"), &account, &["/email", "/password", "/name", "/role"]).await;
    let queue = find("/queue");
    let pointers = queue.places();
    let pointers: Vec<_> = pointers.iter().map(String::as_str).collect();
    let all_false: BTreeMap<_, _> = pointers.iter().map(|pointer| (&pointer[1..], false)).collect();
    scene.assert_names(queue, &json!(all_false).to_string(), &pointers).await;

    let performances = find("/performances");
    let section =
        |name: &str, rows: Value| json!({"name": name, "grade": "R", "rows": rows, "seatsPerRow": 1000, "price": 1});
    let seating =
        |sections: Value| json!({"venueId": 1, "startsAt": "soon", "seating": {"sections": sections}}).to_string();
    for (sections, pointers) in [
        (json!([]), &["/seating/sections"][..]),
        (json!([section("A", json!(101))]), &["/seating/sections"]),
        (json!([section("A", json!(60)), section("B", json!(60))]), &["/seating/sections"]),
        (
            json!([section("A", json!(1)), section("B", json!(1)), section(" A ", json!(1))]),
            &["/seating/sections/2/name"],
        ),
        (
            json!([section("", json!(0)), 7, section("B", json!("1"))]),
            &[
                "/seating/sections/0/name",
                "/seating/sections/0/rows",
                "/seating/sections/1",
                "/seating/sections/2/rows",
            ],
        ),
    ] {
        let all = [pointers, &["/startsAt"]].concat();
        scene.assert_names(performances, &seating(sections), &all).await;
    }
}

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
async fn invalid_query_values_are_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let concerts = format!("concerts/{}/performances", scene.sale.concert_id);
    let seats = format!("performances/{}/seats", scene.sale.performance_id);
    let lists = [
        "concerts",
        &concerts,
        "bookings",
        "points/transactions",
        "points/top-ups",
        "payments",
        "admin/venues",
        "admin/top-ups",
    ];
    let get = async |path: &str| {
        let sender = if path.starts_with("admin") { &scene.admin } else { &scene.buyer };
        sender.get(&format!("/api/v1/{path}")).await
    };
    let parts = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let uuid = Uuid::now_v7();
    let cursors = [
        "x".to_owned(),
        "!!!!".to_owned(),
        "%00".to_owned(),
        "%FF".to_owned(),
        "null".to_owned(),
        "=".to_owned(),
        "AAAA".to_owned(),
        parts(" "),
        parts("-1"),
        parts("1 2 3"),
        parts("-1 -1"),
        parts("x y"),
        parts("가"),
        parts("1.5 1"),
        parts("99999999999999999999"),
        parts(&format!("{uuid} {uuid}")),
        parts("9999999999999999999 1"),
        "A".repeat(10_000),
        parts(&"1".repeat(5_000)),
    ];
    for list in lists {
        for cursor in &cursors {
            let reply = get(&format!("{list}?cursor={cursor}")).await;
            scene.assert_refused(reply, MALFORMED, &format!("{list} {cursor:.60}")).await;
        }
        for limit in ["0", "101", "-1", "x", "1.5", "1e1", "%2B1", "%201", "4294967297", "99999999999999999999", "%00"]
        {
            let reply = get(&format!("{list}?limit={limit}")).await;
            let reply = scene.assert_refused(reply, INVALID, &format!("{list} {limit}")).await;
            assert_eq!(reply.json()["errors"][0]["parameter"], "limit", "{}", text(&reply));
        }
        for limit in ["1", "100"] {
            get(&format!("{list}?limit={limit}")).await.expect(200);
        }
    }
    let long = "x".repeat(201);
    for (path, parameter, values) in [
        ("bookings", "status", &["PAID", "pending", "PENDING,CONFIRMED", "%00", &long][..]),
        ("admin/top-ups", "status", &["PAID", "pending", "REFUNDED", "%00", &long]),
        ("admin/top-ups", "userId", &["1", "x", "%00", &long]),
        ("admin/top-ups", "from", &["today", "2026-13-01", "%00"]),
        ("admin/top-ups", "to", &["tomorrow", "1969-12-31"]),
        (&seats, "status", &["FREE", "available", "%00"]),
        (&concerts, "available", &["yes", "TRUE", "1"]),
        ("concerts", "from", &["today", "2026-13-01", "2026-11-20T08:00:00", "0000-00-00", "9999-12-31", "%00"]),
        ("concerts", "to", &["tomorrow", "20261120", "1969-12-31"]),
        ("concerts", "query", &[&long]),
        ("concerts", "category", &[&long]),
    ] {
        for value in values {
            let reply = get(&format!("{path}?{parameter}={value}")).await;
            let reply = scene.assert_refused(reply, INVALID, &format!("{path} {parameter} {value:.60}")).await;
            assert_eq!(reply.json()["errors"][0]["parameter"], parameter, "{}", text(&reply));
        }
    }
    let reply = get("bookings?status=PAID&limit=0").await;
    let reply = scene.assert_refused(reply, INVALID, "two at once").await;
    assert_eq!(reply.json()["errors"].as_array().unwrap().len(), 2, "{}", text(&reply));
    // Unusual but valid: nothing is found.
    for query in ["%00", "%25", "_", "%5C", "%27%20OR%201=1%20--", "%FF", "%F0%9F%8E%A4"] {
        let found = get(&format!("concerts?query={query}&unknown=1")).await.expect(200).json();
        assert_eq!(found, json!({"items": [], "nextCursor": null}), "{query}");
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
