//! A small HTTP/1.1 client with one keep-alive connection. It allocates nothing per request, so that the client isn't
//! the bottleneck.

use std::{
    io::Write,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The limit for a request, including reconnects and repeated 503 responses.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The listen addresses of servers, each as `host:port`.
pub(crate) type Addresses = Rc<[String]>;

/// A request. Headers and a body that are empty aren't sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) access_token: &'a str,
    pub(crate) queue_token: &'a str,
    pub(crate) idempotency_key: &'a str,
    /// Sent as `If-None-Match`.
    pub(crate) etag: &'a str,
    pub(crate) body: &'a str,
}

impl Request<'_> {
    fn write(&self, bytes: &mut Vec<u8>) -> std::io::Result<()> {
        let Self { method, path, body, .. } = self;
        write!(bytes, "{method} {path} HTTP/1.1\r\nHost: bench\r\n")?;
        if !self.access_token.is_empty() {
            write!(bytes, "Authorization: Bearer {}\r\n", self.access_token)?;
        }
        for (name, value) in
            [("Queue-Token", self.queue_token), ("Idempotency-Key", self.idempotency_key), ("If-None-Match", self.etag)]
        {
            if !value.is_empty() {
                write!(bytes, "{name}: {value}\r\n")?;
            }
        }
        if !body.is_empty() {
            write!(bytes, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())?;
        }
        write!(bytes, "\r\n{body}")
    }
}

/// The measurement of one response.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) status: u16,
    /// The scheduled start in an open loop, otherwise the instant at which the request was sent.
    pub(crate) due_at: Instant,
    /// From `due_at` to the last byte of the response.
    pub(crate) latency: Duration,
}

/// A response, borrowed from the connection's buffer.
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Response<'_> {
    /// A string member of the body, a JSON object.
    pub(crate) fn string_member(&self, member: &str) -> anyhow::Result<String> {
        let object: serde_json::Value = serde_json::from_slice(self.body)?;
        Ok(object[member].as_str().with_context(|| format!("no {member} in {object}"))?.to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }
}

/// A keep-alive connection to one of the servers. When it breaks, the connection moves to the next server and resends
/// the request, so a run survives the kill of a server.
pub(crate) struct Connection {
    addresses: Addresses,
    server_index: usize,
    stream: Option<TcpStream>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// The scheduled start of the next request; `None` for the instant at which it is sent.
    pub(crate) due_at: Option<Instant>,
    pub(crate) samples: Vec<Sample>,
}

impl Connection {
    /// Connects to the server at `server_index` (modulo their number), or to the next one that accepts.
    pub(crate) async fn open(addresses: &Addresses, server_index: usize) -> anyhow::Result<Self> {
        let mut connection = Self {
            addresses: Rc::clone(addresses),
            server_index,
            stream: None,
            outgoing: Vec::with_capacity(1_024),
            incoming: Vec::with_capacity(4_096),
            due_at: None,
            samples: Vec::new(),
        };
        for _ in 1..addresses.len() {
            if connection.connect().await.is_ok() {
                return Ok(connection);
            }
            connection.server_index += 1;
        }
        connection.connect().await?;
        Ok(connection)
    }

    async fn connect(&mut self) -> std::io::Result<()> {
        let stream = TcpStream::connect(&self.addresses[self.server_index % self.addresses.len()]).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends a request until a response other than 503 arrives. Each 503 is recorded as a sample and retried.
    pub(crate) async fn send(&mut self, request: &Request<'_>) -> anyhow::Result<Response<'_>> {
        self.outgoing.clear();
        request.write(&mut self.outgoing)?;
        let sent = Instant::now();
        let due_at = self.due_at.take().unwrap_or(sent);
        while sent.elapsed() < REQUEST_TIMEOUT {
            if let Ok(found) = self.try_send().await {
                self.samples.push(Sample { status: found.status, due_at, latency: due_at.elapsed() });
                if found.status != 503 {
                    let (head, rest) = self.incoming.split_at(found.head);
                    return Ok(Response { status: found.status, head, body: &rest[..found.body] });
                }
            } else {
                self.stream = None;
                self.server_index += 1;
                // The server may be restarting.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        bail!("no server answered {} {}", request.method, request.path)
    }

    /// The raw bytes of the last response.
    pub(crate) fn last_response(&self) -> &[u8] {
        &self.incoming
    }

    async fn try_send(&mut self) -> anyhow::Result<ResponseLayout> {
        if self.stream.is_none() {
            self.connect().await?;
        }
        let stream = self.stream.as_mut().context("a connection")?;
        stream.write_all(&self.outgoing).await?;
        self.incoming.clear();
        let mut found = None;
        loop {
            ensure!(stream.read_buf(&mut self.incoming).await? > 0, "the server closed the connection");
            if found.is_none() {
                found = parse_head(&self.incoming)?;
            }
            if let Some(found) = found.filter(|found| self.incoming.len() >= found.head + found.body) {
                return Ok(found);
            }
        }
    }
}

/// The status of a response, and the lengths of its head and body in bytes.
#[derive(Clone, Copy)]
struct ResponseLayout {
    status: u16,
    head: usize,
    body: usize,
}

/// Parses the head of a response; `None` while it is incomplete.
fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<ResponseLayout>> {
    let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    let status = std::str::from_utf8(head.get(9..12).context("a status line")?)?.parse()?;
    let body = match header(head, "content-length") {
        Some(length) => length.parse()?,
        None if matches!(status, 204 | 304) => 0,
        None => bail!("a response without a length"),
    };
    // The length of a 304 is that of the representation; it has no body.
    let body = if status == 304 { 0 } else { body };
    Ok(Some(ResponseLayout { status, head: end + 4, body }))
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| std::str::from_utf8(value).ok().map(str::trim))?
    })
}
