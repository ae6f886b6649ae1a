//! Raw connections to a server on a port of this machine.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use concert_reservation::interfaces::http::serve::ShutdownStages;
use sqlx::mysql::MySqlConnectOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use super::TestApp;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Connection(pub(crate) TcpStream);

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Opens a connection from one of this machine's addresses, with a receive buffer of a few kilobytes.
    pub(crate) async fn open_from(source: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.bind(SocketAddr::new(source.parse::<IpAddr>().unwrap(), 0)).unwrap();
        Self(socket.connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The head of an answer in lower case, and its body.
    pub(crate) async fn answer(&mut self) -> (String, String) {
        timeout(TIMEOUT, self.read_answer()).await.expect("an answer comes in time")
    }

    async fn read_answer(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Sends a request without a body, and fails unless the answer has this status.
    pub(crate) async fn expect(&mut self, request: &str, status: u16) -> (String, String) {
        self.send(&format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let (head, body) = self.answer().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}: {head}{body}");
        (head, body)
    }

    /// Waits until the server closes it.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        // A reset counts as well.
        let _ = timeout(TIMEOUT, self.0.read_to_end(&mut rest)).await.expect("the server closes the connection");
    }
}

/// Serves a test's server on a port of this machine while `client` runs, and until it has stopped.
pub(crate) async fn with_server<F: Future<Output = ()>>(
    options: MySqlConnectOptions,
    settings: &[(&str, &str)],
    client: impl FnOnce(SocketAddr, ShutdownStages) -> F,
) {
    let app = TestApp::start_with(options, 1, settings).into_single();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stages = app.stages();
    tokio::join!(app.serve(listener, None), client(address, stages));
}

/// The same with a separate listener for operations, whose address comes second.
pub(crate) async fn with_operations_server<F: Future<Output = ()>>(
    options: MySqlConnectOptions,
    settings: &[(&str, &str)],
    client: impl FnOnce([SocketAddr; 2], ShutdownStages) -> F,
) {
    // Any other address will do, since the test makes the listeners.
    let settings = [settings, &[("OPERATIONS_LISTEN_ADDR", "127.0.0.1:9")]].concat();
    let app = TestApp::start_with(options, 1, &settings).into_single();
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let [sale, operations] = listeners.map(|listener| {
        listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(listener).unwrap()
    });
    let stages = app.stages();
    tokio::join!(app.serve(sale, Some(operations)), client(addresses, stages));
}
