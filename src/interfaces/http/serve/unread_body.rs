//! Bodies that nobody wanted to read.
//!
//! A request may be answered before its body was read: for want of a token, or for too many requests. If the connection
//! were closed then, a client that is still sending would find it broken, and never see the answer.

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

/// How much more is read: as much as an ordinary body may be.
const MAX_DRAINED_BYTES: usize = 64 * 1024;

/// How long it may take to come.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Gives the body back if it is dropped before its end.
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
            // Nobody waits for it if the client is gone.
            let _ = return_to.send(body);
        }
    }
}

/// What may be left of a body.
pub(super) struct UnreadBody(oneshot::Receiver<Incoming>);

impl UnreadBody {
    /// Reads what was left, and forgets it.
    pub(super) async fn drain(mut self) {
        if let Ok(body) = self.0.try_recv() {
            // Whether it ended, was too much, or took too long: the answer goes out.
            let _ = timeout(DRAIN_TIMEOUT, Limited::new(body, MAX_DRAINED_BYTES).collect()).await;
        }
    }
}

/// Keeps an eye on the body, if there is one. A client that asks first whether to send it isn't told to.
pub(super) fn track(request: Request<Incoming>) -> (Request, Option<UnreadBody>) {
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return (request.map(Body::new), None);
    }
    let (return_to, unread) = oneshot::channel();
    let request = request.map(|body| Body::new(TrackedBody { body: Some(body), return_to: Some(return_to) }));
    (request, Some(UnreadBody(unread)))
}
