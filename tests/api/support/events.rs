//! Streams of server-sent events, as a client reads them.

use std::time::Duration;

use axum::{body::BodyDataStream, http::HeaderMap, response::Response};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

/// Longer than any awaited event takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An open stream. Dropping it closes it.
pub(crate) struct Events {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: BodyDataStream,
    read: String,
    retry: Option<u64>,
}

impl Events {
    pub(crate) fn new(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.into_data_stream(),
            read: String::new(),
            retry: None,
        }
    }

    /// The next event of the queue; `None` once the stream has ended. The final status alone has an id.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let event = self.next_event().await?;
        let is_final =
            event.data["status"].as_str().is_some_and(|status| ["COMPLETED", "EXPIRED", "LEFT"].contains(&status));
        assert_eq!((event.name.as_str(), event.id.is_some()), ("queue", is_final), "not so: {}", event.data);
        Some(event.data)
    }

    /// Whether the stream has sent the delay before reconnecting.
    pub(crate) fn has_retry(&self) -> bool {
        self.retry.is_some()
    }

    /// The next event; `None` once the stream has ended.
    pub(crate) async fn next_event(&mut self) -> Option<StreamEvent> {
        loop {
            while let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                if let Some(retry) = block.strip_prefix("retry: ") {
                    self.retry = Some(retry.parse().expect("milliseconds"));
                } else if !block.lines().all(|line| line.starts_with(':')) {
                    return Some(StreamEvent::read(&block));
                }
            }
            let chunk = timeout(TIMEOUT, self.body.next()).await.expect("nothing came, and the stream is open")?;
            self.read.push_str(std::str::from_utf8(&chunk.expect("the stream is whole")).expect("it is text"));
        }
    }

    /// The status and position of the next event.
    pub(crate) async fn next_status(&mut self) -> (String, Option<u64>) {
        let event = self.next().await.expect("the stream goes on");
        (event["status"].as_str().expect("a status is a string").to_owned(), event["position"].as_u64())
    }

    /// Whether no event comes within this time.
    pub(crate) async fn is_silent(&mut self, time: Duration) -> bool {
        timeout(time, self.next_event()).await.is_err()
    }
}

/// One event of a stream.
#[derive(Debug)]
pub(crate) struct StreamEvent {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl StreamEvent {
    /// Reads `event`, `id` if there is one, and `data`, each on its line and in this order.
    fn read(block: &str) -> Self {
        let mut lines = block.lines().peekable();
        let mut field =
            |name: &str| lines.next_if(|line| line.starts_with(name))?.strip_prefix(name).map(str::to_owned);
        let (event, id, data) = (field("event: "), field("id: "), field("data: "));
        assert!(lines.next().is_none(), "not so: {block:?}");
        let data = serde_json::from_str(&data.expect("an event has data")).expect("the data is JSON");
        Self { name: event.expect("an event has a name"), id, data }
    }
}
