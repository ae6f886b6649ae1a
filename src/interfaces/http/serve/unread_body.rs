//! Drains request bodies that the handler didn't read.
//!
//! A request may be answered before its body is read, such as one without a token. A client that is still sending would
//! otherwise get a reset instead of the response.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::header,
};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::{sync::oneshot, time::timeout};

/// The bytes of an unread body that are drained: the most of an ordinary body.
const MAX_DRAINED_BYTES: usize = 64 * 1024;

/// The longest time for draining.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the body if it is dropped before its end.
struct TrackedBody {
    body: Option<Incoming>,
    return_to: Option<oneshot::Sender<Incoming>>,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        Pin::new(body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        if let (Some(body), Some(return_to)) = (self.body.take(), self.return_to.take())
            && !body.is_end_stream()
        {
            // The receiver is dropped if the client disconnected.
            let _ = return_to.send(body);
        }
    }
}

/// The rest of a body, if the handler left any.
pub(super) struct UnreadBody(oneshot::Receiver<Incoming>);

impl UnreadBody {
    /// Reads and drops the rest.
    pub(super) async fn drain(mut self) {
        if let Ok(body) = self.0.try_recv() {
            // The response is sent whether the body ended, was too long, or took too long.
            let _ = timeout(DRAIN_TIMEOUT, Limited::new(body, MAX_DRAINED_BYTES).collect()).await;
        }
    }
}

/// Tracks whether the body of a request is read. A body with `Expect: 100-continue` isn't tracked: draining would
/// request it from the client.
pub(super) fn track(request: Request<Incoming>) -> (Request, Option<UnreadBody>) {
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return (request.map(Body::new), None);
    }
    let (return_to, unread) = oneshot::channel();
    let request = request.map(|body| Body::new(TrackedBody { body: Some(body), return_to: Some(return_to) }));
    (request, Some(UnreadBody(unread)))
}
