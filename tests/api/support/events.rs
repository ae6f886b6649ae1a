//! Streams of server-sent events, as a client reads them.

use std::time::Duration;

use axum::{body::BodyDataStream, http::HeaderMap, response::Response};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

/// Longer than anything that is waited for takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open stream. Dropping it closes it.
pub(crate) struct Events {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: BodyDataStream,
    read: String,
}

impl Events {
    pub(crate) fn new(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.into_data_stream(),
            read: String::new(),
        }
    }

    /// The next event of the queue; `None` once the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                if block.lines().all(|line| line.starts_with(':')) {
                    continue;
                }
                let data = block.strip_prefix("event: queue\ndata: ").unwrap_or_else(|| panic!("not so: {block:?}"));
                return Some(serde_json::from_str(data).expect("the data is JSON"));
            }
            let chunk = timeout(PATIENCE, self.body.next()).await.expect("nothing came, and the stream is open")?;
            self.read.push_str(std::str::from_utf8(&chunk.expect("the stream is whole")).expect("it is text"));
        }
    }

    /// The status and position of the next event.
    pub(crate) async fn told(&mut self) -> (String, Option<u64>) {
        let event = self.next().await.expect("the stream goes on");
        (event["status"].as_str().expect("a status is a string").to_owned(), event["position"].as_u64())
    }

    /// Whether nothing comes for so long.
    pub(crate) async fn is_silent(&mut self, time: Duration) -> bool {
        timeout(time, self.next()).await.is_err()
    }
}
