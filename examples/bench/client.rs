//! A small HTTP/1.1 client: one kept connection, a few hundred bytes written, one answer read. It allocates nothing for
//! a request, so that it isn't the limit.

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

/// How long a request may take, reconnecting included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where servers listen: `host:port` each.
pub(crate) type Addresses = Rc<[String]>;

/// A request. What is empty isn't sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The access token.
    pub(crate) access: &'a str,
    /// The queue token.
    pub(crate) queue: &'a str,
    /// The idempotency key.
    pub(crate) key: &'a str,
    /// The `ETag` that the client has.
    pub(crate) etag: &'a str,
    pub(crate) body: &'a str,
}

impl Call<'_> {
    fn write(&self, bytes: &mut Vec<u8>) -> std::io::Result<()> {
        let Self { method, path, body, .. } = self;
        write!(bytes, "{method} {path} HTTP/1.1\r\nHost: bench\r\n")?;
        if !self.access.is_empty() {
            write!(bytes, "Authorization: Bearer {}\r\n", self.access)?;
        }
        for (name, value) in [("Queue-Token", self.queue), ("Idempotency-Key", self.key), ("If-None-Match", self.etag)]
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

/// One answered request.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) status: u16,
    /// When it was due.
    pub(crate) due: Instant,
    /// From that instant to the last byte of the answer.
    pub(crate) latency: Duration,
}

/// An answer, as it lies in the connection's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// A string member of the JSON object.
    pub(crate) fn text(&self, member: &str) -> anyhow::Result<String> {
        let answer: serde_json::Value = serde_json::from_slice(self.body)?;
        Ok(answer[member].as_str().with_context(|| format!("no {member} in {answer}"))?.to_owned())
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }
}

/// A kept connection to one of the servers; when it breaks, to the next, where the same request is sent again: so a
/// server can be killed meanwhile.
pub(crate) struct Connection {
    addresses: Addresses,
    turn: usize,
    stream: Option<TcpStream>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// When the next request is due, if not when it is sent.
    pub(crate) due: Option<Instant>,
    pub(crate) samples: Vec<Sample>,
}

impl Connection {
    /// Connects to the server whose turn it is, or if it is away to the next that isn't.
    pub(crate) async fn open(addresses: &Addresses, turn: usize) -> anyhow::Result<Self> {
        let mut connection = Self {
            addresses: Rc::clone(addresses),
            turn,
            stream: None,
            outgoing: Vec::with_capacity(1_024),
            incoming: Vec::with_capacity(4_096),
            due: None,
            samples: Vec::new(),
        };
        for _ in 1..addresses.len() {
            if connection.connect().await.is_ok() {
                return Ok(connection);
            }
            connection.turn += 1;
        }
        connection.connect().await?;
        Ok(connection)
    }

    async fn connect(&mut self) -> std::io::Result<()> {
        let stream = TcpStream::connect(&self.addresses[self.turn % self.addresses.len()]).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends a request until it is answered. A 503 is an answer, and asked again too.
    pub(crate) async fn send(&mut self, call: &Call<'_>) -> anyhow::Result<Answer<'_>> {
        self.outgoing.clear();
        call.write(&mut self.outgoing)?;
        let sent = Instant::now();
        let due = self.due.take().unwrap_or(sent);
        while sent.elapsed() < PATIENCE {
            if let Ok(found) = self.try_send().await {
                self.samples.push(Sample { status: found.status, due, latency: due.elapsed() });
                if found.status != 503 {
                    let (head, rest) = self.incoming.split_at(found.head);
                    return Ok(Answer { status: found.status, head, body: &rest[..found.body] });
                }
            } else {
                self.stream = None;
                self.turn += 1;
                // The server may be about to come back.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        bail!("no server answered {} {}", call.method, call.path)
    }

    /// The last answer as it came over the wire.
    pub(crate) fn last_answer(&self) -> &[u8] {
        &self.incoming
    }

    async fn try_send(&mut self) -> anyhow::Result<Found> {
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
                found = find(&self.incoming)?;
            }
            if let Some(found) = found.filter(|found| self.incoming.len() >= found.head + found.body) {
                return Ok(found);
            }
        }
    }
}

/// The parts of an answer: its status, and how long its head and its body are.
#[derive(Clone, Copy)]
struct Found {
    status: u16,
    head: usize,
    body: usize,
}

/// Reads the head of an answer once all of it is there.
fn find(bytes: &[u8]) -> anyhow::Result<Option<Found>> {
    let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    let status = std::str::from_utf8(head.get(9..12).context("a status line")?)?.parse()?;
    let body = match header(head, "content-length") {
        Some(length) => length.parse()?,
        None if matches!(status, 204 | 304) => 0,
        None => bail!("an answer without a length"),
    };
    // An unchanged answer has the length of what it stands for, and no body.
    let body = if status == 304 { 0 } else { body };
    Ok(Some(Found { status, head: end + 4, body }))
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| std::str::from_utf8(value).ok().map(str::trim))?
    })
}
