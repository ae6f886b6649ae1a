//! Clients, each of one user.

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{HeaderMap, Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use super::{Events, document};

/// The password of accounts that sign up.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Sends requests through a server's routes, without a socket.
#[derive(Clone)]
pub(crate) struct Client {
    router: Router,
    token: Option<String>,
    queue_token: Option<String>,
    user_id: Uuid,
}

impl Client {
    pub(crate) fn new(router: Router) -> Self {
        Self { router, token: None, queue_token: None, user_id: Uuid::nil() }
    }

    pub(crate) fn with_router(self, router: Router) -> Self {
        Self { router, ..self }
    }

    pub(crate) fn with_token(self, token: String, user_id: Uuid) -> Self {
        Self { token: Some(token), user_id, ..self }
    }

    pub(crate) fn with_queue_token(self, queue_token: &str) -> Self {
        Self { queue_token: Some(queue_token.to_owned()), ..self }
    }

    pub(crate) fn without_queue_token(self) -> Self {
        Self { queue_token: None, ..self }
    }

    pub(crate) fn user_id(&self) -> Uuid {
        self.user_id
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().expect("the client is logged in")
    }

    pub(crate) fn queue_token(&self) -> &str {
        self.queue_token.as_deref().expect("the client has joined a queue")
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    pub(crate) async fn post_keyed(&self, path: &str, key: &str, body: Value) -> Reply {
        self.send(Method::POST, path, &[("Idempotency-Key", key)], Some(body)).await
    }

    /// Sends a JSON body.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let mut headers = headers.to_vec();
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send_raw(method, path, &headers, body).await
    }

    /// Sends a body as it is.
    pub(crate) async fn send_raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        self.send_request(self.request(method, path, headers, body.into())).await
    }

    /// Opens a stream of events.
    pub(crate) async fn open_stream(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let request = self.request(Method::GET, path, headers, Body::empty());
        Events::new(self.router.clone().oneshot(request).await.expect("the router never fails"))
    }

    /// Begins to read an answer of 200, chunk by chunk as the server sends them.
    pub(crate) async fn download(&self, path: &str) -> BodyDataStream {
        let request = self.request(Method::GET, path, &[], Body::empty());
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().into_data_stream()
    }

    fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(queue_token) = &self.queue_token {
            request = request.header("Queue-Token", queue_token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).expect("a test's request is well formed")
    }

    /// Sends a request as it is: no header is added.
    pub(crate) async fn send_request(&self, request: Request<Body>) -> Reply {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("the body is whole");
        let request = format!("{method} {path}");
        let reply = Reply { request, status: parts.status, headers: parts.headers, bytes: bytes.to_vec() };
        document::check(&method, &path, &reply);
        reply
    }

    /// Creates an account, logs in, and returns a client that uses the login. The headers are those of the sign-up.
    pub(crate) async fn signed_up(&self, email: &str, headers: &[(&str, &str)]) -> Self {
        let account = json!({"email": email, "password": PASSWORD, "name": "Jin"});
        self.send(Method::POST, "/api/v1/users", headers, Some(account)).await.expect(201);
        self.logged_in(email, PASSWORD).await
    }

    /// The same client with a login of its own.
    pub(crate) async fn logged_in(&self, email: &str, password: &str) -> Self {
        let tokens = self.log_in(email, password).await.expect(200);
        self.clone().with_token(tokens.text("accessToken"), tokens.text("userId").parse().unwrap())
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Reply {
        self.post("/api/v1/auth/login", json!({"email": email, "password": password})).await
    }

    // The operations of buyers.

    pub(crate) async fn hold(&self, performance_id: u64, seats: &[u64]) -> Reply {
        self.post("/api/v1/bookings", json!({"performanceId": performance_id, "seatIds": seats})).await
    }

    pub(crate) async fn hold_best_available(&self, performance_id: u64, selection: Value) -> Reply {
        self.post("/api/v1/bookings", json!({"performanceId": performance_id, "bestAvailable": selection})).await
    }

    pub(crate) async fn charge(&self, points: &str) -> Reply {
        let key = Uuid::now_v7().to_string();
        self.post_keyed("/api/v1/points/charges", &key, json!({"amount": points})).await.expect(201)
    }

    pub(crate) async fn pay(&self, booking_id: &str, key: &str) -> Reply {
        self.post_keyed("/api/v1/payments", key, json!({"bookingId": booking_id})).await
    }

    pub(crate) async fn balance(&self) -> String {
        let reply = self.get("/api/v1/points").await.expect(200);
        reply.json()["balance"].as_str().expect("a balance is a string").to_owned()
    }

    pub(crate) async fn booking(&self, booking_id: &str) -> Value {
        self.get(&format!("/api/v1/bookings/{booking_id}")).await.expect(200).json()
    }
}

/// The answer to a request.
pub(crate) struct Reply {
    request: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.request, self.status.as_u16(), String::from_utf8_lossy(&self.bytes))
    }
}

impl Reply {
    /// Fails the test, with the whole answer, unless the status is this one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.request, String::from_utf8_lossy(&self.bytes));
        self
    }

    /// Fails the test unless this is a problem with this status and code, in the documented form.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{}", reply.request);
        let body = reply.json();
        assert_eq!(body["code"], code, "{}: {body}", reply.request);
        assert_eq!(body["status"], status, "{}: {body}", reply.request);
        assert_eq!(body["type"], format!("/problems/{}", code.to_lowercase().replace('_', "-")), "{body}");
        for member in ["title", "detail", "instance", "requestId"] {
            assert!(body[member].is_string(), "{}: {member} is missing in {body}", reply.request);
        }
        if matches!(status, 429 | 503) {
            assert!(reply.headers.contains_key("retry-after"), "{}: no Retry-After", reply.request);
        }
        reply
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("{}: not JSON: {}", self.request, String::from_utf8_lossy(&self.bytes)))
    }

    /// A header's text; empty without the header.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// A string member of the body.
    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        let body = self.json();
        body[member].as_str().unwrap_or_else(|| panic!("{}: no {member} in {body}", self.request)).to_owned()
    }

    /// The code of a problem; empty for anything else.
    pub(crate) fn code(&self) -> String {
        if self.status.is_success() { String::new() } else { self.json()["code"].as_str().unwrap_or("").to_owned() }
    }
}
