//! Invalid input: the right status and code, every invalid field named, and no row changed.

mod bodies;
mod fields;
mod headers;
mod paths;
mod queries;
mod values;

use std::collections::BTreeMap;

use axum::{body::Body, http::Method};
use serde_json::{Value, json};
use sqlx::mysql::MySqlConnectOptions;

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
