//! Receivers of events: real servers, each on its own port, with the behaviour that a test sets.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};

use super::document::check_event;

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("an event is JSON")
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member} in {}", self.json())).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Behaviour = dyn Fn(Received) -> BoxFuture<'static, Response> + Send + Sync;

/// A receiver and the requests to it.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: mpsc::UnboundedReceiver<Received>,
}

#[derive(Clone)]
struct ReceiverState {
    behaviour: Arc<Behaviour>,
    log: mpsc::UnboundedSender<Received>,
}

async fn receive(State(state): State<ReceiverState>, uri: Uri, headers: HeaderMap, bytes: Bytes) -> Response {
    let received = Received { path: uri.path().to_owned(), headers, bytes };
    state.log.send(received.clone()).ok();
    (state.behaviour)(received).await
}

impl Receiver {
    /// Accepts every event.
    pub(crate) async fn start() -> Self {
        Self::answering(|_| StatusCode::NO_CONTENT.into_response()).await
    }

    /// Answers at once.
    pub(crate) async fn answering(answer: impl Fn(&Received) -> Response + Send + Sync + 'static) -> Self {
        Self::with_behaviour(move |received| {
            let response = answer(&received);
            Box::pin(async move { response })
        })
        .await
    }

    /// Answers after any time, or never.
    pub(crate) async fn with_behaviour(
        behaviour: impl Fn(Received) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (log, received) = mpsc::unbounded_channel();
        let router = Router::new().fallback(receive).with_state(ReceiverState { behaviour: Arc::new(behaviour), log });
        #[expect(clippy::disallowed_methods, reason = "the receiver ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, received }
    }

    /// The next request; waits for it.
    pub(crate) async fn next(&mut self) -> Received {
        let received = self.received.recv().await.expect("the receiver runs");
        check_event(&received);
        received
    }

    /// The requests received since the last call.
    pub(crate) fn drain(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).inspect(check_event).collect()
    }
}
