//! The bytes of a connection. A client that doesn't read in time is disconnected, and a request that the HTTP parser
//! refuses gets a problem.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Bytes, http::StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::registry::{Busy, ConnectionState};

/// The bytes that a client must read in each window while a response is pending.
const MIN_PROGRESS_BYTES: usize = 64 * 1024;

/// The most bytes that are read of a refused request. A client that is still sending would otherwise get a reset
/// instead of the response.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// The longest time for which the rest of a refused request is read.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes the complete response to a request that the HTTP parser refuses with a status.
pub type RefusalWriter = Arc<dyn Fn(StatusCode) -> Vec<u8> + Send + Sync>;

/// A client's socket.
pub(super) struct ClientIo {
    stream: TcpStream,
    connection_state: Arc<ConnectionState>,
    stall_limit: Duration,
    stall: Option<Stall>,
    refusal_writer: RefusalWriter,
    refusal: Option<Refusal>,
}

/// A pending write, because the client doesn't read.
struct Stall {
    window: Pin<Box<Sleep>>,
    written_in_window: usize,
    _busy: Busy,
}

/// A response that replaces the parser's.
struct Refusal {
    answer: Bytes,
    sent: usize,
    lingered: usize,
    linger_timeout: Pin<Box<Sleep>>,
}

impl ClientIo {
    pub(super) fn new(
        stream: TcpStream,
        connection_state: Arc<ConnectionState>,
        stall_limit: Duration,
        refusal_writer: RefusalWriter,
    ) -> Self {
        Self { stream, connection_state, stall_limit, stall: None, refusal_writer, refusal: None }
    }

    /// Checks a write of `offered` bytes: while some are pending, the client must read some in each window.
    fn enforce_progress(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        offered: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) if count < offered => {
                if let Some(stall) = &mut self.stall {
                    stall.written_in_window += count;
                    if stall.written_in_window >= MIN_PROGRESS_BYTES {
                        stall.written_in_window = 0;
                        stall.window.as_mut().reset(Instant::now() + self.stall_limit);
                    }
                }
            }
            Poll::Ready(_) => self.stall = None,
            Poll::Pending => {
                let (connection_state, limit) = (&self.connection_state, self.stall_limit);
                let stall = self.stall.get_or_insert_with(|| Stall {
                    window: Box::pin(sleep(limit)),
                    written_in_window: 0,
                    _busy: Busy::begin(connection_state),
                });
                ready!(stall.window.as_mut().poll(context));
                metrics::counter!("http_connections_stalled_total").increment(1);
                // The system's buffers are dropped as well. A failure only keeps them longer.
                let _ = self.stream.set_zero_linger();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        written
    }

    /// Sends the refusal. Afterwards the parser's own response counts as written.
    fn send_refusal(&mut self, context: &mut Context<'_>, offered: usize) -> Poll<io::Result<usize>> {
        while let Some(refusal) = &self.refusal
            && refusal.sent < refusal.answer.len()
        {
            let rest = refusal.answer.slice(refusal.sent..);
            let written = Pin::new(&mut self.stream).poll_write(context, &rest);
            let count = ready!(self.enforce_progress(context, written, rest.len()))?;
            if let Some(refusal) = &mut self.refusal {
                refusal.sent += count;
            }
        }
        Poll::Ready(Ok(offered))
    }

    /// Whether these bytes are the parser's response, or a refusal already replaces it.
    fn replaces_parser_response(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_none()
            && let Some(status) = parser_refusal_status(bytes)
        {
            let answer = (self.refusal_writer)(status).into();
            let linger_timeout = Box::pin(sleep(LINGER_TIMEOUT));
            self.refusal = Some(Refusal { answer, sent: 0, lingered: 0, linger_timeout });
        }
        self.refusal.is_some()
    }
}

/// The status of a response of the parser. Unlike all others, it has no request id.
fn parser_refusal_status(bytes: &[u8]) -> Option<StatusCode> {
    let status = match bytes.get(..12)? {
        b"HTTP/1.1 414" => StatusCode::URI_TOO_LONG,
        b"HTTP/1.1 431" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => return None,
    };
    let has_request_id = bytes.windows(14).any(|window| window.eq_ignore_ascii_case(b"\r\nx-request-id"));
    (!has_request_id).then_some(status)
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replaces_parser_response(bytes) {
            return self.send_refusal(context, bytes.len());
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.enforce_progress(context, written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = slices.iter().map(|slice| slice.len()).sum();
        if self.replaces_parser_response(slices.first().map_or(&[], |slice| slice)) {
            return self.send_refusal(context, offered);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.enforce_progress(context, written, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// After a refusal the rest of the request is read and dropped first.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        let Self { stream, refusal, .. } = &mut *self;
        let Some(refusal) = refusal else { return Poll::Ready(Ok(())) };
        let mut space = [0; 16 * 1024];
        while refusal.lingered < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            let read = Pin::new(&mut *stream).poll_read(context, &mut buffer);
            match read {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => refusal.lingered += buffer.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(refusal.linger_timeout.as_mut().poll(context));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_response_without_a_request_id_is_the_parsers() {
        let refused = |text: &str| parser_refusal_status(text.as_bytes()).map(|status| status.as_u16());
        assert_eq!(refused("HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\n\r\n"), Some(414));
        assert_eq!(refused("HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n"), Some(431));
        assert_eq!(refused("HTTP/1.1 414 URI Too Long\r\nx-request-id: a\r\n\r\n{}"), None);
        for text in ["HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP", ""] {
            assert_eq!(refused(text), None, "{text}");
        }
    }
}
